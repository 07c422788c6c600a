"""What follows when a call fails, and when nobody can tell whether it took effect, by the tool's own choice."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Literal

import pytest

from handfast import Agent, OutcomeUnknownError, Ran, Retry, ToolContext, tool
from handfast.errors import RunFailedError
from handfast.testing import Reply, call
from handfast.workflows.loop.verdicts import OUTCOME_UNKNOWN
from support.desk import DONE, outputs
from support.labs import Effects, MakeLab

PAY = Reply(call("pay", {"order": "7"}, "c1"))


def till(effects: Effects, on_unknown: Literal["ask", "tell_model", "fail"] | None, *, gated: bool = False) -> Agent:
    """An agent whose one tool begins, and never ends."""

    @tool(approval=gated, on_unknown=on_unknown, timeout=timedelta(seconds=0.3))
    async def pay(order: str) -> str:
        """Pay an order."""
        effects.append(f"pay {order}")
        await asyncio.Event().wait()
        return "paid"

    return Agent("till", tools=[pay])


@pytest.mark.parametrize("on_unknown", ["tell_model", None], ids=["chosen", "default-without-a-gate"])
async def test_an_unknown_outcome_is_told_to_the_model(
    make_lab: MakeLab, effects: Effects, on_unknown: Literal["tell_model"] | None, cache: int
) -> None:
    """With on_unknown="tell_model" the model reads that the outcome is unknown; nobody is asked, nothing repeated."""
    lab = await make_lab([till(effects, on_unknown)], script=[PAY, DONE], max_cached_workflows=cache)
    run = await lab.start("till")
    assert (await run.result(wait_for_people=False)).output == "done"
    assert outputs(lab) == [("c1", OUTCOME_UNKNOWN)]
    assert effects == ["pay 7"]


async def test_an_unknown_outcome_of_a_gated_call_is_told_to_the_model_if_so_chosen(
    make_lab: MakeLab, effects: Effects
) -> None:
    """The tool's own on_unknown="tell_model" goes before asking, for a call that a person let run."""
    lab = await make_lab([till(effects, "tell_model", gated=True)], script=[PAY, DONE])
    run = await lab.start("till")
    await run.approve(await lab.next_request(run), decided_by="lead")
    assert (await run.result()).output == "done"
    assert outputs(lab) == [("c1", OUTCOME_UNKNOWN)]
    assert effects == ["pay 7"]


