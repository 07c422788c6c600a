"""Scenario rows L: saying something to a run while it works."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import Client

from handfast import Agent, Fail, InputGuardrail, Replace, Run, RunContext, tool
from handfast.errors import (
    MessageConflictError,
    MessageInvalidError,
    MessageRefusedError,
    RunCancelledError,
    RunEndedError,
    RunFailedError,
    RunNotFoundError,
)
from handfast.history.reader import ledger_changes
from handfast.payloads.json_profile import JsonObject
from handfast.server import EmbeddedServer
from handfast.testing import Fail as Refuse, Gate, Hang, Lab, Reply, call, text
from handfast.workflows.state.mailbox import MOST_QUEUED
from support.evidence import events_of, failed_tasks, logged, plain, send_signal
from support.labs import Effects, MakeLab
from support.long_runs import crossing
from support.neighbour import CONVERTER, Order, Shipping, notify

DONE = Reply(text("done"))


def desk(effects: Effects, **options: Any) -> Agent:
    """An agent with a gated and a free tool."""

    @tool(approval=True)
    async def wipe(target: str) -> str:
        """Delete a target."""
        effects.append(f"wipe {target}")
        return f"wiped {target}"

    @tool(effect="read_only")
    async def look(check: str) -> str:
        """Look at something."""
        effects.append(f"look {check}")
        return f"{check} is fine"

    return Agent("desk", model="m", tools=[wipe, look], **options)


def read(lab: Lab, request: int) -> list[str]:
    """What a model request carried, in its order: messages by their text, the rest by its type."""
    return [_shown(item) for item in lab.model.requests[request - 1].body["input"]]


def _shown(item: dict[str, Any]) -> str:
    if item["type"] != "message":
        return str(item["type"])
    content = item["content"]
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


async def whats(lab: Lab, run: Run, message: str) -> list[str]:
    """What the log says of a message, in order."""
    steps = [await ledger_changes(event, lab.client.data_converter) for event in await events_of(lab, run)]
    return [each.what for _, _, transitions in steps for each in transitions if each.message == message]


async def test_a_message_stands_before_the_next_model_call(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """L1: sent during a model call and during a tool, messages follow the tool's output, in the order of sending."""
    script = [Gate("thinking", Reply(call("wipe", {"target": "a"}, "c1"), call("look", {"check": "fans"}, "c2"))), DONE]
    lab = await make_lab([desk(effects)], script=script, max_cached_workflows=cache)
    run = await lab.start("desk", "go")
    await lab.model.wait_for_request(1)
    during = await run.send("first", message_id="m1", by="ana")
    assert (during.state, during.frame, during.duplicate) == ("queued", "0", False)
    lab.model.open("thinking")
    request = await lab.next_request(run)
    await run.send([{"role": "user", "content": "second"}], message_id="m2")
    await lab.replace_worker()
    await run.send("third")
    await run.approve(request, decided_by="lead")
    assert (await run.result()).output == "done"
    assert read(lab, 2) == [
        "go",
        "function_call",
        "function_call",
        "function_call_output",
        "function_call_output",
        "first",
        "second",
        "third",
    ]
    assert await whats(lab, run, "m1") == ["sent", "placed"]
    assert [each.by for each in await logged(lab, run, "sent", 3)] == ["ana", None, None]
    assert len(lab.model.requests) == 2
    assert lab.model.violations == []


