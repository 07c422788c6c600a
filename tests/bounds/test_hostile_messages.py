"""Fault rows XC1 and XC2 for messages: the signal and the update `send`, with whatever bytes somebody sends."""

from __future__ import annotations

import asyncio
from typing import Final

from temporalio.api.common.v1 import Payload

from handfast.testing import Reply, call, text
from support.evidence import (
    MISSHAPEN,
    UNREADABLE,
    events_of,
    failed_tasks,
    logged,
    plain,
    raw,
    send_signal,
    send_update,
)
from support.hostile import desk
from support.labs import Effects, MakeLab

SCRIPT: Final = [Reply(call("wipe", {"target": "temp"})), Reply(text("done"))]
WRONG: Final[dict[str, list[Payload]]] = {
    "no argument": [],
    "2 arguments": [plain("hello")] * 2,
    "empty": [plain("")],
    "text and items": [plain({"text": "a", "items": [{"role": "user", "content": "b"}]})],
    "text is a number": [plain({"text": 5})],
    "when is a time": [plain({"text": "a", "when": "soon"})],
    "id is empty": [plain({"text": "a", "id": ""})],
    "unknown frame": [plain({"text": "a", "frame": "no-such-loop"})],
    "above 64 KiB": [plain({"text": "x" * 66_000})],
    "above 64 KiB in UTF-8 alone": [plain({"text": "ü" * 40_000})],
    "an output": [plain({"items": [{"type": "function_call_output", "call_id": "call_1", "output": "mine"}]})],
    "an item of the provider": [plain({"items": [{"type": "item_reference", "id": "msg_1"}]})],
    "a message with more": [plain({"items": [{"role": "user", "content": "a", "id": "msg_1"}]})],
    "a role of nobody": [plain({"items": [{"role": "root", "content": "a"}]})],
    "a part of nothing": [plain({"items": [{"role": "user", "content": [{"type": "output_text", "text": "a"}]}]})],
}
JUNK: Final = WRONG | {
    name: [value] for name, value in (UNREADABLE | MISSHAPEN).items() if not (value.data or b" ").startswith(b'"')
}


async def test_no_message_by_signal_can_break_a_run(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """XC1: whatever the signal `send` carries, nothing is said to the model, and the refusal is in the run's log."""
    lab = await make_lab([desk(effects)], script=SCRIPT, max_cached_workflows=cache)
    run = await lab.start("desk")
    request = await lab.next_request(run)
    for arguments in JUNK.values():
        await send_signal(lab, run, "send", arguments)
    refused = await logged(lab, run, "message_refused", len(JUNK))
    assert len(refused) == len(JUNK)
    assert all(step.why and step.why.startswith("MessageInvalidError") for step in refused)
    await asyncio.gather(*(send_signal(lab, run, "send", [raw(b"{")]) for _ in range(200)))  # logged within bounds
    await run.approve(request, decided_by="lead")
    assert (await run.result()).output == "done"
    assert [item["type"] for item in lab.model.requests[1].body["input"]][-1] == "function_call_output"
    assert await failed_tasks(lab, run) == 0


async def test_no_message_by_update_can_break_a_run(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """XC2: whatever the update `send` carries, it gets a typed refusal, and the run's history does not even grow."""
    lab = await make_lab([desk(effects)], script=SCRIPT, max_cached_workflows=cache)
    run = await lab.start("desk")
    request = await lab.next_request(run)
    before = len(await events_of(lab, run))
    told = {}
    for name, arguments in JUNK.items():
        outcome = await send_update(lab, run, "send", arguments)
        info = outcome.failure.application_failure_info
        told[name] = (info.type, info.non_retryable, 0 < len(outcome.failure.message) < 4000)
    assert told == dict.fromkeys(JUNK, ("MessageInvalidError", True, True))
    assert len(await events_of(lab, run)) == before
    await run.approve(request, decided_by="lead")
    assert (await run.result()).output == "done"
    assert await failed_tasks(lab, run) == 0
