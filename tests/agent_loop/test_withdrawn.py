"""A text that an output guardrail blocked or replaced is never sent again, and stands nowhere in the conversation."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel

from handfast import (
    Agent,
    Compact,
    Delta,
    DeltasDiscarded,
    Fail,
    FinalOutput,
    InProcessDeltas,
    Replace,
    RunContext,
    StopAt,
    ToolContext,
    TurnResult,
    handoff,
    messages_only,
    tool,
)
from handfast.client.session import Session
from handfast.errors import RunFailedError
from handfast.payloads.events import GuardrailSpoke
from handfast.testing import Gate, Lab, Reply, call, reasoning, text
from handfast.testing.script import Usage
from support.conversations import kinds, said, talk_to
from support.labs import Effects, MakeLab

SECRET = "the account is NL00"
HIDDEN = "[withheld]"
DONE = Reply(text("done"))
LOOK = Reply(call("look", {"check": "fans"}, "c1"))


def verdict_of(how: str) -> Callable[[RunContext, Any], Any]:
    """A guardrail that blocks the secret, or puts something in its place."""

    def check(_context: RunContext, output: Any) -> Any:
        if "NL00" not in str(output):
            return None
        if how == "raise":
            raise ValueError("no verdict")
        return Fail("an account number") if how == "fail" else Replace(HIDDEN)

    return check


def teller(how: str, **options: Any) -> Agent:
    """An agent with a tool that tells the secret, and one that does not."""

    @tool(effect="read_only")
    async def look(check: str) -> str:
        """Look at something."""
        return f"{check} are fine"

    @tool(effect="read_only")
    async def tell(whose: str) -> str:
        """Tell somebody's account."""
        return f"{whose}: {SECRET}"

    options.setdefault("output_guardrails", [verdict_of(how)])
    return Agent("desk", model="m", tools=[look, tell], **options)


async def ask(session: Session, message: str) -> TurnResult:
    """Send a message, and wait for what becomes of it."""
    return await (await session.send(message)).result()


async def seen(lab: Lab, *conversations: Any) -> str:
    """All that the last request, and everybody who reads a conversation, gets."""
    read = [lab.model.requests[-1].body["input"]]
    for conversation in conversations:
        read.append(await conversation.transcript())
    return json.dumps(read)


@pytest.mark.parametrize("how", ["fail", "raise"])
async def test_a_blocked_answer_leaves_the_session(make_lab: MakeLab, cache: int, how: str) -> None:
    """After a guardrail has blocked an answer the next message finds neither it nor what it answered; what tools have
    done stays."""
    script = [
        Reply(text("hello")),
        Reply(text("I look."), call("look", {"check": "fans"}, "c1")),
        Reply(reasoning("hm"), text(SECRET)),
        Reply(text("goodbye")),
    ]
    lab = await make_lab([teller(how)], script=script, max_cached_workflows=cache)
    session = talk_to(lab)
    await ask(session, "hi")
    assert (await ask(session, "what is it?")).failure is not None
    assert kinds(await session.items()) == ["user", "assistant", "function_call", "function_call_output"]
    await lab.replace_worker()
    await ask(session, "bye")
    assert kinds(lab.model.requests[-1].body["input"]) == [
        *("user", "assistant", "function_call", "function_call_output", "user"),
    ]
    told = await seen(lab, session) + json.dumps(await session.items())
    assert "NL00" not in told
    assert "what is it?" not in told
    assert "fans are fine" in told
    assert lab.model.violations == []


async def test_a_replacement_stands_in_its_place_everywhere(make_lab: MakeLab, cache: int) -> None:
    """What a guardrail put in an answer's place is what the next request, `items` and `transcript` hold."""
    script = [Reply(reasoning("hm"), text(SECRET)), Reply(text("goodbye"))]
    lab = await make_lab([teller("replace")], script=script, max_cached_workflows=cache)
    session = talk_to(lab)
    assert (await ask(session, "what is it?")).output == HIDDEN
    await lab.replace_worker()
    await ask(session, "bye")
    assert kinds(lab.model.requests[-1].body["input"]) == ["user", "assistant", "user"]
    told = await seen(lab, session)
    assert "NL00" not in told
    assert told.count(HIDDEN) == 2
    assert lab.model.violations == []