async def test_messages_go_along_into_a_fresh_history(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """L1: what waits when a long run goes on in a fresh history keeps its order and its ids, and is read there."""
    lab = await make_lab(
        [desk(effects)], script=[Reply(call("wipe", {"target": "a"}, "c1")), DONE], max_cached_workflows=cache
    )
    run = await lab.start("desk", "go", segment_events=40)
    request = await lab.next_request(run)
    await run.send("first", message_id="m1")
    await send_signal(lab, run, "send", [plain({"text": "second", "id": "m2"})])
    await crossing(lab, run)
    again = await run.send("first", message_id="m1")
    assert (again.state, again.duplicate) == ("queued", True)
    await send_signal(lab, run, "send", [plain({"text": "third", "id": "m3"})])
    await run.approve(request, decided_by="lead")
    assert (await run.result()).output == "done"
    assert read(lab, 2)[-4:] == ["function_call_output", "first", "second", "third"]


async def test_a_message_waits_until_all_outputs_exist(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """L2: sent while two approvals wait, a message changes nothing about them, and follows their outputs."""
    script = [Reply(call("wipe", {"target": "a"}, "c1"), call("wipe", {"target": "b"}, "c2")), DONE]
    lab = await make_lab([desk(effects)], script=script, max_cached_workflows=cache)
    run = await lab.start("desk", "go")
    first, second = await lab.open_requests(run, 2)
    await run.send("be quick")
    await run.approve(first, decided_by="lead")
    assert [request.id for request in await run.pending()] == [second.id]
    assert len(lab.model.requests) == 1
    await run.reject(second, decided_by="lead")
    await run.result()
    assert read(lab, 2)[-3:] == ["function_call_output", "function_call_output", "be quick"]
    assert effects == ["wipe a"]
    assert lab.model.violations == []


async def test_a_message_during_the_last_reply_opens_a_further_turn(make_lab: MakeLab, cache: int) -> None:
    """L3: a message that comes while the model gives its answer is answered by a further turn, after that answer."""
    script = [Gate("thinking", Reply(text("the answer"))), Reply(text("the better answer"))]
    lab = await make_lab([Agent("desk", model="m")], script=script, max_cached_workflows=cache)
    run = await lab.start("desk", "go")
    await lab.model.wait_for_request(1)
    await run.send("and shorter", message_id="m1")
    lab.model.open("thinking")
    result = await run.result()
    assert (result.output, result.turns) == ("the better answer", 2)
    assert read(lab, 2) == ["go", "the answer", "and shorter"]
    assert await whats(lab, run, "m1") == ["sent", "placed"]
    assert lab.model.violations == []


async def test_without_a_turn_left_a_message_is_refused_with_a_reason(make_lab: MakeLab, cache: int) -> None:
    """L3: at the last turn, or by the run's policy, the answer stands, and the log says why the message was refused."""
    script = [Gate("0", Reply(text("the answer"))), Gate("1", Reply(text("the answer")))]
    lab = await make_lab([Agent("desk", model="m")], script=script, max_cached_workflows=cache)
    cases: list[tuple[dict[str, Any], str]] = [
        ({"max_turns": 1}, "no_turn: the run has its answer, and no turns are left for a further one"),
        ({"on_message": "refuse"}, "no_turn: the run has its answer, and opens no further turn for a message"),
    ]
    for number, (options, why) in enumerate(cases):
        run = await lab.start("desk", "go", **options)
        await lab.model.wait_for_request(number + 1)
        await run.send("one more thing", message_id="m1")
        lab.model.open(str(number))
        assert (await run.result()).output == "the answer"
        [refused] = await logged(lab, run, "message_refused", 1)
        assert (refused.message, refused.frame, refused.why) == ("m1", "0", why)
    assert len(lab.model.requests) == 2


async def test_a_tool_that_ends_the_run_is_followed_by_a_turn_for_the_message(
    make_lab: MakeLab, effects: Effects, cache: int
) -> None:
    """L3: where a tool's output would end the run, a message that waits is read after that output instead."""
    script = [Reply(call("wipe", {"target": "a"}, "c1")), DONE]
    agent = desk(effects, after_tools="stop_on_first")
    lab = await make_lab([agent], script=script, max_cached_workflows=cache)
    run = await lab.start("desk", "go")
    request = await lab.next_request(run)
    await run.send("then say done")
    await run.approve(request, decided_by="lead")
    assert (await run.result()).output == "done"
    assert read(lab, 2)[-2:] == ["function_call_output", "then say done"]


async def test_a_run_that_stops_or_fails_says_what_it_did_not_read(
    make_lab: MakeLab, effects: Effects, cache: int
) -> None:
    """L3: stop, cancel and failure refuse what waits, in the log; a message after a stop is refused to its sender."""
    lab = await make_lab(
        [desk(effects)], script=[Reply(call("wipe", {"target": "a"}, "c1"))] * 3, max_cached_workflows=cache
    )
    stopped = await lab.start("desk", "go")
    request = await lab.next_request(stopped)
    await stopped.send("too late", message_id="m1")
    await stopped.stop("enough")
    with pytest.raises(MessageRefusedError, match="told to stop") as refusal:
        await stopped.send("far too late")
    assert refusal.value.facts["reason"] == "stopped"
    await stopped.approve(request, decided_by="lead")
    assert (await stopped.result()).stopped == "enough"
    [refused] = await logged(lab, stopped, "message_refused", 1)
    assert (refused.message, refused.why) == ("m1", "stopped: the run was told to stop")

    cancelled = await lab.start("desk", "go")
    await lab.next_request(cancelled)
    await cancelled.send("never", message_id="m2")
    await cancelled.cancel()
    with pytest.raises(RunCancelledError):
        await cancelled.result()
    assert await whats(lab, cancelled, "m2") == ["sent", "message_refused"]

    failed = await lab.start("desk", "go", max_turns=1)
    request = await lab.next_request(failed)
    await failed.send("never", message_id="m3")
    await failed.reject(request, decided_by="lead")
    with pytest.raises(RunFailedError, match="MaxTurnsExceeded"):
        await failed.result()
    [refused] = await logged(lab, failed, "message_refused", 1)
    assert (refused.message, refused.why) == ("m3", "ended: the run failed")


def no_names(_context: RunContext, items: list[JsonObject]) -> Fail | Replace | None:
    """An input guardrail: no names, and no shouting."""
    said = str(items)
    if "Bob" in said:
        return Fail("it names a person")
    return Replace("please") if "PLEASE" in said else None


async def test_guardrails_see_sent_messages_alone_and_refuse_without_ending_the_run(
    make_lab: MakeLab, effects: Effects, cache: int
) -> None:
    """L4: each sent message is checked by itself; one that trips is refused, is in the history, and the run goes on."""
    seen: list[str] = []

    def guard(context: RunContext, items: list[JsonObject]) -> Fail | Replace | None:
        seen.append(str(items[0]["content"][0]["text"]))
        return no_names(context, items)

    agent = desk(effects, input_guardrails=[InputGuardrail(guard, name="names", parallel=False)])
    lab = await make_lab([agent], script=[Reply(call("wipe", {"target": "a"}, "c1")), DONE], max_cached_workflows=cache)
    run = await lab.start("desk", "go")
    request = await lab.next_request(run)
    await run.send("fine", message_id="m1")
    await run.send("ask Bob", message_id="m2")
    await run.send("PLEASE", message_id="m3")
    [refused] = await logged(lab, run, "message_refused", 1)
    assert (refused.message, refused.why) == (
        "m2",
        "guardrail: input guardrail names of desk stopped it: it names a person",
    )
    again = await run.send("ask Bob", message_id="m2")
    assert (again.state, again.duplicate) == ("refused", True)
    await run.approve(request, decided_by="lead")
    result = await run.result()
    assert read(lab, 2)[-3:] == ["function_call_output", "fine", "please"]
    assert seen[0] == "go"
    assert sorted(seen[1:]) == ["PLEASE", "ask Bob", "fine"]
    told = sorted((each.message or "", each.outcome) for each in result.guardrails)
    assert told == [("", "allow"), ("m1", "allow"), ("m2", "fail"), ("m3", "replace")]
    assert any("ask Bob" in str(event) for event in await events_of(lab, run))


async def test_a_refused_message_leaves_the_answer_that_was_there(make_lab: MakeLab, cache: int) -> None:
    """L4: where a guardrail stops the only message that came during the last reply, that reply is the answer."""
    agent = Agent("desk", model="m", input_guardrails=[InputGuardrail(no_names, name="names")])
    script = [Gate("thinking", Reply(text("the answer")))]
    lab = await make_lab([agent], script=script, max_cached_workflows=cache)
    run = await lab.start("desk", "go")
    await lab.model.wait_for_request(1)
    await run.send("Bob", message_id="m1")
    lab.model.open("thinking")
    assert (await run.result()).output == "the answer"
    assert await whats(lab, run, "m1") == ["sent", "message_refused"]


async def test_now_makes_the_model_call_again_with_the_message(make_lab: MakeLab, cache: int) -> None:
    """L5: the model call under way is cancelled and made again with the message; it counts as no turn."""
    lab = await make_lab([Agent("desk", model="m")], script=[Hang(), DONE], max_cached_workflows=cache)
    run = await lab.start("desk", "go", max_turns=1)
    await lab.model.wait_for_request(1)
    receipt = await run.send("stop that, do this", when="now")
    assert receipt.interrupts is True
    await lab.model.wait_for_disconnect(1)
    result = await run.result()
    assert (result.output, result.turns) == ("done", 1)
    assert read(lab, 2) == ["go", "stop that, do this"]
    [sent] = await logged(lab, run, "sent", 1)
    assert sent.why == "the model call under way is made again"


async def test_now_does_not_wait_for_a_busy_provider(make_lab: MakeLab, cache: int) -> None:
    """L5: a model call that is to be tried again in a minute is made at once, with the message."""
    lab = await make_lab(
        [Agent("desk", model="m")], script=[Refuse(429, retry_after=60), DONE], max_cached_workflows=cache
    )
    run = await lab.start("desk", "go")
    await lab.model.wait_for_request(1)
    await run.send("never mind the rest", when="now")
    assert (await run.result(timeout=timedelta(seconds=30))).output == "done"
    assert read(lab, 2) == ["go", "never mind the rest"]


async def test_now_leaves_tools_alone(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """L5: while no model call is under way, *now* is *next*: what waits or runs is not touched."""
    lab = await make_lab(
        [desk(effects)], script=[Reply(call("wipe", {"target": "a"}, "c1")), DONE], max_cached_workflows=cache
    )
    run = await lab.start("desk", "go")
    request = await lab.next_request(run)
    assert (await run.send("hurry", when="now")).interrupts is None
    await run.approve(request, decided_by="lead")
    await run.result()
    assert effects == ["wipe a"]
    assert read(lab, 2)[-2:] == ["function_call_output", "hurry"]


async def test_a_message_before_the_run_has_begun_is_not_lost(make_lab: MakeLab, cache: int) -> None:
    """L6: sent with the start, or before any worker took the run, messages stand before the first model call."""
    lab = await make_lab([Agent("desk", model="m")], script=[DONE], max_cached_workflows=cache)
    await lab.stop_worker()
    handle = await lab.client.start_workflow(
        "AgentRun",
        {"agent": "desk", "input": "go"},
        id=f"l6-{lab.task_queue}",
        task_queue=lab.task_queue,
        start_signal="send",
        start_signal_args=["first"],
    )
    run = lab.watch(lab.hf.run(handle.id))
    stored = await run.send("second", message_id="m2")
    assert stored.state == "stored"
    await lab.start_worker()
    assert (await run.result()).output == "done"
    assert read(lab, 1) == ["go", "first", "second"]
    assert await whats(lab, run, "m2") == ["sent", "placed"]


async def test_an_early_message_passes_the_guardrails_first(make_lab: MakeLab, cache: int) -> None:
    """L6: of an agent with guardrails, a message that came with the start is read only once they let it pass."""
    agent = Agent("desk", model="m", input_guardrails=[InputGuardrail(no_names, name="names")])
    lab = await make_lab([agent], script=[DONE], max_cached_workflows=cache)
    await lab.stop_worker()
    run = await lab.start("desk", "go")
    await send_signal(lab, run, "send", [plain({"text": "Bob", "id": "m1"})])
    await send_signal(lab, run, "send", [plain({"text": "ann", "id": "m2"})])
    await lab.start_worker()
    assert (await run.result()).output == "done"
    assert read(lab, 1) == ["go", "ann"]
    assert await whats(lab, run, "m1") == ["sent", "message_refused"]


async def test_a_run_that_never_begins_says_so_of_its_messages(make_lab: MakeLab, cache: int) -> None:
    """L6: what came with a start that cannot be used is refused in the log of the run that failed."""
    lab = await make_lab([Agent("desk", model="m")], max_cached_workflows=cache)
    await lab.stop_worker()
    handle = await lab.client.start_workflow(
        "AgentRun",
        {"agent": "desk"},
        id=f"l6-{lab.task_queue}",
        task_queue=lab.task_queue,
        start_signal="send",
        start_signal_args=[{"text": "hello", "id": "m1"}],
    )
    run = lab.watch(lab.hf.run(handle.id))
    await lab.start_worker()
    with pytest.raises(RunFailedError, match="StartInvalid"):
        await run.result()
    assert await whats(lab, run, "m1") == ["sent", "message_refused"]
    assert await failed_tasks(lab, run) == 0


# --- identity and bad input ---


async def test_one_message_id_is_one_message(make_lab: MakeLab, effects: Effects) -> None:
    """The same id says what became of the message; with another text it is a conflict, and changes nothing."""
    lab = await make_lab([desk(effects)], script=[Reply(call("wipe", {"target": "a"}, "c1")), DONE])
    run = await lab.start("desk", "go")
    request = await lab.next_request(run)
    first = await run.send("be quick", message_id="m1", by="ana")
    await lab.replace_worker()
    assert await run.send("be quick", message_id="m1", by="bob") == first.model_copy(update={"duplicate": True})
    with pytest.raises(MessageConflictError, match="m1") as conflict:
        await run.send("be slow", message_id="m1")
    assert conflict.value.facts == {"message_id": "m1"}
    await send_signal(lab, run, "send", [plain({"text": "be slow", "id": "m1"})])
    [refused] = await logged(lab, run, "message_refused", 1)
    assert (refused.why or "").startswith("MessageConflictError")
    await run.approve(request, decided_by="lead")
    await run.result()
    assert read(lab, 2)[-1] == "be quick"
    with pytest.raises(RunEndedError):
        await run.send("be quick", message_id="m1")


@pytest.mark.parametrize(
    "message",
    [
        pytest.param("", id="empty"),
        pytest.param(" \n", id="blank"),
        pytest.param("x" * 70_000, id="oversized"),
        pytest.param("\ud800", id="no-unicode"),
        pytest.param([], id="no-items"),
        pytest.param([{"type": "function_call_output", "call_id": "c1", "output": "mine"}], id="an-output"),
        pytest.param([{"role": "assistant", "content": "I agree"}], id="the-models-own"),
        pytest.param([{"role": "user", "content": [{"type": "input_text"}]}], id="part-without-text"),
    ],
)
async def test_a_message_that_cannot_be_taken_is_refused_before_it_is_sent(
    make_lab: MakeLab, effects: Effects, message: Any
) -> None:
    """Empty, oversized or misshapen messages are typed errors; as signals they are logged, and the run goes on."""
    lab = await make_lab([desk(effects)], script=[Reply(call("wipe", {"target": "a"}, "c1")), DONE])
    run = await lab.start("desk", "go")
    request = await lab.next_request(run)
    with pytest.raises(MessageInvalidError):
        await run.send(message)
    wrong = {"text": message} if isinstance(message, str) else {"items": message}
    await send_signal(lab, run, "send", [plain(wrong)])
    [refused] = await logged(lab, run, "message_refused", 1)
    assert (refused.why or "").startswith("MessageInvalidError")
    await run.approve(request, decided_by="lead")
    assert (await run.result()).output == "done"
    assert read(lab, 2)[-1] == "function_call_output"
    assert await failed_tasks(lab, run) == 0


async def test_what_may_wait_is_bounded(make_lab: MakeLab, effects: Effects) -> None:
    """Beyond a hundred messages, or half a megabyte of them, a further one is refused and may be sent again later."""
    lab = await make_lab([desk(effects)], script=[Reply(call("wipe", {"target": "a"}, "c1")), DONE] * 2)
    run = await lab.start("desk", "go")
    request = await lab.next_request(run)
    await asyncio.gather(*(send_signal(lab, run, "send", [plain(f"{n}")]) for n in range(MOST_QUEUED)))
    with pytest.raises(MessageRefusedError, match="100 messages wait") as refusal:
        await run.send("one more")
    assert refusal.value.facts["reason"] == "queue_full"
    await run.approve(request, decided_by="lead")
    await run.result()
    assert sorted(read(lab, 2)[-MOST_QUEUED:], key=int) == [str(n) for n in range(MOST_QUEUED)]

    large = await lab.start("desk", "go")
    request = await lab.next_request(large)
    for _ in range(8):
        await large.send("x" * 64_000)
    with pytest.raises(MessageRefusedError, match="8 messages wait"):
        await large.send("x" * 64_000)
    await large.approve(request, decided_by="lead")
    assert (await large.result()).output == "done"


async def test_agents_in_a_users_own_workflow_take_messages_too(
    make_lab: MakeLab, server: EmbeddedServer, effects: Effects
) -> None:
    """L1: by the names of an `AgentHost`, with a converter and codec of the user; between its runs it takes none."""
    client = await Client.connect(server.address, data_converter=CONVERTER)
    lab = await make_lab(
        [desk(effects)],
        script=[Reply(call("wipe", {"target": "a"}, "c1")), DONE],
        client=client,
        workflows=[Shipping],
        activities=[notify],
    )
    own = await client.start_workflow(
        Shipping.run, Order(number=9, text="ship it"), id=f"own-{lab.task_queue}", task_queue=lab.task_queue
    )
    run = lab.watch(lab.hf.run(own.id))
    request = await lab.next_request(run)
    await run.send("be quick", message_id="m1")
    await own.signal("handfast.send", "and quiet")
    await run.approve(request, decided_by="lead")
    await logged(lab, run, "placed", 2)
    await lab.model.wait_for_request(2)
    assert read(lab, 2)[-2:] == ["be quick", "and quiet"]
    status = await run.status()
    async with asyncio.timeout(30):
        while status.status != "idle":  # each look is a round trip
            status = await run.status()
    with pytest.raises(RunEndedError, match="no agent is at work"):
        await run.send("anybody there?")
    await own.signal(Shipping.approve, "the user")
    assert (await own.result()).answer == "done"


async def test_an_unknown_run_takes_no_message(make_lab: MakeLab) -> None:
    """A run that the server does not know is a typed error."""
    lab = await make_lab([Agent("desk", model="m")])
    with pytest.raises(RunNotFoundError):
        await lab.hf.run("no-such-run").send("hello")
