"""Scenario rows I: a run counts its turns once, whatever happens between them."""

from __future__ import annotations

import asyncio

import pytest
from temporalio.client import WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError

from handfast import Agent, tool
from handfast.errors import DecisionInvalidError, GrantRefusedError, RunEndedError, RunFailedError
from handfast.testing import Gate, Reply, call, text
from support.labs import Effects, MakeLab

DONE = Reply(text("done"))


def desk(effects: Effects, **options: object) -> Agent:
    """An agent with one gated tool."""

    @tool(approval=True)
    async def wipe(target: str) -> str:
        """Delete a target."""
        effects.append(target)
        return "wiped"

    return Agent("desk", model="m", tools=[wipe], **options)  # type: ignore[arg-type]  # each test gives its own


def wiping(target: str) -> Reply:
    """A reply that calls the gated tool."""
    return Reply(call("wipe", {"target": target}))


async def test_a_pause_does_not_reset_the_turns(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """I1: with one turn, a call approved after a restart still runs, and the next model call exceeds the limit."""
    lab = await make_lab([desk(effects, max_turns=1)], script=[wiping("a"), DONE], max_cached_workflows=cache)
    run = await lab.start("desk")
    request = await lab.next_request(run)
    await lab.replace_worker()
    await run.approve(request, decided_by="lead")
    with pytest.raises(RunFailedError, match="used its 1 turns") as failed:
        await run.result()
    assert failed.value.kind == "MaxTurnsExceeded"
    assert effects == ["a"]
    assert len(lab.model.requests) == 1


async def test_deciding_takes_no_turn(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """I2: two pauses in each of two turns, and a restart at each, and three turns are enough for three replies."""
    script = [
        Reply(call("wipe", {"target": "a"}), call("wipe", {"target": "b"})),
        Reply(call("wipe", {"target": "c"}), call("wipe", {"target": "d"})),
        DONE,
    ]
    lab = await make_lab([desk(effects, max_turns=3)], script=script, max_cached_workflows=cache)
    run = await lab.start("desk")
    for turn in (1, 2):
        for request in await lab.open_requests(run, 2):
            await lab.replace_worker()
            assert (await run.status()).turn == turn
            await run.approve(request, decided_by="lead")
    result = await run.result()
    assert (result.output, result.turns) == ("done", 3)
    assert effects == ["a", "b", "c", "d"]


async def test_the_callers_limit_holds_over_a_pause(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """I3: started with two turns where the agent has a hundred, a run has two, also after a pause and a restart."""
    script = [wiping("a"), wiping("b"), DONE]
    lab = await make_lab([desk(effects)], script=script, max_cached_workflows=cache)
    run = await lab.start("desk", max_turns=2)
    for count in (1, 2):
        request = await lab.next_request(run)
        assert request.turn == count
        await lab.replace_worker()
        await run.approve(request, decided_by="lead")
        if count == 1:
            await lab.model.wait_for_request(2)
    with pytest.raises(RunFailedError, match="used its 2 turns"):
        await run.result()
    assert len(lab.model.requests) == 2


async def test_a_running_run_gets_more_turns(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """I4: raised while the first of one turn waits for a person, the limit lets the run go on to its answer."""
    lab = await make_lab([desk(effects, max_turns=1)], script=[wiping("a"), DONE], max_cached_workflows=cache)
    run = await lab.start("desk")
    request = await lab.next_request(run)
    raised = await run.raise_limits(turns=2, by="lead")
    assert (raised.frame, raised.max_turns, raised.max_tokens, raised.request) == ("0", 3, None, None)
    await run.approve(request, decided_by="lead")
    assert (await run.result()).turns == 2
    with pytest.raises(RunEndedError):
        await run.raise_limits(turns=1)


async def test_the_limit_is_raised_during_the_first_model_call(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """I4: raised before the agent's own limit is known, turns are added to it."""
    script = [Gate("first", wiping("a")), DONE]
    lab = await make_lab([desk(effects, max_turns=1)], script=script, max_cached_workflows=cache)
    run = await lab.start("desk")
    await lab.model.wait_for_request(1)
    assert (await run.raise_limits(turns=1)).max_turns is None
    lab.model.open("first")
    await run.approve(await lab.next_request(run), decided_by="lead")
    assert (await run.result()).turns == 2


async def test_a_raise_that_comes_with_the_start_counts(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """I4: raised before the run's first task, the limit is not refused as that of a run that does nothing."""
    lab = await make_lab([desk(effects, max_turns=1)], script=[wiping("a"), DONE], max_cached_workflows=cache)
    await lab.stop_worker()
    run = await lab.start("desk")
    raising = asyncio.create_task(run.raise_limits(turns=1))
    await lab.start_worker()
    assert (await raising).frame == "0"
    await run.approve(await lab.next_request(run), decided_by="lead")
    assert (await run.result()).turns == 2


async def test_an_exhausted_run_gets_more_turns(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """I4: raised while it asks for a budget, the limit closes that request as granted, and nothing is repeated."""
    agent = desk(effects, max_turns=1, on_limit="ask")
    lab = await make_lab([agent], script=[wiping("a"), DONE], max_cached_workflows=cache)
    run = await lab.start("desk")
    await run.approve(await lab.next_request(run), decided_by="lead")
    async for request in run.requests():
        if request.kind == "budget":
            break
    with pytest.raises(GrantRefusedError, match="no limit of tokens"):
        await run.raise_limits(tokens=5)
    raised = await run.raise_limits(turns=1, by="lead")
    assert (raised.max_turns, raised.request) == (2, request.id)
    assert (await run.result()).output == "done"
    assert effects == ["a"]


@pytest.mark.parametrize(
    ("argument", "refusal", "says"),
    [
        pytest.param({}, DecisionInvalidError, "how many turns, tokens or seconds", id="nothing"),
        pytest.param({"turns": 0}, DecisionInvalidError, "turns", id="none"),
        pytest.param({"turns": "5"}, DecisionInvalidError, "turns", id="a-text"),
        pytest.param({"turns": 10**9}, DecisionInvalidError, "turns", id="too-many"),
        pytest.param({"turns": 1, "frame": "7"}, DecisionInvalidError, "no loop '7'", id="an-unknown-loop"),
        pytest.param({"tokens": 5}, GrantRefusedError, "no limit of tokens", id="a-limit-that-is-not-there"),
        pytest.param(7, DecisionInvalidError, "RaiseLimits", id="a-number"),
    ],
)
async def test_a_bad_raise_is_refused_and_changes_nothing(
    make_lab: MakeLab, effects: Effects, argument: object, refusal: type[Exception], says: str
) -> None:
    """I4: an update that cannot be meant is answered with a typed refusal; the run and its limit stay as they are."""
    lab = await make_lab([desk(effects, max_turns=1)], script=[wiping("a")])
    run = await lab.start("desk")
    request = await lab.next_request(run)
    with pytest.raises(WorkflowUpdateFailedError) as failed:
        await lab.client.get_workflow_handle(run.id).execute_update("raise_limits", argument)
    cause = failed.value.cause
    assert isinstance(cause, ApplicationError)
    assert cause.type == refusal.__name__
    assert says in cause.message
    await run.approve(request, decided_by="lead")
    with pytest.raises(RunFailedError, match="used its 1 turns"):
        await run.result()
