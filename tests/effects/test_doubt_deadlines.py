"""Scenario row P4: a call in doubt is asked about until its deadline, and silence never runs it again."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Literal

import pytest
from temporalio.client import Client

from handfast import Agent, Ask, Ran, tool
from handfast.errors import DefinitionError, NotAnApproverError, RunFailedError
from handfast.payloads.events import RequestExpired, RequestOpened, ToolFailed
from handfast.testing import Reply, call
from handfast.workflows.loop.verdicts import OUTCOME_UNKNOWN
from support.desk import DONE, outputs
from support.labs import Effects, MakeLab

PAY = Reply(call("pay", {"order": "7"}, "c1"))
HOUR = timedelta(hours=1)


def till(effects: Effects, on_unknown: Ask, *, gated: bool = False) -> Agent:
    """An agent whose one tool begins, and never ends."""

    @tool(approval=gated, on_unknown=on_unknown, timeout=timedelta(seconds=0.3))
    async def pay(order: str) -> str:
        """Pay an order."""
        effects.append(f"pay {order}")
        await asyncio.Event().wait()
        return "paid"

    return Agent("till", tools=[pay])


@pytest.mark.parametrize("on_deadline", ["give_up", "fail"])
async def test_a_doubt_that_nobody_resolves_has_a_default(
    make_lab: MakeLab,
    effects: Effects,
    skipping_client: Client,
    cache: int,
    on_deadline: Literal["give_up", "fail"],
) -> None:
    """P4: past its deadline an in-doubt request is given up, or fails the run, as the tool says; the call is not run
    again."""
    ask = Ask(deadline=HOUR, on_deadline=on_deadline)
    lab = await make_lab([till(effects, ask)], script=[PAY, DONE], client=skipping_client, max_cached_workflows=cache)
    run = await lab.start("till")
    if on_deadline == "give_up":
        assert (await run.result()).output == "done"
        assert outputs(lab) == [("c1", OUTCOME_UNKNOWN)]
    else:
        with pytest.raises(RunFailedError, match="nobody decided on pay before its deadline") as failed:
            await run.result()
        assert failed.value.kind == "DeadlineExpired"
    events = [event async for event in run.events()]
    [opened] = [event.request for event in events if isinstance(event, RequestOpened)]
    assert (opened.kind, opened.on_deadline) == ("in_doubt", on_deadline)
    assert opened.deadline is not None
    assert opened.deadline - opened.requested_at == HOUR
    [expired] = [event for event in events if isinstance(event, RequestExpired)]
    assert (expired.request, expired.on_deadline) == (opened.id, on_deadline)
    closing = [event for event in events if isinstance(event, ToolFailed) and event.output == OUTCOME_UNKNOWN]
    assert len(closing) == (on_deadline == "give_up")
    assert effects == ["pay 7"]


async def test_who_answers_a_doubt_may_be_named(make_lab: MakeLab, effects: Effects) -> None:
    """P4: with approvers in its `Ask`, a call in doubt is resolved by one of them, whoever could let it run."""
    lab = await make_lab([till(effects, Ask(HOUR, approvers=["bank"]), gated=True)], script=[PAY, DONE])
    run = await lab.start("till")
    await run.approve(await lab.next_request(run), decided_by="lead")
    async with asyncio.timeout(30):
        doubt = await anext(each async for each in run.requests() if each.kind == "in_doubt")
    assert (doubt.approvers, doubt.on_deadline) == (["bank"], "give_up")
    with pytest.raises(NotAnApproverError):
        await run.decide(doubt, Ran(), decided_by="lead")
    await run.decide(doubt, Ran(output="paid, says the bank"), decided_by="bank")
    assert (await run.result()).output == "done"
    assert outputs(lab) == [("c1", "paid, says the bank")]
    assert effects == ["pay 7"]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"deadline": timedelta(0)}, "deadline must be positive"),
        ({"deadline": 5}, "deadline must be a timedelta"),
        ({"on_deadline": "run_again"}, "on_deadline must be one of 'give_up', 'fail'"),
        ({"approvers": "lead"}, "approvers must be a list"),
    ],
)
def test_an_ask_that_cannot_work_is_refused(options: dict[str, object], problem: str) -> None:
    """Whoever defines a tool reads at once what is wrong with it."""
    with pytest.raises(DefinitionError, match=problem):
        Ask(**options)  # type: ignore[arg-type] # that is the point
