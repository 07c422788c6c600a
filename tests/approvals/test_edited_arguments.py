"""Scenario row P1: approvals with other arguments, run as they are or asked about again."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from handfast import Agent, Approval, Escalation, GiveUp, RunContext, ToolContext, tool
from handfast.errors import (
    AlreadyVotedError,
    EditRefusedError,
    NotAnApproverError,
    RequestClosedError,
    RequesterExcludedError,
)
from handfast.testing import Lab, Reply, call, text
from support.desk import outputs
from support.evidence import failed_tasks, logged
from support.labs import Effects, MakeLab

DONE = Reply(text("done"))
TWO = Approval(approvers=["ann", "bob", "carl"], quorum=2, exclude_requester=True)


def payer(effects: Effects, approval: Any) -> Agent:
    """An agent whose one tool is gated by *approval*."""

    @tool(approval=approval)
    async def pay(amount: int) -> str:
        """Pay an amount."""
        effects.append(f"paid {amount}")
        return "paid"

    return Agent("desk", model="m", tools=[pay])


async def lab_of(make_lab: MakeLab, effects: Effects, approval: Any, **options: Any) -> Lab:
    """A lab in which the model pays 250."""
    script = [Reply(call("pay", {"amount": 250}, "c1")), DONE]
    return await make_lab([payer(effects, approval)], script=script, **options)


async def test_an_edit_that_is_accepted_runs_at_once(make_lab: MakeLab, effects: Effects) -> None:
    """P1: with one approver the edited arguments run, exactly those, and the model is told what ran."""
    lab = await lab_of(make_lab, effects, Approval(approvers=["ann"]))
    run = await lab.start("desk")
    request = await lab.next_request(run)
    with pytest.raises(EditRefusedError, match="amount: Input should be a valid integer"):
        await run.approve(request, decided_by="ann", arguments={"amount": "much"})
    assert [each.id for each in await run.pending()] == [request.id]
    receipt = await run.approve(request, decided_by="ann", arguments={"amount": 200})
    assert (receipt.open, receipt.asked_again) == (None, None)
    await run.result()
    assert effects == ["paid 200"]
    [(_, output)] = outputs(lab)
    assert output == 'A person changed the arguments before this ran; they were {"amount": 200}.\n\npaid'


@pytest.mark.parametrize(
    "approval", [pytest.param(True, id="accept"), pytest.param(Approval(on_edit="ask_again"), id="ask-again")]
)
async def test_an_edited_call_runs_under_the_key_of_what_runs(
    make_lab: MakeLab, effects: Effects, approval: Any
) -> None:
    """P1: where the tool makes its key of the arguments, it is made of the edited ones: under the old one a service
    would take a later call with the first arguments for a repetition. Where it makes none, the edit is refused."""

    def key(_context: RunContext, arguments: Any) -> str:
        if arguments.order == 0:
            raise LookupError("no such order")
        return f"refund-{arguments.order}"

    @tool(approval=approval, idempotency_key=key)
    async def refund(ctx: ToolContext, order: int) -> str:
        """Refund an order."""
        effects.append(f"{order} under {ctx.idempotency_key}")
        return "refunded"

    script = [Reply(call("refund", {"order": 7}, "c1")), DONE]
    lab = await make_lab([Agent("desk", model="m", tools=[refund])], script=script)
    run = await lab.start("desk")
    request = await lab.next_request(run)
    with pytest.raises(EditRefusedError, match="the idempotency key raised LookupError on these arguments"):
        await run.approve(request, decided_by="ann", arguments={"order": 0})
    edit = await run.approve(request, decided_by="ann", arguments={"order": 9})
    if edit.asked_again is not None:
        await run.approve(edit.asked_again, decided_by="bob")
    await run.result()
    assert effects == ["9 under refund-9"]


async def test_an_edit_asks_again_where_several_decide(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """P1: an edit voids the votes before it and opens a new request; its editor counts as one who asks."""
    lab = await lab_of(make_lab, effects, TWO, max_cached_workflows=cache)
    run = await lab.start("desk", requested_by="rita")
    first = await lab.next_request(run)
    await run.approve(first, decided_by="ann")
    edit = await run.approve(first, decided_by="bob", arguments={"amount": 200})
    assert edit.open
    [second] = await run.pending()
    assert second.id == edit.asked_again
    assert second.id != first.id
    assert second.digest != first.digest
    assert (second.arguments, second.votes, second.editors) == ({"amount": 200}, None, ["bob"])
    assert (second.quorum, second.approvers, second.exclude_requester) == (2, ["ann", "bob", "carl"], True)
    with pytest.raises(RequestClosedError, match=f"{first.id} was edited by bob, and is asked about again"):
        await run.approve(first, decided_by="carl")
    with pytest.raises(RequesterExcludedError, match="bob asked for this call or changed its arguments"):
        await run.approve(second, decided_by="bob")
    await lab.replace_worker()
    await run.approve(second, decided_by="ann")
    with pytest.raises(AlreadyVotedError):
        await run.approve(second, decided_by="ann")
    assert effects == []
    await run.approve(second, decided_by="carl")
    await run.result()
    assert effects == ["paid 200"]
    [(_, output)] = outputs(lab)
    assert output.startswith('A person changed the arguments before this ran; they were {"amount": 200}.')
    [edited] = await logged(lab, run, "edited", 1)
    assert (edited.request, edited.by) == (first.id, "bob")
    assert await failed_tasks(lab, run) == 0


async def test_a_rejected_edit_did_not_run(make_lab: MakeLab, effects: Effects) -> None:
    """P1: when the edited arguments are rejected the model reads the rejection, and not that something ran."""
    lab = await lab_of(make_lab, effects, Approval(on_edit="ask_again"))
    run = await lab.start("desk")
    request = await lab.next_request(run)
    edit = await run.approve(request, decided_by="ann", arguments={"amount": 200})
    assert edit.asked_again is not None
    await run.reject(edit.asked_again, decided_by="bob", reason="not even that")
    await run.result()
    assert outputs(lab) == [("c1", "not even that")]
    assert effects == []


async def test_the_rule_runs_again_on_the_new_arguments(make_lab: MakeLab, effects: Effects) -> None:
    """P1: who is asked about the edited arguments is what the rule says of them; fewer votes are never needed by an
    edit that the rule would let pass."""
    asked: list[int] = []

    def rule(_context: RunContext, arguments: Any) -> Approval | None:
        asked.append(arguments.amount)
        if arguments.amount < 100:
            return None
        if arguments.amount < 1000:
            return Approval(approvers=["ann", "bob"], reason="above 100")
        return Approval(approvers=["boss"], reason="above 1000")

    lab = await lab_of(make_lab, effects, rule)
    run = await lab.start("desk")
    request = await lab.next_request(run)
    more = await run.approve(request, decided_by="ann", arguments={"amount": 5000})
    [bigger] = await run.pending()
    assert (bigger.id, bigger.approvers, bigger.reason) == (more.asked_again, ["boss"], "above 1000")
    with pytest.raises(NotAnApproverError):
        await run.approve(bigger, decided_by="ann")
    await run.approve(bigger, decided_by="boss")
    await run.result()
    assert effects == ["paid 5000"]
    assert asked == [250, 5000]


async def test_a_call_in_doubt_goes_to_whom_the_rule_named_for_what_ran(make_lab: MakeLab, effects: Effects) -> None:
    """P1: where an edited call is in doubt, those are asked, now and later, whom the rule named for the edited
    arguments."""
    later = [Escalation(after=timedelta(hours=1), approvers=["junior"])]

    def rule(_context: RunContext, arguments: Any) -> Approval:
        if arguments.amount < 1000:
            return Approval(approvers=["ann"], escalate=later, on_edit="ask_again")
        return Approval(approvers=["boss"], remind=[timedelta(hours=2)])

    @tool(approval=rule, timeout=timedelta(seconds=0.3))
    async def pay(amount: int) -> str:
        """Pay an amount."""
        effects.append(f"paid {amount}")
        await asyncio.Event().wait()
        return "paid"

    script = [Reply(call("pay", {"amount": 250}, "c1")), DONE]
    lab = await make_lab([Agent("desk", model="m", tools=[pay])], script=script)
    run = await lab.start("desk")
    await run.approve(await lab.next_request(run), decided_by="ann", arguments={"amount": 5000})
    [bigger] = await run.pending()
    await run.approve(bigger, decided_by="boss")
    doubt = await lab.next_request(run)
    assert (doubt.kind, doubt.arguments, doubt.approvers) == ("in_doubt", {"amount": 5000}, ["boss"])
    assert [step.what for step in doubt.schedule or ()] == ["remind"]
    assert doubt.bound.policy_digest == bigger.bound.policy_digest
    await run.decide(doubt, GiveUp(), decided_by="boss")
    await run.result()
    assert effects == ["paid 5000"]


async def test_an_edit_below_the_limit_still_asks_the_others(make_lab: MakeLab, effects: Effects) -> None:
    """P1: where the rule would ask nobody about the new arguments, the old rule holds on."""

    def rule(_context: RunContext, arguments: Any) -> Approval | None:
        return Approval(approvers=["ann", "bob"], reason="above 100") if arguments.amount > 100 else None

    lab = await lab_of(make_lab, effects, rule)
    run = await lab.start("desk")
    request = await lab.next_request(run)
    await run.approve(request, decided_by="ann", arguments={"amount": 50})
    [again] = await run.pending()
    assert (again.approvers, again.reason, again.arguments) == (["ann", "bob"], "above 100", {"amount": 50})
    await run.approve(again, decided_by="bob")
    await run.result()
    assert effects == ["paid 50"]


async def test_an_edit_by_somebody_without_the_right_is_refused(make_lab: MakeLab, effects: Effects) -> None:
    """P1: who may not approve may not edit either, and the request stays open and unedited."""
    lab = await lab_of(make_lab, effects, TWO)
    run = await lab.start("desk", requested_by="rita")
    request = await lab.next_request(run)
    for name, refusal in (("mallory", NotAnApproverError), ("rita", RequesterExcludedError)):
        with pytest.raises(refusal):
            await run.approve(request, decided_by=name, arguments={"amount": 1})
    assert await run.pending() == [request]
    await run.reject(request, decided_by="ann", reason="no")
    await run.result()
    assert effects == []


async def test_two_edits_at_once_leave_one_request(make_lab: MakeLab, effects: Effects) -> None:
    """P1: of two edits of one request one counts, and the other is told so."""
    lab = await lab_of(make_lab, effects, Approval(on_edit="ask_again"))
    run = await lab.start("desk")
    request = await lab.next_request(run)
    edits = (run.approve(request, decided_by=name, arguments={"amount": n}) for n, name in ((1, "ann"), (2, "bob")))
    answers = await asyncio.gather(*edits, return_exceptions=True)
    [counted] = [each for each in answers if not isinstance(each, BaseException)]
    [refused] = [each for each in answers if isinstance(each, BaseException)]
    assert isinstance(refused, RequestClosedError)
    [again] = await run.pending()
    assert again.id == counted.asked_again
    await run.approve(again, decided_by="carl")
    await run.result()
    assert len(effects) == 1


async def test_an_edit_on_which_the_rule_fails_is_refused(make_lab: MakeLab, effects: Effects) -> None:
    """P1: arguments on which the rule raises are refused, as nobody says who may approve them; the request stays."""

    def rule(_context: RunContext, arguments: Any) -> Approval:
        if arguments.amount == 13:
            raise ValueError("unlucky")
        return Approval(approvers=["ann", "bob"], quorum=2)

    lab = await lab_of(make_lab, effects, rule)
    run = await lab.start("desk")
    request = await lab.next_request(run)
    with pytest.raises(EditRefusedError, match="the approval rule raised ValueError on these arguments"):
        await run.approve(request, decided_by="ann", arguments={"amount": 13})
    assert await run.pending() == [request]
    await run.reject(request, decided_by="ann")
    await run.result()
    assert effects == []