async def test_a_turn_that_was_handed_over_leaves_as_well(make_lab: MakeLab, cache: int) -> None:
    """A handoff's filter puts the conversation before the next agent as one block: the messages of the blocked turn
    leave that too, those of earlier turns stay, and so does what is equal to one of them."""
    desk = teller("fail")
    front = Agent("front", model="m", handoffs=[handoff(desk, filter=messages_only)])
    script = [
        *(Reply(text("hello")), Reply(text("on to the desk"), call("transfer_to_desk", {}, "h1"))),
        *(LOOK, Reply(text(SECRET)), Reply(text("goodbye"))),
    ]
    lab = await make_lab([front, desk], script=script, max_cached_workflows=cache)
    session = talk_to(lab, "front")
    await ask(session, "what is it?")
    assert (await ask(session, "what is it?")).failure is not None
    await ask(session, "bye")
    input_items = lab.model.requests[-1].body["input"]
    assert kinds(input_items) == ["user", "assistant", "function_call", "function_call_output", "user"]
    assert said(input_items) == ["what is it?", "bye"]
    told = await seen(lab, session)
    assert "NL00" not in told
    assert "on to the desk" not in told
    assert lab.model.violations == []


async def test_a_turn_that_was_made_short_leaves_the_summary(make_lab: MakeLab, cache: int) -> None:
    """A summary that was written within the blocked turn stays, as it stands in for all turns before; the messages that
    it was made of are shown no more."""
    scribe = Agent("scribe", model="small", instructions="You sum up.")
    desk = teller("fail", compaction=Compact(at_tokens=1000, by=scribe, keep_turns=0))
    script = [
        *(Reply(text("hello")), Reply(call("look", {"check": "oil"}, "c0"))),
        *(Reply(call("look", {"check": "fans"}, "c1"), usage=Usage(5000, 10)), Reply(text("They greet."))),
        *(Reply(text(SECRET)), Reply(text("goodbye"))),
    ]
    lab = await make_lab([desk, scribe], script=script, max_cached_workflows=cache)
    session = talk_to(lab)
    await ask(session, "hi")
    assert (await ask(session, "what is it?")).failure is not None
    await ask(session, "bye")
    input_items = lab.model.requests[-1].body["input"]
    assert kinds(input_items) == ["user", "function_call", "function_call_output", "user"]
    assert said(input_items)[0].endswith("They greet.")
    shown = await session.transcript()
    assert said(shown)[0] == "hi"
    assert "what is it?" not in json.dumps(shown)
    assert "NL00" not in await seen(lab, session)


async def test_nobody_can_go_on_from_what_was_replaced(make_lab: MakeLab) -> None:
    """The provider keeps the answer as the model wrote it: where another stands in its place, the result names no
    response to go on from."""
    lab = await make_lab([teller("replace")], script=[Reply(text(SECRET)), Reply(text("hello"))])
    replaced, kept = [await (await lab.start("desk")).result(items=True) for _ in range(2)]
    assert replaced.response_id is None
    assert "NL00" not in json.dumps(replaced.items)
    assert kept.response_id is not None


class Account(BaseModel):
    """A typed answer."""

    number: str


