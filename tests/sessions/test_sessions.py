"""What holds for every session: bad input, failures of a turn, messages that come twice, closing."""

from __future__ import annotations

import asyncio
import uuid
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel
from temporalio.client import WorkflowContinuedAsNewError

from handfast import Agent, Fail as Trip, Image, InputGuardrail, RunContext, ToolContext, handoff, tool
from handfast.errors import (
    MessageConflictError,
    MessageInvalidError,
    MessageRefusedError,
    PayloadInvalidError,
    RunCancelledError,
    RunExistsError,
    RunNotFoundError,
    SessionClosedError,
    SessionNotFoundError,
    TurnFailedError,
    UsageError,
    WaitingForPeople,
)
from handfast.payloads.events import RequestOpened
from handfast.payloads.sessions import SessionInput
from handfast.testing import Fail, Gate, Hang, Reply, call, text
from handfast.testing.script import Usage
from handfast.workflows.conversation.turns import LEFT_OUT
from support.conversations import desk, kinds, said, talk_to
from support.crash.till_runs import replies_and_outputs
from support.labs import Effects, MakeLab

WAIT = timedelta(seconds=30)
HELLO = [{"role": "user", "content": "hello"}]
A_CALL = {"type": "function_call", "call_id": "c", "name": "x", "arguments": "{}"}


def plain() -> Agent:
    """An agent without tools."""
    return Agent("desk", instructions="Help.", model="m")


async def test_a_message_counts_once(make_lab: MakeLab) -> None:
    """The same id with the same text is one message, from whatever process; with another text it is refused."""
    lab = await make_lab([plain()], script=[Reply(text("one"))])
    session = talk_to(lab)
    first = await session.send("hello", message_id="m1")
    assert await first.output(timeout=WAIT) == "one"
    twin = await lab.hf.session(session.id).send("hello", message_id="m1")
    assert await twin.output(timeout=WAIT) == "one"
    with pytest.raises(MessageConflictError, match="other content"):
        await session.send("good-bye", message_id="m1")
    assert len(lab.model.requests) == 1
    assert len(await session.items()) == 2


@pytest.mark.parametrize(
    "message",
    [
        pytest.param("", id="empty"),
        pytest.param("  \n", id="blank"),
        pytest.param("x" * 70_000, id="too-large"),
        pytest.param([], id="no-items"),
        pytest.param([{"type": "function_call_output", "call_id": "c", "output": "x"}], id="no-message"),
        pytest.param([{"role": "assistant", "content": "I said so"}], id="not-the-user's"),
        pytest.param("\ud800", id="no-text"),
    ],
)
async def test_a_bad_message_creates_no_session(make_lab: MakeLab, message: Any) -> None:
    """What cannot be a message is refused before anything is created for it."""
    lab = await make_lab([plain()])
    session = lab.hf.session(f"s-{uuid.uuid4().hex[:8]}", agent="desk")
    with pytest.raises(MessageInvalidError):
        await session.send(message)
    with pytest.raises(RunNotFoundError):
        await session.items()


async def test_what_is_no_session_is_a_typed_error(make_lab: MakeLab) -> None:
    """An unknown session, an unknown message and the id of a run each lead to an error that says so."""
    lab = await make_lab([plain()], script=[Reply(text("one")), Reply(text("two"))])
    unknown = lab.hf.session("nobody")
    with pytest.raises(SessionNotFoundError, match="name an agent"):
        await unknown.send("hello")
    for ask in (unknown.items, unknown.turn("m1").status, unknown.close, unknown.pending, unknown.turn("m1").result):
        with pytest.raises(RunNotFoundError):
            await ask()
    run = await lab.start("desk")
    await run.result()
    with pytest.raises(RunExistsError):
        await lab.hf.session(run.id, agent="desk").send("hello")
    with pytest.raises(PayloadInvalidError, match="agent"):
        lab.hf.session("s", agent="")
    with pytest.raises(UsageError, match="on_message must be 'queue', 'steer' or 'refuse', not 'drop'"):
        lab.hf.session("s", agent="desk", on_message="drop")  # type: ignore[arg-type]
    for no_id in ("", "x" * 1001, "\ud800"):
        with pytest.raises(PayloadInvalidError, match="id"):
            lab.hf.session(no_id, agent="desk")
    session = talk_to(lab)
    await (await session.send("hello")).output(timeout=WAIT)
    assert (await session.turn("never-sent").status()).state == "unknown"
    for no_message in ("", "x" * 257, "\ud800"):
        with pytest.raises(PayloadInvalidError, match="message_id"):
            await session.turn(no_message).status()
    with pytest.raises(PayloadInvalidError, match="by"):
        await session.close(by="x" * 257)
    assert (await session.status()).status == "idle"
    assert await session.close("a \ud800 reason, " * 1_000)
    await session.result(timeout=WAIT)


