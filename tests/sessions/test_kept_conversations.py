"""A session whose conversation the model's provider keeps: each request sends what is new, whatever happens."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import openai
import pytest

from handfast import Agent, Conversation, Fail as Trip, InputGuardrail, RunContext, tool
from handfast.client.session import Session
from handfast.errors import MessageRefusedError, TurnFailedError
from handfast.payloads.history import GivenHistory
from handfast.testing import Fail, Gate, Lab, Reply, call, reasoning, text
from support.conversations import talk_to
from support.labs import MakeLab

WAIT = timedelta(seconds=30)
BOTH = pytest.mark.parametrize("history", ["chain", "conversation"])


@tool(effect="read_only")
def look(check: str) -> str:
    """Look at something."""
    return f"{check} is fine"


@tool(on_error="fail")
def break_it() -> str:
    """Break."""
    raise OSError("no disk")


def desk(**options: Any) -> Agent:
    """An agent with two free tools."""
    return Agent("desk", model="m", tools=[look, break_it], **options)


def words(items: list[Any]) -> list[str]:
    """The texts of an input, and its calls and outputs, in order."""
    found: list[str] = []
    for item in items:
        content = item.get("content") or []
        parts = [{"text": content}] if isinstance(content, str) else content
        found += [item["type"]] if "call_id" in item else [part["text"] for part in parts if "text" in part]
    return found


def sent(lab: Lab) -> list[list[str]]:
    """What each request for a response sent itself."""
    return [words(request.body["input"]) for request in lab.model.created]


async def answer(session: Session, message: str) -> Any:
    """Say something and wait for the answer."""
    return await (await session.send(message)).output(timeout=WAIT)


async def kept_words(lab: Lab, session: Session) -> list[str]:
    """What the provider keeps of a session's conversation."""
    kept = (await session.status()).history
    assert kept is not None
    async with openai.AsyncOpenAI(base_url=lab.model.base_url, api_key="test") as client:
        if kept.conversation is not None:
            listed = client.conversations.items.list(kept.conversation, order="asc", limit=100)
            return words([item.model_dump(warnings=False) async for item in listed])
    newest = next(each for each in lab.model.created if each.reply and each.reply.get("id") == kept.response)
    assert newest.reply is not None
    return [*words(list(newest.items)), *words(newest.reply["output"])]


@BOTH
async def test_each_message_sends_itself_alone(make_lab: MakeLab, history: GivenHistory, cache: int) -> None:
    """Messages, and outputs of tools, are sent once; what was imported goes with the first request, and a fresh
    history and a fresh worker send nothing again."""
    script = [Reply(text("one")), Reply(reasoning("hm"), call("look", {"check": "fans"}, "c1")), Reply(text("two"))]
    lab = await make_lab([desk()], script=[*script, Reply(text("three"))], max_cached_workflows=cache)
    before = [{"role": "user", "content": "earlier"}]
    session = talk_to(lab, history=history, import_items=before, segment_events=40)
    assert await answer(session, "first") == "one"
    assert await answer(session, "second") == "two"
    await lab.replace_worker()
    assert await answer(session, "third") == "three"
    assert sent(lab) == [["earlier", "first"], ["second"], ["function_call_output"], ["third"]]
    whole = ["earlier", "first", "one", "second", "function_call", "function_call_output", "two", "third", "three"]
    assert words(await session.items()) == whole
    assert await kept_words(lab, session) == whole
    assert lab.model.violations == []


@BOTH
async def test_a_failed_turn_leaves_the_provider_in_step(make_lab: MakeLab, history: GivenHistory) -> None:
    """A message that the model never answered, and a turn that a tool failed, are kept there as they are kept here."""
    script = [Reply(text("one")), Fail(400, "no such setting"), Reply(call("break_it", {}, "c1")), Reply(text("four"))]
    lab = await make_lab([desk()], script=script)
    session = talk_to(lab, history=history)
    assert await answer(session, "first") == "one"
    for message in ("second", "third"):
        with pytest.raises(TurnFailedError):
            await answer(session, message)
    assert await answer(session, "fourth") == "four"
    assert sent(lab) == [["first"], ["second"], ["third"], ["function_call_output", "fourth"]]
    whole = ["first", "one", "third", "function_call", "function_call_output", "fourth", "four"]
    assert words(await session.items()) == whole
    assert await kept_words(lab, session) == whole
    assert lab.model.violations == []