@pytest.mark.parametrize("kind", [Account, list[str]], ids=["object", "wrapped"])
async def test_a_typed_replacement_reads_as_the_model_would_have_written_it(make_lab: MakeLab, kind: Any) -> None:
    """A typed answer is replaced by one of its type, in the form in which the model writes it."""
    new: Any = Account(number="?") if kind is Account else ["?"]
    written: Any = {"number": "NL00"} if kind is Account else {"response": ["NL00"]}
    agent = teller("", output_type=kind, output_guardrails=[lambda _context, _output: Replace(new)])
    lab = await make_lab([agent], script=[Reply(text(json.dumps(written))), Reply(text(json.dumps(written)))])
    session = talk_to(lab)
    await ask(session, "what is it?")
    await ask(session, "again")
    [item] = [each for each in lab.model.requests[-1].body["input"] if each.get("role") == "assistant"]
    content = item["content"] if isinstance(item["content"], str) else item["content"][0]["text"]
    assert json.loads(content) == ({"number": "?"} if kind is Account else {"response": ["?"]})


@pytest.mark.parametrize("how", ["fail", "replace"])
@pytest.mark.parametrize("rule", ["stop_on_first", "stop_at", "function", "derived"])
async def test_a_tools_output_that_was_blocked_reads_withheld(
    make_lab: MakeLab, cache: int, *, rule: str, how: str
) -> None:
    """Where a tool's output was the answer, the pair stays, and reads that the output was withheld, or what came in its
    place; so do those that a function has made the answer of."""
    rules: dict[str, Any] = {
        "stop_on_first": "stop_on_first",
        "stop_at": StopAt("tell"),
        "function": lambda _context, results: FinalOutput(results[0].output),
        "derived": lambda _context, results: FinalOutput({"number": results[0].output[-4:]}),
    }
    replies = [Reply(call("tell", {"whose": "ann"}, "c1")), Reply(text("goodbye"))]
    lab = await make_lab([teller(how, after_tools=rules[rule])], script=replies, max_cached_workflows=cache)
    session = talk_to(lab)
    if how == "fail":
        assert (await ask(session, "what is it?")).failure is not None
    else:
        assert (await ask(session, "what is it?")).output == HIDDEN
    await ask(session, "bye")
    [output] = [each["output"] for each in lab.model.requests[-1].body["input"] if "output" in each]
    assert output == (HIDDEN if how == "replace" else "The tool ran, but its output was withheld.")
    assert "NL00" not in await seen(lab, session)
    assert lab.model.violations == []


async def test_only_what_was_the_answer_is_withheld(make_lab: MakeLab) -> None:
    """Of several calls the one whose output was blocked is withheld; the other's stays."""
    both = Reply(call("tell", {"whose": "ann"}, "c1"), call("look", {"check": "fans"}, "c2"))
    lab = await make_lab([teller("fail", after_tools=StopAt("tell"))], script=[both, Reply(text("goodbye"))])
    session = talk_to(lab)
    assert (await ask(session, "what is it?")).failure is not None
    await ask(session, "bye")
    outputs = {each["call_id"]: each["output"] for each in lab.model.requests[-1].body["input"] if "output" in each}
    assert outputs == {"c1": "The tool ran, but its output was withheld.", "c2": "fans are fine"}


async def test_a_run_that_goes_on_after_its_answer_does_not_read_it(make_lab: MakeLab, cache: int) -> None:
    """A message that comes while the answer is looked at leads to a further turn, which reads the replacement."""
    looking, go = asyncio.Event(), asyncio.Event()

    async def slowly(_context: RunContext, output: str) -> Any:
        looking.set()
        await go.wait()
        return Replace(HIDDEN) if "NL00" in output else None

    agent = teller("", output_guardrails=[slowly])
    lab = await make_lab([agent], script=[Reply(text(SECRET)), Reply(text("goodbye"))], max_cached_workflows=cache)
    run = await lab.start("desk")
    await looking.wait()
    await run.send("and?")
    go.set()
    assert (await run.result()).output == "goodbye"
    assert "NL00" not in await seen(lab, run)
    assert HIDDEN in json.dumps(lab.model.requests[-1].body["input"])