async def test_closing_answers_what_was_sent_before(make_lab: MakeLab) -> None:
    """A closed session answers what it took, then ends; what comes later is refused, and it is not begun anew."""
    lab = await make_lab([plain()], script=[Gate("go", Reply(text("one"))), Reply(text("two"))])
    session = talk_to(lab)
    first = await session.send("first")
    await lab.model.wait_for_request(1)
    second = await session.send("second")
    assert await session.close("that was all", by="ana")
    with pytest.raises(SessionClosedError):
        await session.send("third")
    lab.model.open("go")
    assert [await each.output(timeout=WAIT) for each in (first, second)] == ["one", "two"]
    result = await session.result(timeout=WAIT)
    assert (result.agent, result.turns, result.usage.requests) == ("desk", 2, 2)
    assert (await session.status()).status == "completed"
    assert not await session.close()
    for late in (session, lab.hf.session(session.id, agent="desk"), lab.hf.session(session.id)):
        with pytest.raises(SessionClosedError):
            await late.send("fourth")
    assert await session.turn(first.id).output(timeout=WAIT) == "one"


async def test_an_idle_session_costs_nothing(make_lab: MakeLab) -> None:
    """Between messages there is no timer, no activity and no workflow task under way, and it is listed as idle."""
    lab = await make_lab([plain()], script=[Reply(text("one"))])
    session = talk_to(lab, labels={"team": "it"})
    await (await session.send("hello")).output(timeout=WAIT)
    assert (await session.status()).status == "idle"
    description = await lab.client.get_workflow_handle(session.id).describe()
    assert not description.raw_description.pending_activities
    assert not description.raw_description.HasField("pending_workflow_task")
    history = await lab.client.get_workflow_handle(session.id).fetch_history()
    assert not any(event.HasField("timer_started_event_attributes") for event in history.events)
    attributes = description.typed_search_attributes
    shown = {pair.key.name: pair.value for pair in attributes if pair.key.name.startswith("Handfast")}
    assert shown == {
        "HandfastStatus": "idle",
        "HandfastAgent": "desk",
        "HandfastPending": 0,
        "HandfastLabels": ["team=it"],
    }


async def test_a_message_waits_for_a_worker(make_lab: MakeLab) -> None:
    """With no worker there, the first message creates the session and is kept by the server; it is answered once."""
    lab = await make_lab([plain()], script=[Reply(text("one"))])
    await lab.stop_worker()
    session = talk_to(lab)
    turn = await session.send("hello", message_id="m1")
    assert turn.receipt is not None
    assert turn.receipt.state == "stored"
    await lab.start_worker()
    assert await turn.output(timeout=WAIT) == "one"
    again = await session.send("hello", message_id="m1")
    assert await again.output(timeout=WAIT) == "one"
    assert len(lab.model.requests) == 1


async def test_an_answer_is_waited_for_over_restarts(make_lab: MakeLab, effects: Effects) -> None:
    """Whoever waits for an answer goes on waiting while workers come and go; people are waited for, or not."""
    lab = await make_lab([desk(effects)], script=[Reply(call("wipe", {"target": "temp"}, "c1")), Reply(text("done"))])
    session = talk_to(lab)
    turn = await session.send("clean up")
    waiting = asyncio.create_task(turn.output(timeout=WAIT))
    with pytest.raises(WaitingForPeople):
        await turn.result(wait_for_people=False, timeout=WAIT)
    with pytest.raises(TimeoutError, match="goes on"):
        await turn.result(timeout=timedelta(milliseconds=50))
    await lab.replace_worker()
    await session.approve((await session.pending())[0], decided_by="lead")
    assert await waiting == "done"


