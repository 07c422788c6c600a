"""Scenario row P6: a run out of turns or tokens asks for more, and goes on where it stopped."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import Client

from handfast import Agent, Approval, Grant, Reject, Request, Run, tool
from handfast.errors import (
    DefinitionError,
    GrantRefusedError,
    RunCancelledError,
    RunFailedError,
    VerdictNotAllowedError,
)
from handfast.testing import Reply, call, text
from handfast.testing.script import Usage
from support.evidence import logged
from support.labs import Effects, MakeLab

SPENT = Usage(input_tokens=60, output_tokens=40)
DONE = Reply(text("done"), usage=SPENT)


def desk(effects: Effects, **options: Any) -> Agent:
    """An agent with one free tool."""

    @tool(effect="idempotent")
    async def look(check: str) -> str:
        """Look at something."""
        effects.append(check)
        return "fine"

    return Agent("desk", model="m", tools=[look], **options)


def looking(check: str) -> Reply:
    """A reply of a hundred tokens that calls the tool."""
    return Reply(call("look", {"check": check}), usage=SPENT)


async def next_budget(run: Run, seen: set[str]) -> Request:
    """The next budget request that this test has not seen."""
    async for request in run.requests():
        if request.kind == "budget" and request.id not in seen:
            seen.add(request.id)
            return request
    raise AssertionError("the run ended without asking for a budget")


async def test_granted_turns_continue_the_run_where_it_stopped(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """P6: out of turns the run waits, over a restart; each grant is spent before it asks again; nothing is repeated."""
    agent = desk(effects, max_turns=1, on_limit="ask")
    script = [looking("a"), looking("b"), looking("c"), DONE]
    lab = await make_lab([agent], script=script, max_cached_workflows=cache)
    run = await lab.start("desk")
    seen: set[str] = set()
    first = await next_budget(run, seen)
    assert first.facts == {"what": "turns", "used": 1, "limit": 1}
    assert first.verdicts == ["grant", "reject"]
    assert (await run.status()).status == "waiting"
    await lab.replace_worker()
    await run.grant(first, turns=2, decided_by="lead")
    second = await next_budget(run, seen)
    assert second.facts == {"what": "turns", "used": 3, "limit": 3}
    await run.grant(second, turns=1, decided_by="lead")
    result = await run.result()
    assert (result.output, result.turns) == ("done", 4)
    assert effects == ["a", "b", "c"]
    assert len(lab.model.requests) == 4
    assert lab.model.violations == []


async def test_a_stop_ends_a_run_that_waits_for_more(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """P6: no turn is under way in a run that waits for turns: told to stop it ends with what it has said, and the
    request is withdrawn."""
    agent = desk(effects, max_turns=1, on_limit="ask")
    script = [Reply(text("looking"), call("look", {"check": "a"}))]
    lab = await make_lab([agent], script=script, max_cached_workflows=cache)
    run = await lab.start("desk")
    request = await next_budget(run, set())
    await lab.client.get_workflow_handle(run.id).signal("stop", {"reason": "enough"})
    result = await run.result()
    assert (result.output, result.stopped, result.turns) == ("looking", "enough", 1)
    assert [each.request for each in await logged(lab, run, "withdrawn", 1)] == [request.id]
    assert effects == ["a"]


async def test_granted_tokens_continue_the_run_where_it_stopped(
    make_lab: MakeLab, effects: Effects, cache: int
) -> None:
    """P6: out of tokens the run asks for them, and takes no grant after which it would still be out of them."""
    agent = desk(effects, max_tokens=50, on_limit="ask")
    lab = await make_lab([agent], script=[looking("a"), looking("b"), DONE], max_cached_workflows=cache)
    run = await lab.start("desk")
    seen: set[str] = set()
    first = await next_budget(run, seen)
    assert first.facts == {"what": "tokens", "used": 100, "limit": 50}
    for useless in (Grant(tokens=50), Grant(turns=7), Grant()):
        with pytest.raises(GrantRefusedError, match="at least 51 tokens") as refused:
            await run.decide(first, useless, decided_by="lead")
        assert refused.value.facts["least"] == "51"
    assert [each.id for each in await run.pending()] == [first.id]
    await lab.replace_worker()
    await run.grant(first, tokens=51, decided_by="lead")
    second = await next_budget(run, seen)
    assert second.facts == {"what": "tokens", "used": 200, "limit": 101}
    raised = await run.raise_limits(tokens=1000, by="lead")
    assert (raised.max_tokens, raised.request) == (1101, second.id)
    assert (await run.result()).usage.total_tokens == 300
    assert effects == ["a", "b"]


async def test_granted_time_continues_the_run_where_it_stopped(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """P6: having worked for longer than it may, the run waits for more time, which a grant or `raise_limits` adds."""

    @tool(effect="idempotent", on_error="fail")
    async def work() -> str:
        """Work for a while."""
        await asyncio.sleep(1.1)  # what is measured
        effects.append("work")
        return "worked"

    worker = Agent("worker", model="m", tools=[work], max_duration=timedelta(seconds=1), on_limit="ask")
    lab = await make_lab([worker], script=[Reply(call("work", {})), DONE], max_cached_workflows=cache)
    run = await lab.start("worker")
    first = await next_budget(run, set())
    assert first.facts is not None
    assert (first.facts["what"], first.facts["limit"]) == ("time", 1)
    with pytest.raises(GrantRefusedError, match="seconds"):
        await run.grant(first, turns=5, decided_by="lead")
    await lab.replace_worker()
    raised = await run.raise_limits(duration=timedelta(minutes=1), by="lead")
    assert (raised.max_seconds, raised.request) == (61, first.id)
    assert (await run.result()).output == "done"
    assert effects == ["work"]


async def test_time_that_waits_for_people_is_not_counted(
    make_lab: MakeLab, effects: Effects, skipping_client: Client
) -> None:
    """P6: a run that may work for a minute waits for an approval for hours, in a nested loop too, and ends well."""

    @tool(approval=Approval(deadline=timedelta(hours=4), on_deadline="approve"))
    async def wipe(target: str) -> str:
        """Delete a target."""
        effects.append(target)
        return "wiped"

    limit = timedelta(minutes=1)
    clerk = Agent("clerk", description="Wipes.", model="m", tools=[wipe], max_duration=limit)
    office = Agent("office", model="m", tools=[clerk.as_tool()], max_duration=limit)
    script = [Reply(call("clerk", {"input": "wipe"})), Reply(call("wipe", {"target": "t"})), DONE, DONE]
    lab = await make_lab([office], script=script, client=skipping_client)
    run = await lab.start("office")
    assert (await run.result()).output == "done"
    assert effects == ["t"]


TURNS = ({"max_turns": 1}, "MaxTurnsExceeded", "used its 1 turns")
TOKENS = ({"max_tokens": 99}, "MaxTokensExceeded", "used 100 tokens of 99")


@pytest.mark.parametrize("limit", [TURNS, TOKENS], ids=["turns", "tokens"])
@pytest.mark.parametrize("policy", ["fail", "ask"])
async def test_the_run_fails_by_choice_or_by_rejection(
    make_lab: MakeLab, effects: Effects, limit: tuple[dict[str, int], str, str], policy: str, cache: int
) -> None:
    """P6: with ``on_limit="fail"``, or when a person rejects, the run fails with the limit that it reached."""
    options, kind, says = limit
    agent = desk(effects, on_limit=policy, **options)
    lab = await make_lab([agent], script=[looking("a"), DONE], max_cached_workflows=cache)
    run = await lab.start("desk")
    if policy == "ask":
        request = await next_budget(run, set())
        with pytest.raises(VerdictNotAllowedError, match="takes grant, reject, not approve"):
            await run.approve(request, decided_by="lead")
        await run.decide(request, Reject(), decided_by="lead")
    with pytest.raises(RunFailedError, match=says) as failed:
        await run.result()
    assert failed.value.kind == kind
    assert len(lab.model.requests) == 1


async def test_a_reply_above_the_limit_is_taken_when_it_answers(make_lab: MakeLab, effects: Effects) -> None:
    """P6: a reply that ends the run is its answer, also where it took more tokens than were left."""
    lab = await make_lab([desk(effects, max_tokens=1)], script=[DONE])
    assert (await (await lab.start("desk")).result()).output == "done"


async def test_a_cancelled_run_withdraws_its_budget_request(make_lab: MakeLab, effects: Effects) -> None:
    """P6: what waits for a budget can be cancelled like everything else."""
    lab = await make_lab([desk(effects, max_turns=1, on_limit="ask")], script=[looking("a")])
    run = await lab.start("desk")
    await next_budget(run, set())
    assert await run.cancel("enough")
    with pytest.raises(RunCancelledError):
        await run.result()
    assert (await run.status()).pending == 0
    assert await run.pending() == []


@pytest.mark.parametrize(
    "options",
    [
        {"max_tokens": 0},
        {"max_tokens": True},
        {"max_tokens": "5"},
        {"on_limit": "wait"},
        {"max_duration": 60},
        {"max_duration": timedelta(milliseconds=999)},
    ],
    ids=["none", "bool", "text", "policy", "number", "too-short"],
)
def test_limits_that_cannot_work_are_refused(options: dict[str, Any]) -> None:
    """P6: a limit or policy that cannot be meant is refused where the agent is made, by its name."""
    with pytest.raises(DefinitionError, match=r"agent 'desk': (max_tokens|max_duration|on_limit) must be"):
        Agent("desk", **options)