@pytest.mark.parametrize("how", ["fail", "replace"])
async def test_a_run_that_has_ended_does_not_show_it(make_lab: MakeLab, cache: int, how: str) -> None:
    """`transcript` of a run whose answer was blocked, or replaced, does not hold it; nor that of a nested agent."""
    desk = teller(how)
    outer = Agent("outer", model="m", tools=[desk.as_tool()])
    script = [Reply(call("desk", {"input": "x"}, "c1")), *([Reply(text(SECRET)), DONE] * 2)]
    lab = await make_lab([outer, desk], script=script, max_cached_workflows=cache)
    run = await lab.start("outer")
    await run.result()
    assert "NL00" not in json.dumps([await run.transcript(), await run.transcript(frame="1")])
    alone = await lab.start("desk")
    if how == "fail":
        with pytest.raises(RunFailedError):
            await alone.result()
    else:
        await alone.result()
    assert "NL00" not in json.dumps(await alone.transcript())


async def test_the_output_of_a_tools_own_guardrail_is_withheld_too(make_lab: MakeLab, effects: Effects) -> None:
    """What a tool's output guardrail ends a turn for does not reach the model with the next message."""

    def check(_context: ToolContext, _output: Any) -> Fail:
        return Fail("an account number")

    @tool(output_guardrails=[check])
    async def tell() -> str:
        """Tell an account."""
        effects.append("told")
        return SECRET

    agent = Agent("desk", model="m", tools=[tell])
    lab = await make_lab([agent], script=[Reply(call("tell", {}, "c1")), Reply(text("goodbye"))])
    session = talk_to(lab)
    assert (await ask(session, "what is it?")).failure is not None
    await ask(session, "bye")
    told = await seen(lab, session)
    assert "NL00" not in told
    assert "was withheld" in told
    assert effects == ["told"]


@pytest.mark.parametrize("how", ["fail", "replace"])
async def test_watchers_are_told_that_the_text_was_withdrawn(make_lab: MakeLab, how: str) -> None:
    """Who has seen the text as it was written is told that it is void, before the guardrail's event."""
    deltas = InProcessDeltas()
    lab = await make_lab([teller(how)], script=[Reply(text(SECRET))], deltas=deltas)
    run = await lab.start("desk", stream=True)
    items = [item async for item in run.stream()]
    spoke = next(place for place, item in enumerate(items) if isinstance(item, GuardrailSpoke))
    void = items[spoke - 1]
    assert isinstance(void, DeltasDiscarded)
    shown = [item for item in items[:spoke] if isinstance(item, Delta)]
    assert "".join(item.text for item in shown) == SECRET
    assert {item.attempt for item in shown} == {void.attempt}
    later = [item async for item in run.stream(after=shown[0].offset)]
    assert later == items[items.index(shown[0]) + 1 :]


async def test_nobody_is_told_of_what_was_let_pass(make_lab: MakeLab) -> None:
    """An answer that its guardrails let pass is not withdrawn."""
    lab = await make_lab([teller("fail")], script=[Reply(text("hello"))], deltas=InProcessDeltas())
    run = await lab.start("desk", stream=True)
    assert not [item async for item in run.stream() if isinstance(item, DeltasDiscarded)]


async def test_a_stopped_turn_keeps_its_calls(make_lab: MakeLab) -> None:
    """A run that is stopped after a turn ends with what that reply said: blocked, its words leave, its calls stay."""
    reply = Reply(text(SECRET), call("look", {"check": "fans"}, "c1"))
    lab = await make_lab([teller("fail")], script=[Gate("thinking", reply)])
    run = await lab.start("desk")
    await lab.model.wait_for_request(1)
    await run.stop("enough")
    lab.model.open("thinking")
    with pytest.raises(RunFailedError):
        await run.result()
    left = await run.transcript()
    assert "NL00" not in json.dumps(left)
    assert kinds(left)[-2:] == ["function_call", "function_call_output"]