@pytest.mark.parametrize("history", ["chain", "conversation", "given"])
async def test_what_a_guardrail_stops_leaves_the_provider_too(make_lab: MakeLab, history: str) -> None:
    """A message that a guardrail stops while the model already answers it is no part of what the model reads next, nor
    is what it said; what was there before the session stays."""

    async def stop_secrets(context: RunContext[Any], items: Any) -> Any:
        """Let the first reply come before the verdict."""
        if "secret" not in str(items[-1]):
            return None
        await lab.model.wait_for_end(number)
        return Trip("no secrets")

    guard = InputGuardrail(stop_secrets, name="secrets", parallel=True)
    lab = await make_lab([desk(input_guardrails=[guard])], script=[Reply(text("zero"))] * 6)
    start: Any = history
    if history == "given":
        async with openai.AsyncOpenAI(base_url=lab.model.base_url, api_key="test") as client:
            made = await client.conversations.create(items=[{"role": "user", "content": "earlier"}])
            start = Conversation(made.id)
    session = talk_to(lab, history=start)
    number = len(lab.model.requests) + {"chain": 1, "conversation": 2, "given": 2}[history]
    with pytest.raises(TurnFailedError):
        await answer(session, "a secret")
    assert await answer(session, "first") == "zero"
    number = len(lab.model.requests) + 1
    with pytest.raises(TurnFailedError):
        await answer(session, "another secret")
    assert await answer(session, "second") == "zero"
    assert "secret" not in str(await kept_words(lab, session))
    assert words(await session.items()) == ["first", "zero", "second", "zero"]
    assert (await kept_words(lab, session))[-4:] == ["first", "zero", "second", "zero"]
    assert ("earlier" in await kept_words(lab, session)) is (history == "given")


@BOTH
async def test_messages_are_taken_back_there_too(make_lab: MakeLab, history: GivenHistory) -> None:
    """What is taken back is no part of what the provider keeps, and nothing else is sent again for it."""
    lab = await make_lab([desk()], script=[Reply(text(each)) for each in ("one", "two", "three", "four")])
    session = talk_to(lab, history=history)
    for message in ("first", "second", "third"):
        await answer(session, message)
    assert (await session.take_back()).text == "third"
    assert (await session.take_back()).text == "second"
    assert await answer(session, "otherwise") == "four"
    assert sent(lab)[-1] == ["otherwise"]
    assert await kept_words(lab, session) == ["first", "one", "otherwise", "four"]
    assert [(await session.take_back()).text for _ in range(2)] == ["otherwise", "first"]
    with pytest.raises(MessageRefusedError, match="no message"):
        await session.take_back()
    assert lab.model.violations == []


@BOTH
async def test_what_the_provider_has_forgotten_is_sent_again(make_lab: MakeLab, history: GivenHistory) -> None:
    """Where the provider has forgotten the conversation all of it is sent in full; a message that is taken back after
    that is not sent any more."""
    lab = await make_lab([desk()], script=[Reply(text(each)) for each in ("one", "two", "three")])
    session = talk_to(lab, history=history)
    await answer(session, "first")
    kept = (await session.status()).history
    assert kept is not None
    lab.model.forget(str(kept.response if history == "chain" else kept.conversation))
    assert await answer(session, "second") == "two"
    await session.take_back()
    assert await answer(session, "third") == "three"
    assert await kept_words(lab, session) == ["first", "one", "third", "three"]


async def test_a_message_that_interrupts_sends_nothing_twice(make_lab: MakeLab) -> None:
    """A model call that is made again with a message leaves nothing of the first one in the conversation."""
    lab = await make_lab([desk()], script=[Gate("thinking", Reply(text("lost"))), Reply(text("both"))])
    session = talk_to(lab, history="conversation")
    turn = await session.send("first")
    await lab.model.wait_for_request(2)  # the conversation is made first
    steering = await session.send("now", when="now")
    lab.model.open("thinking")
    assert [await each.output(timeout=WAIT) for each in (turn, steering)] == ["both"] * 2
    assert await kept_words(lab, session) == ["first", "now", "both"]