async def test_a_message_has_its_own_events(make_lab: MakeLab, effects: Effects) -> None:
    """Whoever follows a message sees what happens for it and nothing else, live or afterwards, from any place on."""
    wipe = Reply(call("wipe", {"target": "temp"}, "c1"))
    lab = await make_lab([desk(effects)], script=[Reply(text("one")), wipe, Reply(text("two")), Reply(text("three"))])
    session = talk_to(lab)
    await (await session.send("first")).output(timeout=WAIT)
    turn, after = await session.send("second"), await session.send("third")
    live = []
    async with asyncio.timeout(30):
        async for item in turn.stream():
            live.append(item)
            if isinstance(item, RequestOpened):
                await session.approve(item.request, decided_by="lead")
    assert [item.type for item in live if item.type != "status"] == [
        *("message_placed", "turn_started", "model_reply", "request_opened", "request_decided", "tool_called"),
        *("tool_output", "turn_started", "model_reply", "message_answered"),
    ]
    assert await after.output(timeout=WAIT) == "three"
    assert [item async for item in session.turn(turn.id).stream()] == live
    assert [item async for item in turn.stream(live[3].offset)] == live[4:]


async def test_a_failed_turn_leaves_the_session_whole(make_lab: MakeLab) -> None:
    """What the provider refuses fails for that message alone: the next request does not repeat it."""
    lab = await make_lab([plain()], script=[Reply(text("one")), Fail(400), Reply(text("two"))])
    session = talk_to(lab)
    await (await session.send("first")).output(timeout=WAIT)
    poison = await session.send("poison")
    with pytest.raises(TurnFailedError) as failed:
        await poison.output(timeout=WAIT)
    assert (failed.value.kind, failed.value.message_id) == ("ModelRefused", poison.id)
    assert (await poison.status()).state == "failed"
    assert await (await session.send("third")).output(timeout=WAIT) == "two"
    assert said(lab.model.requests[2].body["input"]) == ["first", "third"]
    assert lab.model.violations == []


async def test_a_tool_that_fails_its_turn_keeps_every_call_answered(make_lab: MakeLab, effects: Effects) -> None:
    """A turn that ends in the middle of its calls leaves each with an output: the next request is valid."""

    @tool(on_error="fail")
    async def burst() -> str:
        """Fail."""
        raise OSError("no disk")

    @tool(approval=True)
    async def wipe(target: str) -> str:
        """Delete a target."""
        effects.append(target)
        return "wiped"

    agent = Agent("desk", model="m", tools=[burst, wipe])
    script = [Reply(call("wipe", {"target": "a"}, "c1"), call("burst", {}, "c2")), Reply(text("two"))]
    lab = await make_lab([agent], script=script)
    session = talk_to(lab)
    with pytest.raises(TurnFailedError, match="ToolFailed"):
        await (await session.send("first")).output(timeout=WAIT)
    assert await session.pending() == []
    assert await (await session.send("second")).output(timeout=WAIT) == "two"
    assert kinds(lab.model.requests[1].body["input"]) == [
        *("user", "function_call", "function_call", "function_call_output", "function_call_output", "user")
    ]
    assert lab.model.violations == []
    assert effects == []


async def test_an_output_that_the_provider_refuses_is_left_out_from_then_on(make_lab: MakeLab, cache: int) -> None:
    """An image that no model can read fails the turn and not the session: its call keeps an output that says so."""

    @tool(effect="read_only")
    async def picture() -> Image:
        """Take a picture."""
        return Image(url="https://pictures.example/broken.png")

    script = [Reply(call("picture", {}, "c1")), Fail(400), Reply(text("two"))]
    agent = Agent("desk", model="m", tools=[picture])
    lab = await make_lab([agent], script=script, max_cached_workflows=cache)
    session = talk_to(lab)
    with pytest.raises(TurnFailedError, match="ModelRefused"):
        await (await session.send("first")).output(timeout=WAIT)
    assert await (await session.send("second")).output(timeout=WAIT) == "two"
    assert "broken.png" in str(lab.model.requests[1].body["input"])
    sent = lab.model.requests[2].body["input"]
    assert kinds(sent) == ["user", "function_call", "function_call_output", "user"]
    assert sent[2]["output"] == LEFT_OUT
    assert lab.model.violations == []


