"""A session's last message is taken back: the conversation goes on as if it had not been sent."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import pytest

from handfast import Agent, Compact, Fail as Trip, OutputGuardrail, ToolContext, handoff, tool
from handfast.client.session import Session
from handfast.errors import MessageRefusedError, PayloadInvalidError, RunEndedError, TurnFailedError
from handfast.payloads.events import MessageTakenBack
from handfast.testing import Fail, Gate, Reply, call, text
from support.conversations import desk, kinds, said, talk_to
from support.labs import Effects, MakeLab

WAIT = timedelta(seconds=30)


async def answer(session: Session, message: str, **options: Any) -> Any:
    """Say something and wait for the answer."""
    return await (await session.send(message, **options)).output(timeout=WAIT)


async def test_the_last_message_leaves_the_conversation(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """The message, the calls on it and the answer are read no more, whatever histories and workers come between; what
    the tools have done stays done, and what became of the message can be told."""
    script = [Reply(text("one")), Reply(call("look", {"check": "fans"})), Reply(text("two")), Reply(text("three"))]
    lab = await make_lab([desk(effects)], script=script, max_cached_workflows=cache)
    session = talk_to(lab, segment_events=40)
    assert await answer(session, "first", message_id="m1") == "one"
    assert await answer(session, "secnod", message_id="m2") == "two"
    await lab.replace_worker()
    with pytest.raises(MessageRefusedError, match="m1 is not the last one, which is m2") as refused:
        await session.take_back("m1")
    assert refused.value.facts["reason"] == "not_last"
    back = await session.take_back("m2", by="ana")
    assert (back.messages, back.text) == (["m2"], "secnod")
    assert said(await session.items()) == ["first"]
    assert await answer(session, back.text.replace("no", "on")) == "three"
    assert said(lab.model.requests[-1].body["input"]) == ["first", "second"]
    assert [item.get("type") for item in lab.model.requests[-1].body["input"]] == ["message"] * 3
    assert effects == ["look fans"]
    status = await session.turn("m2").status()
    assert (status.state, status.taken_back) == ("answered", True)
    assert (await session.turn("m1").status()).taken_back is None
    events = [event async for event in session.events(wait=False)]
    assert [(each.message, each.by) for each in events if isinstance(each, MessageTakenBack)] == [("m2", "ana")]
    assert (await session.status()).usage.requests == 4


async def test_one_after_the_other_until_nothing_is_left(make_lab: MakeLab, effects: Effects) -> None:
    """A failed message is taken back like another one; an imported conversation stays."""
    before = [{"role": "user", "content": "earlier"}]
    script = [Reply(text("one")), Fail(400, "no such setting"), Reply(text("again"))]
    lab = await make_lab([desk(effects)], script=script)
    session = talk_to(lab, import_items=before)
    await answer(session, "first", message_id="m1")
    with pytest.raises(TurnFailedError):
        await answer(session, "second", message_id="m2")
    assert [(await session.take_back()).messages for _ in range(2)] == [["m2"], ["m1"]]
    with pytest.raises(MessageRefusedError, match="no message") as refused:
        await session.take_back()
    assert refused.value.facts["reason"] == "nothing"
    assert await answer(session, "first") == "again"
    assert lab.model.requests[-1].body["input"][0]["content"] == "earlier"


async def test_a_turn_is_taken_back_whole(make_lab: MakeLab, effects: Effects) -> None:
    """Messages that steered a turn go with the one that opened it; while it goes on nothing is taken back."""
    lab = await make_lab([desk(effects)], script=[Gate("thinking", Reply(text("lost"))), Reply(text("both"))])
    session = talk_to(lab)
    turn = await session.send("first", message_id="m1")
    await lab.model.wait_for_request(1)
    with pytest.raises(MessageRefusedError, match="stop its turn first") as refused:
        await session.take_back()
    assert refused.value.facts["reason"] == "busy"
    steering = await session.send("and more", message_id="m2", when="now")
    lab.model.open("thinking")
    assert [await each.output(timeout=WAIT) for each in (turn, steering)] == ["both"] * 2
    back = await session.take_back("m1")
    assert (back.messages, back.text) == (["m1", "m2"], "first\n\nand more")
    assert await session.items() == []


async def test_the_agent_of_before_goes_on(make_lab: MakeLab) -> None:
    """A handoff that followed on a message is taken back with it; what a tool noted in the context stays."""

    @tool
    def note(ctx: ToolContext) -> str:
        """Take a note."""
        ctx.context = {"noted": True}
        return "noted"

    billing = Agent("billing", model="m", instructions="I am billing.", tools=[note])
    triage = Agent("desk", model="m", instructions="I am triage.", handoffs=[handoff(billing)])
    script = [Reply(text("yes?")), Reply(call("transfer_to_billing", {})), Reply(call("note", {})), Reply(text("paid"))]
    lab = await make_lab([triage, billing], script=[*script, Reply(text("hello"))])
    session = talk_to(lab, context={})
    await answer(session, "hello")
    await answer(session, "an invoice")
    assert (await session.status()).agent == "billing"
    await session.take_back()
    assert (await session.status()).agent == "desk"
    assert await answer(session, "nothing") == "hello"
    assert lab.model.requests[-1].body["instructions"] == "I am triage."


async def test_what_was_made_short_stays(make_lab: MakeLab, effects: Effects) -> None:
    """A message that stands in a part which a compaction has made short can be taken back no more."""
    scribe = Agent("scribe", model="m", instructions="Sum up.")
    keeper = Agent("desk", model="m", compaction=Compact(at_tokens=1, by=scribe, keep_turns=0))
    lab = await make_lab([keeper, scribe], script=[Reply(text(each)) for each in ("one", "a summary", "two")])
    session = talk_to(lab)
    await answer(session, "first")
    await answer(session, "second", message_id="m2")
    assert (await session.take_back()).messages == ["m2"]
    with pytest.raises(MessageRefusedError, match="made short") as refused:
        await session.take_back()
    assert refused.value.facts["reason"] == "compacted"


async def test_what_a_guardrail_left_of_a_turn_goes_too(make_lab: MakeLab, effects: Effects) -> None:
    """Of a turn whose answer was blocked the finished calls stay; they leave with the message."""

    def withhold(context: Any, output: Any) -> Trip | None:
        """Block the second answer."""
        return Trip("no") if output == "two" else None

    script = [Reply(text("one")), Reply(call("look", {"check": "fans"})), Reply(text("two"))]
    agent = dataclasses.replace(desk(effects), output_guardrails=[OutputGuardrail(withhold)])
    lab = await make_lab([agent], script=script)
    session = talk_to(lab)
    await answer(session, "first")
    with pytest.raises(TurnFailedError):
        await answer(session, "second", message_id="m2")
    assert kinds(await session.items()) == ["user", "assistant", "function_call", "function_call_output"]
    assert (await session.take_back()).messages == ["m2"]
    assert kinds(await session.items()) == ["user", "assistant"]


async def test_a_message_that_waits_loses_its_turn(make_lab: MakeLab, effects: Effects) -> None:
    """What waits while a person thinks is the last message, as long as no turn has begun for it."""
    script = [Reply(call("wipe", {"target": "a"})), Reply(text("one")), Reply(text("two"))]
    lab = await make_lab([desk(effects)], script=script)
    session = talk_to(lab)
    first = await session.send("first")
    async for request in session.requests():
        waiting = await session.send("second", message_id="m2")
        back = await session.take_back("m2")
        assert (back.messages, back.text) == (["m2"], "second")
        assert (await waiting.status()).state == "refused"
        await session.approve(request, decided_by="lead")
        break
    assert await first.output(timeout=WAIT) == "one"
    assert len(lab.model.requests) == 2


async def test_what_cannot_be_taken_back_is_said(make_lab: MakeLab, effects: Effects) -> None:
    """An id that can be none is refused before it is sent, in whatever way; a session that has ended takes nothing."""
    lab = await make_lab([desk(effects)], script=[Reply(text("one"))])
    session = talk_to(lab)
    await answer(session, "first")
    for no_id in ("", "x" * 257):
        with pytest.raises(PayloadInvalidError, match="message_id"):
            await session.take_back(no_id)
    await session.close()
    await session.result()
    with pytest.raises(RunEndedError):
        await session.take_back()
