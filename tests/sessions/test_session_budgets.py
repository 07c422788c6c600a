"""A budget for a whole session: its messages together may take so many turns and tokens."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from handfast import Agent, tool
from handfast.cli import exits
from handfast.errors import DecisionInvalidError, GrantRefusedError, PayloadInvalidError, TurnFailedError
from handfast.payloads.events import LimitsExtended
from handfast.testing import Reply, Usage, call, text
from support.commands import Cli, MakeCli
from support.conversations import said, talk_to
from support.labs import MakeLab

WAIT = timedelta(seconds=30)
COSTLY = Usage(input_tokens=90, output_tokens=10)


@tool(effect="read_only")
def look() -> str:
    """Look."""
    return "fine"


def desk(**options: Any) -> Agent:
    """An agent with one free tool."""
    return Agent("desk", model="m", tools=[look], **options)


def replies(*words: str) -> list[Reply]:
    """Answers that take a hundred tokens each."""
    return [Reply(text(each), usage=COSTLY) for each in words]


@pytest.mark.parametrize(
    ("budget", "kind", "used"),
    [
        pytest.param({"max_session_tokens": 200}, "MaxTokensExceeded", "200 tokens of 200", id="tokens"),
        pytest.param({"max_session_turns": 2}, "MaxTurnsExceeded", "2 turns of 2", id="turns"),
    ],
)
async def test_a_session_that_has_spent_its_budget_answers_no_more(
    make_lab: MakeLab, budget: dict[str, Any], kind: str, used: str, cache: int
) -> None:
    """The message above it fails with a type and is left out of the conversation; raising it, while the session is
    idle, lets the next one through. The budget survives fresh histories."""
    lab = await make_lab([desk()], script=replies("one", "two", "three"), max_cached_workflows=cache)
    session = talk_to(lab, segment_events=40, **budget)
    assert await (await session.send("first")).output(timeout=WAIT) == "one"
    assert await (await session.send("second")).output(timeout=WAIT) == "two"
    with pytest.raises(TurnFailedError, match=f"the session used {used}; raise_limits") as failed:
        await (await session.send("third")).output(timeout=WAIT)
    assert failed.value.kind == kind
    [name] = budget
    more = {"turns": 1} if "turns" in name else {"tokens": 50}
    raised = await session.raise_limits(**more, session=True, by="ana")  # type: ignore[arg-type] # mypy sees one dict
    assert {raised.session_turns, raised.session_tokens} == {None, budget[name] + next(iter(more.values()))}
    assert await (await session.send("fourth")).output(timeout=WAIT) == "three"
    assert said(list(lab.model.requests[2].items)) == ["first", "second", "fourth"]
    [told] = [each async for each in session.events(wait=False) if isinstance(each, LimitsExtended)]
    assert told.by == "ana"


async def test_a_person_may_be_asked_for_more(make_lab: MakeLab) -> None:
    """With `on_limit="ask"` the turn waits where the budget is spent, in its middle, and a grant raises the whole
    session's budget; a rejection ends that turn alone."""
    script = [*replies("one"), Reply(call("look", {}, "c1"), usage=COSTLY), *replies("two", "three")]
    lab = await make_lab([desk(on_limit="ask")], script=script)
    session = talk_to(lab, max_session_tokens=200)
    assert await (await session.send("first")).output(timeout=WAIT) == "one"
    turn = await session.send("second")
    request = await lab.next_request(session)
    assert request.reason == "the session has used 200 of 200 tokens; grant more, or reject"
    assert request.facts == {"what": "tokens", "used": 200, "limit": 200, "session": True}
    await session.grant(request, tokens=200, decided_by="lead")
    assert await turn.output(timeout=WAIT) == "two"
    assert await (await session.send("third")).output(timeout=WAIT) == "three"
    turn = await session.send("fourth")
    await session.reject(await lab.next_request(session), decided_by="lead")
    with pytest.raises(TurnFailedError, match="400 tokens of 400"):
        await turn.output(timeout=WAIT)
    assert (await session.status()).status == "idle"