async def test_a_failed_turn_keeps_what_its_tools_noted(make_lab: MakeLab, cache: int) -> None:
    """What a call that returned has changed in the context counts, also where another call then failed the turn."""

    class Orders(BaseModel):
        paid: list[int] = []

    @tool(effect="read_only")
    async def note(ctx: ToolContext[Orders], order: int) -> str:
        """Note an order."""
        ctx.context.paid.append(order)
        return "noted"

    @tool(approval=True, on_error="fail")
    async def burst() -> str:
        """Fail."""
        raise OSError("no disk")

    def instructions(context: RunContext[Orders]) -> str:
        return f"Paid: {context.context.paid}"

    agent = Agent("desk", model="m", instructions=instructions, tools=[note, burst], context_type=Orders)
    script = [Reply(call("note", {"order": 7}, "c1"), call("burst", {}, "c2")), Reply(text("yes"))]
    lab = await make_lab([agent], script=script, max_cached_workflows=cache)
    session = talk_to(lab, context=Orders())
    first = await session.send("Order 7 was paid.")
    request = await lab.next_request(session)
    await replies_and_outputs(lab, session, 2)
    await session.approve(request, decided_by="lead")
    with pytest.raises(TurnFailedError, match="ToolFailed"):
        await first.output(timeout=WAIT)
    assert await (await session.send("Was it?")).output(timeout=WAIT) == "yes"
    assert [each.body["instructions"] for each in lab.model.requests] == ["Paid: []", "Paid: [7]"]


@pytest.mark.parametrize("parallel", [False, True], ids=["before-the-model", "beside-the-model"])
async def test_an_input_guardrail_looks_at_each_message_alone(make_lab: MakeLab, parallel: bool) -> None:
    """A message that a guardrail stops is taken out of the conversation, with what the model said to it; those before
    it are not looked at again."""
    seen: list[str] = []

    async def polite(_context: RunContext[Any], items: list[Any]) -> Trip | None:
        seen.extend(said(items))
        if "damn" not in said(items):
            return None
        if parallel:
            await lab.model.wait_for_end(2)
        return Trip("rude")

    agent = Agent("desk", model="m", input_guardrails=[InputGuardrail(polite, parallel=parallel)])
    to_the_rude = [Reply(text("how dare you"))] if parallel else []
    lab = await make_lab([agent], script=[Reply(text("one")), *to_the_rude, Reply(text("two"))])
    session = talk_to(lab)
    await (await session.send("hello")).output(timeout=WAIT)
    with pytest.raises(TurnFailedError, match="GuardrailTripped") as failed:
        await (await session.send("damn")).output(timeout=WAIT)
    assert failed.value.facts["reason"] == "rude"
    result = await (await session.send("sorry")).result(timeout=WAIT)
    assert result.output == "two"
    assert [each.outcome for each in result.guardrails] == ["allow"]
    assert seen == ["hello", "damn", "sorry"]
    assert kinds(lab.model.requests[-1].body["input"]) == ["user", "assistant", "user"]
    assert said(lab.model.requests[-1].body["input"]) == ["hello", "sorry"]
    assert lab.model.violations == []


