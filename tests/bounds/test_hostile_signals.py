"""Fault row XC1: signals, and the start of a run, with whatever bytes somebody sends."""

from __future__ import annotations

import asyncio

import pytest
from temporalio.api.common.v1 import Payload

from handfast.errors import RunFailedError
from handfast.payloads.usage import Usage
from handfast.testing import Reply, call, text
from support.evidence import MISSHAPEN, UNREADABLE, failed_tasks, logged, plain, raw, send_signal, start_raw
from support.hostile import desk
from support.labs import Effects, MakeLab

ANSWER_S = 2.0


def junk(request_id: str, other: str) -> dict[str, list[Payload]]:
    """Argument lists that decide nothing, though some of them name the open request."""
    known = plain(request_id)
    lists = {
        "no argument": [],
        "2 arguments": [known, known],
        "50 arguments": [known] * 50,
        "unknown id": [plain({"id": "no-such-request", "verdict": {"kind": "approve"}})],
        "decided_by is a number": [plain({"id": request_id, "decided_by": 5, "verdict": {"kind": "approve"}})],
        "stale digest": [plain({"id": request_id, "digest": "v1:00", "verdict": {"kind": "approve"}})],
        "too large": [plain({"id": request_id, "note": "x" * 70_000, "verdict": {"kind": "approve"}})],
        other: [plain({"id": request_id, "verdict": {"kind": "levitate"}, "arguments": 7, "reason": 7})],
    }
    return lists | {name: [value] for name, value in (UNREADABLE | MISSHAPEN).items()}


@pytest.mark.parametrize("name", ["approve", "reject", "decide", "sing"])
@pytest.mark.quick
async def test_no_signal_can_break_a_run(make_lab: MakeLab, effects: Effects, cache: int, name: str) -> None:
    """XC1: whatever a signal carries, the run stays healthy, nothing is decided, and the refusal is in its log."""
    lab = await make_lab(
        [desk(effects)],
        script=[Reply(call("wipe", {"target": "temp"})), Reply(text("done"))],
        max_cached_workflows=cache,
    )
    run = await lab.start("desk")
    request = await lab.next_request(run)
    messages = junk(request.id, "wrong fields")
    for arguments in messages.values():
        await send_signal(lab, run, name, arguments)
    refused = await logged(lab, run, "refused", len(messages))
    assert len(refused) == len(messages)
    assert all(step.why and len(step.why) <= 512 for step in refused)
    async with asyncio.timeout(ANSWER_S):
        status = await run.status()
    assert (status.status, status.pending, effects) == ("waiting", 1, [])
    await run.approve(request, decided_by="lead")
    assert (await run.result()).output == "done"
    assert effects == ["temp"]
    assert await failed_tasks(lab, run) == 0


async def test_a_flood_of_bad_signals_is_logged_within_bounds(make_lab: MakeLab, effects: Effects) -> None:
    """XC1: two hundred bad signals at once cost a bounded log, and the next good one counts."""
    lab = await make_lab([desk(effects)], script=[Reply(call("wipe", {"target": "temp"})), Reply(text("done"))])
    run = await lab.start("desk")
    request = await lab.next_request(run)
    await asyncio.gather(*(send_signal(lab, run, "approve", [raw(b"{")]) for _ in range(200)))
    await send_signal(lab, run, "approve", [plain(request.id)])
    assert (await run.result()).output == "done"
    assert effects == ["temp"]
    assert await failed_tasks(lab, run) == 0


STARTS: dict[str, tuple[list[Payload], str, str]] = {
    "no argument": ([], "StartInvalid", "got 0 arguments"),
    "2 arguments": ([plain({"agent": "desk", "input": "go"})] * 2, "StartInvalid", "got 2 arguments"),
    "a number": ([plain(7)], "StartInvalid", '{"agent": name'),
    "a text": ([plain("desk")], "StartInvalid", '{"agent": name'),
    "null": ([raw(b"", b"binary/null")], "StartInvalid", '{"agent": name'),
    "agent missing": ([plain({"input": "go"})], "StartInvalid", "agent: Field required"),
    "agent is a number": ([plain({"agent": 5, "input": "go"})], "StartInvalid", "agent: "),
    "agent of 2,000 letters": ([plain({"agent": "d" * 2000, "input": "go"})], "StartInvalid", "agent: "),
    "input missing": ([plain({"agent": "desk"})], "StartInvalid", "input"),
    "input empty": ([plain({"agent": "desk", "input": ""})], "StartInvalid", "input is empty"),
    "max_turns is a bool": ([plain({"agent": "desk", "input": "go", "max_turns": True})], "StartInvalid", "max_turns"),
    "lone surrogate": ([plain({"agent": "desk", "input": "\ud800"})], "StartInvalid", "surrogate"),
    "NaN": ([plain({"agent": "desk", "input": "go", "context": {"x": float("nan")}})], "StartInvalid", "finite"),
    "2^70": ([plain({"agent": "desk", "input": "go", "context": {"x": 2**70}})], "StartInvalid", "beyond 64 bits"),
    "depth 500": ([raw(b'{"agent": "desk", "input": ' + b"[" * 500 + b"]" * 500 + b"}")], "StartInvalid", "nested"),
    "20,000 wrong labels": (
        [plain({"agent": "desk", "input": "go", "labels": {f"=={n}": n for n in range(20_000)}})],
        "StartInvalid",
        "labels",
    ),
    "unknown agent": ([plain({"agent": "disk", "input": "go"})], "UnknownAgent", "did you mean 'desk'"),
} | {name: ([value], "StartInvalid", "could not be decoded") for name, value in UNREADABLE.items()}


async def test_a_bad_start_fails_the_run_at_once(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """XC1: a run started with wrong arguments fails at once with a typed error that says what was expected, and that
    nothing was spent."""
    lab = await make_lab([desk(effects)], max_cached_workflows=cache)
    runs = {name: await start_raw(lab, arguments) for name, (arguments, _, _) in STARTS.items()}
    seen: dict[str, tuple[str, bool, int]] = {}
    for name, run in runs.items():
        with pytest.raises(RunFailedError) as failed:
            await run.result()
        expected = STARTS[name][2] in failed.value.message and len(failed.value.message) < 4000
        assert failed.value.usage == Usage(), name
        seen[name] = (failed.value.kind, expected, await failed_tasks(lab, run))
    assert seen == {name: (kind, True, 0) for name, (_, kind, _) in STARTS.items()}
    assert lab.model.requests == []