async def test_an_unknown_outcome_fails_the_run_if_so_chosen(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """With on_unknown="fail" the run ends as `OutcomeUnknown`, which names the tool; the model is not asked again."""
    lab = await make_lab([till(effects, "fail")], script=[PAY], max_cached_workflows=cache)
    run = await lab.start("till")
    with pytest.raises(RunFailedError, match="pay may or may not have taken effect") as failed:
        await run.result()
    assert failed.value.kind == "OutcomeUnknown"
    assert len(lab.model.requests) == 1
    assert effects == ["pay 7"]


@pytest.mark.parametrize(
    ("on_unknown", "gated"),
    [pytest.param("ask", False, id="chosen"), pytest.param(None, True, id="default-of-a-gated-call")],
)
async def test_an_unknown_outcome_is_asked_of_a_person(
    make_lab: MakeLab, effects: Effects, on_unknown: Literal["ask"] | None, gated: bool, cache: int
) -> None:
    """With on_unknown="ask" a person says what became of the call; the model reads the person's answer."""
    lab = await make_lab([till(effects, on_unknown, gated=gated)], script=[PAY, DONE], max_cached_workflows=cache)
    run = await lab.start("till")
    if gated:
        await run.approve(await lab.next_request(run), decided_by="lead")
    async with asyncio.timeout(30):
        doubt = await anext(each async for each in run.requests() if each.kind == "in_doubt")
    assert (doubt.tool, doubt.verdicts) == ("pay", ["ran", "run_again", "give_up"])
    await run.decide(doubt, Ran(output="paid, says the bank"), decided_by="lead")
    assert (await run.result()).output == "done"
    assert outputs(lab) == [("c1", "paid, says the bank")]
    assert effects == ["pay 7"]


@pytest.mark.parametrize("effect", ["at_most_once", "read_only"])
async def test_an_error_fails_the_run_if_so_chosen(
    make_lab: MakeLab, effects: Effects, effect: Literal["at_most_once", "read_only"]
) -> None:
    """With on_error="fail" an exception ends the run as `ToolFailed`, with its text; the model is not asked again."""

    @tool(on_error="fail", effect=effect)
    async def pay(order: str) -> str:
        """Pay an order."""
        effects.append(f"pay {order}")
        raise ValueError(f"no order {order}")

    lab = await make_lab([Agent("till", tools=[pay])], script=[PAY])
    run = await lab.start("till")
    with pytest.raises(RunFailedError, match="pay: Error: ValueError: no order 7") as failed:
        await run.result()
    assert failed.value.kind == "ToolFailed"
    assert len(lab.model.requests) == 1
    assert effects[0] == "pay 7"


@pytest.mark.parametrize("gated", [False, True], ids=["free", "gated"])
@pytest.mark.parametrize("error", [ConnectionResetError("cut"), TimeoutError(), OutcomeUnknownError("no receipt")])
async def test_what_breaks_inside_a_task_group_is_in_doubt_too(
    make_lab: MakeLab, effects: Effects, error: Exception, *, gated: bool
) -> None:
    """A child of a TaskGroup that sends and then breaks leaves the outcome as open as it would alone (A1)."""

    @tool(approval=gated)
    async def pay(order: str) -> str:
        """Pay an order."""

        async def send() -> None:
            effects.append(f"pay {order}")
            raise error

        async with asyncio.TaskGroup() as group:
            group.create_task(send())
        return "paid"

    lab = await make_lab([Agent("till", tools=[pay])], script=[PAY, DONE])
    run = await lab.start("till")
    if gated:
        await run.approve(await lab.next_request(run), decided_by="lead")
        request = await lab.next_request(run)
        assert request.kind == "in_doubt"
        assert type(error).__name__ in str((request.facts or {})["ended"])
        await run.decide(request, Ran(output="found it"), decided_by="lead")
    assert (await run.result(wait_for_people=False)).output == "done"
    assert outputs(lab) == [("c1", "found it" if gated else OUTCOME_UNKNOWN)]
    assert effects == ["pay 7"]


async def test_a_group_is_told_with_its_members(make_lab: MakeLab) -> None:
    """The model reads what the members of an exception group say, and not only how many there are (A1)."""

    @tool
    async def pay(order: str) -> str:
        """Pay an order."""
        raise ExceptionGroup("two failed", [ValueError(f"no order {order}"), ExceptionGroup("in", [KeyError("x")])])

    lab = await make_lab([Agent("till", tools=[pay])], script=[PAY, DONE])
    await (await lab.start("till")).result()
    told = "two failed (2 sub-exceptions): ValueError: no order 7; ExceptionGroup: in (1 sub-exception): KeyError: 'x'"
    assert outputs(lab) == [("c1", f"Error: ExceptionGroup: {told}")]


@pytest.mark.parametrize("how", ["group", "cause"])
async def test_a_retry_looks_into_groups_and_causes(make_lab: MakeLab, effects: Effects, how: str) -> None:
    """`Retry(on=…)` repeats a call whose exception carries one of its kinds, as a member or as its cause (A1)."""

    @tool(effect="idempotent", retry=Retry(attempts=3, first_pause=timedelta(milliseconds=10), on=(ConnectionError,)))
    async def pay(ctx: ToolContext, order: str) -> str:
        """Pay an order."""
        effects.append(f"pay {order}")
        if ctx.attempt == 3:
            return "paid"
        if how == "cause":
            raise LookupError("no till") from ConnectionError("cut")
        raise ExceptionGroup("out", [ExceptionGroup("in", [ConnectionError("cut")])])

    lab = await make_lab([Agent("till", tools=[pay])], script=[PAY, DONE])
    await (await lab.start("till")).result()
    assert outputs(lab) == [("c1", "paid")]
    assert effects == ["pay 7"] * 3