async def test_limits_hold_for_one_message(make_lab: MakeLab, effects: Effects) -> None:
    """Each message has the turns and tokens of a run of its own; what one used up is no loss to the next."""
    look = [Reply(call("look", {"check": "fans"}, f"c{n}"), usage=Usage(10, 5)) for n in range(3)]
    done = Reply(text("done"), usage=Usage(10, 5))
    lab = await make_lab([desk(effects)], script=[look[0], done, look[1], look[2], look[0], done])
    session = talk_to(lab, max_turns=2)
    result = await (await session.send("first")).result(timeout=WAIT)
    assert (result.turns, result.usage.total_tokens) == (2, 30)
    with pytest.raises(TurnFailedError, match="MaxTurnsExceeded"):
        await (await session.send("second")).output(timeout=WAIT)
    result = await (await session.send("third")).result(timeout=WAIT)
    assert (result.output, result.turns, result.usage.total_tokens) == ("done", 2, 30)
    status = await session.status()
    assert (status.turn, status.usage.total_tokens) == (6, 90)
    assert lab.model.violations == []


async def test_a_handoff_lasts(make_lab: MakeLab) -> None:
    """Who took the conversation over answers the next message too; nested agents have their own say each time."""
    expert = Agent("expert", description="Knows.", instructions="You are the expert.", model="m")
    front = Agent("front", instructions="You are the front.", model="m", handoffs=[handoff(expert)])
    script = [Reply(call("transfer_to_expert", {}, "h1")), Reply(text("one")), Reply(text("two"))]
    lab = await make_lab([front, expert], script=script)
    session = talk_to(lab, "front")
    first = await (await session.send("hello")).result(timeout=WAIT)
    second = await (await session.send("again")).result(timeout=WAIT)
    assert (first.agent, second.agent) == ("expert", "expert")
    assert "You are the expert." in str(lab.model.requests[2].body["instructions"])


async def test_nested_agents_are_run_anew_for_each_message(make_lab: MakeLab) -> None:
    """An agent used as a tool begins anew with each message, and what it cost counts for that message alone."""
    auditor = Agent("auditor", description="Audits.", instructions="Audit.", model="m")
    front = Agent("front", instructions="Front.", model="m", tools=[auditor.as_tool()])
    ask, cost = Reply(call("auditor", {"input": "check"}, "a1"), usage=Usage(1, 1)), Usage(1, 1)
    answers = [Reply(text(word), usage=cost) for word in ("fine", "one", "fine", "two")]
    lab = await make_lab([front, auditor], script=[ask, answers[0], answers[1], ask, answers[2], answers[3]])
    session = talk_to(lab, "front")
    for number, output in enumerate(("one", "two")):
        result = await (await session.send(f"message {number}")).result(timeout=WAIT)
        assert (result.output, result.usage.requests, result.turns) == (output, 3, 2)
    assert [len(request.body["input"]) for request in lab.model.requests] == [1, 1, 3, 5, 1, 7]
    assert (await session.status()).usage.requests == 6


async def test_calls_of_one_id_have_keys_of_their_own(make_lab: MakeLab) -> None:
    """Two messages whose calls have the same id and arguments are two effects: their idempotency keys differ."""
    keys: list[str] = []

    @tool(effect="idempotent")
    async def pay(ctx: ToolContext, amount: int) -> str:
        """Pay."""
        keys.append(ctx.idempotency_key)
        return "paid"

    pay_it = Reply(call("pay", {"amount": 1}, "c1"))
    lab = await make_lab(
        [Agent("desk", model="m", tools=[pay])], script=[pay_it, Reply(text("a")), pay_it, Reply(text("b"))]
    )
    session = talk_to(lab)
    for _ in range(2):
        await (await session.send("pay")).output(timeout=WAIT)
    assert len(set(keys)) == 2


async def test_a_conversation_can_be_imported(make_lab: MakeLab) -> None:
    """What was said elsewhere before is read by the model from the first message on, once."""
    said_before: list[Any] = [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "My name is Ana."}]},
        {"type": "message", "role": "assistant", "content": "Hello Ana."},
    ]
    lab = await make_lab([plain()], script=[Reply(text("Ana"))])
    session = talk_to(lab, import_items=said_before)
    assert await (await session.send("Who am I?")).output(timeout=WAIT) == "Ana"
    assert kinds(lab.model.requests[0].body["input"]) == ["user", "assistant", "user"]
    with pytest.raises(UsageError, match="import_items must be a list of dicts, not a str"):
        lab.hf.session("s", agent="desk", import_items="all")  # type: ignore[arg-type]
    huge = lab.hf.session(
        f"s-{uuid.uuid4().hex[:8]}", agent="desk", import_items=[{"role": "user", "content": "y" * 2_000_000}]
    )
    with pytest.raises(PayloadInvalidError, match=r"1,900,000"):
        await huge.send("hello")