async def test_a_raise_closes_the_request(make_lab: MakeLab) -> None:
    """`raise_limits` closes an open request for the budget, named as the session's or not."""
    lab = await make_lab([desk(on_limit="ask")], script=replies("one", "two", "three"))
    session = talk_to(lab, max_session_turns=1)
    await (await session.send("first")).result(timeout=WAIT)
    for more, answer in (({"session": True}, "two"), ({}, "three")):
        turn = await session.send("and?")
        request = await lab.next_request(session)
        raised = await session.raise_limits(turns=1, **more)  # type: ignore[arg-type] # mypy sees one dict
        assert raised.request == request.id
        assert await turn.output(timeout=WAIT) == answer


async def test_messages_have_limits_of_their_own(make_lab: MakeLab) -> None:
    """A message's own limit is asked about as its own, and a grant for it leaves the session's budget."""
    looking = [Reply(call("look", {}, f"c{n}"), usage=COSTLY) for n in range(2)]
    lab = await make_lab([desk(on_limit="ask", max_tokens=100)], script=[*looking, *replies("one")])
    session = talk_to(lab, max_session_tokens=1000)
    turn = await session.send("first")
    request = await lab.next_request(session)
    assert request.facts == {"what": "tokens", "used": 100, "limit": 100}
    raised = await session.raise_limits(tokens=50, session=True)
    assert (raised.request, raised.session_tokens, raised.max_tokens) == (None, 1050, 100)
    await session.grant(request, tokens=500, decided_by="lead")
    assert await turn.output(timeout=WAIT) == "one"
    assert (await session.raise_limits(tokens=1, session=True)).session_tokens == 1051


async def test_what_has_no_budget_is_refused(make_lab: MakeLab) -> None:
    """A session without a budget has none to be raised, and a run is no session; a budget of nothing is none."""
    lab = await make_lab([desk()], script=replies("one"))
    session = talk_to(lab, max_session_turns=5)
    await (await session.send("first")).result(timeout=WAIT)
    with pytest.raises(GrantRefusedError, match="the session has no limit of tokens"):
        await session.raise_limits(tokens=1, session=True)
    with pytest.raises(GrantRefusedError, match="the session has no limit of time"):
        await session.raise_limits(duration=timedelta(seconds=1), session=True)
    with pytest.raises(PayloadInvalidError, match="max_session_tokens"):
        lab.hf.session("never", agent="desk", max_session_tokens=0)


async def test_a_run_is_no_session(make_lab: MakeLab) -> None:
    """`session=True` is refused for a run."""

    @tool(approval=True)
    def sign() -> str:
        """Sign."""
        return "signed"

    lab = await make_lab([Agent("desk", model="m", tools=[sign])], script=[Reply(call("sign", {}))])
    run = await lab.start("desk")
    await lab.next_request(run)
    with pytest.raises(DecisionInvalidError, match="this is no session"):
        await run.raise_limits(turns=1, session=True)


async def test_the_command_raises_it(make_lab: MakeLab, make_cli: MakeCli) -> None:
    """`handfast raise --session` raises the budget, and says what holds now."""
    lab = await make_lab([desk()], script=replies("one"))
    session = talk_to(lab, max_session_tokens=1000)
    await (await session.send("first")).result(timeout=WAIT)
    cli: Cli = make_cli(lab.client.service_client.config.target_host)
    done = await cli("raise", session.id, "--tokens", "500", "--session", "--by", "ana")
    assert (done.code, done.err) == (exits.OK, "")
    assert "at most 1,500 tokens of the session" in done.out
    refused = await cli("raise", session.id, "--cost", "0.5", "--session", "--by", "ana")
    assert "the session has no limit of cost that could be raised" in refused.err
    wrong = await cli("raise", session.id, "--cost", "much", "--session", "--by", "ana")
    assert "cost: " in wrong.err