@pytest.mark.parametrize(
    ("items", "problem"),
    [
        pytest.param([{"type": "function_call_output", "call_id": "c", "output": "x"}], "item 0", id="no-call"),
        pytest.param(
            [*HELLO, {"type": "function_call", "call_id": "c", "name": "x", "arguments": "{}"}],
            "item 1",
            id="no-output",
        ),
        pytest.param([{"type": "reasoning", "id": "rs_1", "summary": []}, *HELLO], "item 0", id="idle-reasoning"),
        pytest.param([*HELLO, {"x": 1}], "neither a type nor a role", id="no-item"),
        pytest.param([{"type": None, "role": "user", "content": "hi"}], "item 0", id="no-type"),
    ],
)
def test_what_the_provider_would_always_refuse_is_not_imported(items: list[Any], problem: str) -> None:
    """A conversation that is torn apart is refused at once: no message of its session could ever be answered."""
    with pytest.raises(PayloadInvalidError, match=problem):
        SessionInput.from_wire({"agent": "desk", "import_items": items})


async def test_large_answers_are_read_from_the_conversation(make_lab: MakeLab) -> None:
    """An answer that is too large to be kept twice, or that no reply holds, comes back whole."""
    long = "word " * 10_000

    @tool
    async def report() -> dict[str, str]:
        """Report."""
        return {"text": long}

    agent = Agent("desk", model="m", tools=[report], after_tools="stop_on_first")
    lab = await make_lab([agent], script=[Reply(text(long)), Reply(call("report", {}, "c1"))])
    session = talk_to(lab)
    first, second = await session.send("first"), await session.send("second")
    assert await first.output(timeout=WAIT) == long
    assert await second.output(timeout=WAIT) == {"text": long}
    assert await first.output(timeout=WAIT) == long


async def test_a_stop_ends_the_turn_and_not_the_session(make_lab: MakeLab, effects: Effects) -> None:
    """`stop` lets the turn under way end with what it has said; the next message is answered as ever."""
    both = Reply(text("Let me see."), call("wipe", {"target": "temp"}, "c1"))
    lab = await make_lab([desk(effects)], script=[both, Reply(text("two"))])
    session = talk_to(lab)
    first = await session.send("first")
    request = await lab.next_request(session)
    await session.stop("lunch")
    await session.reject(request, decided_by="lead")
    result = await first.result(timeout=WAIT)
    assert (result.output, result.stopped) == ("Let me see.", "lunch")
    assert await (await session.send("second")).output(timeout=WAIT) == "two"
    assert lab.model.violations == []


async def test_a_message_now_makes_the_model_call_again(make_lab: MakeLab) -> None:
    """With ``when="now"`` the call under way is thrown away and made again with the message; both have one answer."""
    lab = await make_lab([plain()], script=[Hang(), Reply(text("both"))])
    session = talk_to(lab)
    first = await session.send("first")
    await lab.model.wait_for_request(1)
    second = await session.send("rather this", when="now")
    assert [await each.output(timeout=WAIT) for each in (first, second)] == ["both", "both"]
    assert said(lab.model.requests[1].body["input"]) == ["first", "rather this"]


async def test_cancelling_a_session_says_so_of_every_message(make_lab: MakeLab, effects: Effects) -> None:
    """A cancelled session ends at once: the message under way has failed, those that wait are refused."""
    lab = await make_lab([desk(effects)], script=[Reply(call("wipe", {"target": "temp"}, "c1"))])
    session = talk_to(lab)
    first = await session.send("first")
    await lab.next_request(session)
    second = await session.send("second")
    assert await session.cancel("enough")
    with pytest.raises(RunCancelledError, match="enough"):
        await session.result(timeout=WAIT)
    with pytest.raises(TurnFailedError, match="Cancelled"):
        await first.output(timeout=WAIT)
    with pytest.raises(MessageRefusedError, match="cancelled"):
        await second.output(timeout=WAIT)
    assert effects == []


async def test_a_session_takes_plain_json(make_lab: MakeLab) -> None:
    """Any client starts, asks and closes a session with JSON alone; what does not fit changes nothing."""
    lab = await make_lab([plain()], script=[Reply(text("one")), Reply(text("two"))])
    handle = await lab.client.start_workflow(
        "AgentSession",
        {"agent": "desk"},
        id=f"s-{uuid.uuid4().hex[:8]}",
        task_queue=lab.task_queue,
        start_signal="send",
        start_signal_args=[{"text": "hello", "id": "m1"}],
    )
    session = lab.watch(lab.hf.session(handle.id))
    assert await session.turn("m1").output(timeout=WAIT) == "one"
    await handle.signal("send", {"nonsense": 1})
    await handle.signal("send", "just a text")
    await handle.signal("unheard-of", {})
    answer = await handle.query("turn", {"message_id": "m1"})
    assert (answer["state"], answer["result"]["output"]) == ("answered", "one")
    await handle.signal("close", 7)
    assert (await handle.result())["agent"] == "desk"
    assert said(lab.model.requests[1].body["input"]) == ["hello", "just a text"]


async def test_a_session_goes_on_in_fresh_histories(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """A long conversation leaves its history behind with an approval open and a message waiting: the request keeps its
    id, one decision releases one effect, and what became of early messages is still known."""
    wipe = Gate("go", Reply(call("wipe", {"target": "temp"}, "c1")))
    script = [Reply(text("zero")), Reply(text("zero")), wipe, Reply(text("one")), Reply(text("two"))]
    lab = await make_lab([desk(effects)], script=script, max_cached_workflows=cache)
    start = {"agent": "desk", "segment_events": 40}
    handle = await lab.client.start_workflow(
        "AgentSession", start, id=f"s-{uuid.uuid4().hex[:8]}", task_queue=lab.task_queue
    )
    session = lab.watch(lab.hf.session(handle.id))
    for number in range(2):
        assert await (await session.send("hello", message_id=f"early-{number}")).output(timeout=WAIT) == "zero"
    first = await session.send("first", message_id="m1")
    await lab.model.wait_for_request(3)
    second = await session.send("second", message_id="m2")
    answers = [asyncio.create_task(each.output(timeout=WAIT)) for each in (first, second)]
    lab.model.open("go")
    request = await lab.next_request(session)
    with pytest.raises(WorkflowContinuedAsNewError):
        await lab.client.get_workflow_handle(handle.id, run_id=handle.first_execution_run_id).result(follow_runs=False)
    assert [each.id for each in await session.pending()] == [request.id]
    assert (await second.status()).state == "queued"
    await session.approve(request, decided_by="lead")
    assert await asyncio.gather(*answers) == ["one", "two"]
    assert await session.turn("early-0").output(timeout=WAIT) == "zero"
    again = await session.send("first", message_id="m1")
    assert again.receipt is not None
    assert again.receipt.duplicate
    assert effects == ["wipe temp"]
    assert len(await session.items()) == 10
    assert len(await lab.histories(session)) > 1
    assert lab.model.violations == []


async def test_a_bad_start_fails_at_once(make_lab: MakeLab) -> None:
    """A session that cannot begin fails with a typed error, and refuses what was sent with it."""
    lab = await make_lab([plain()])
    handle = await lab.client.start_workflow(
        "AgentSession",
        {"import_items": 5},
        id=f"s-{uuid.uuid4().hex[:8]}",
        task_queue=lab.task_queue,
        start_signal="send",
        start_signal_args=[{"text": "hello", "id": "m1"}],
    )
    session = lab.watch(lab.hf.session(handle.id))
    with pytest.raises(Exception, match="StartInvalid"):
        await session.result(timeout=WAIT)
    assert (await session.turn("m1").status()).state == "refused"
