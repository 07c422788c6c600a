"""Scenario row P8: who may decide, how many it takes, and who may not. Names are claimed, not verified."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from handfast import Agent, Approval, GiveUp, HandfastPlugin, Ran, Request, Run, RunAgain, tool
from handfast.errors import (
    AlreadyVotedError,
    DecisionInvalidError,
    DefinitionError,
    GroupsUnknownError,
    NotAnApproverError,
    RefusalError,
    RequesterExcludedError,
    VerdictNotAllowedError,
)
from handfast.testing import Lab, Reply, call, text
from support.desk import outputs
from support.evidence import failed_tasks, logged
from support.labs import Effects, MakeLab
from support.lists import eventually
from support.waits import until_fired

DONE = Reply(text("done"))
PAY = Reply(call("pay", {"amount": 250}, "c1"))
GROUPS: Mapping[str, list[str]] = {"finance": ["Ann", "bob"], "legal": ["lea"]}


def payer(effects: Effects, approval: Approval) -> Agent:
    """An agent whose one tool is gated by *approval*."""

    @tool(approval=approval)
    async def pay(amount: int) -> str:
        """Pay an amount."""
        effects.append(f"paid {amount}")
        return "paid"

    return Agent("desk", model="m", tools=[pay])


async def asked(
    make_lab: MakeLab, effects: Effects, approval: Approval, requested_by: str | None = "rita", **options: Any
) -> tuple[Lab, Run, Request]:
    """A run that waits for one approval."""
    lab = await make_lab([payer(effects, approval)], script=[PAY, DONE], **options)
    run = await lab.start("desk", requested_by=requested_by)
    return lab, run, await lab.next_request(run)


@pytest.mark.parametrize("verdict", ["approve", "reject", "answer"])
async def test_only_a_named_approver_may_decide(make_lab: MakeLab, effects: Effects, verdict: str) -> None:
    """P8: any decision by somebody else is refused with the rule that refused it, and the request stays open."""
    lab, run, request = await asked(make_lab, effects, Approval(approvers=["ann", "user:Bob"]))
    assert request.approvers == ["ann", "user:Bob"]

    async def decide(name: str) -> object:
        if verdict == "approve":
            return await run.approve(request, decided_by=name)
        if verdict == "reject":
            return await run.reject(request, decided_by=name, reason="no")
        return await run.answer(request, "paid by hand", decided_by=name)

    with pytest.raises(
        NotAnApproverError, match=r"mallory may not decide .* its approvers are ann, user:Bob"
    ) as refused:
        await decide("mallory")
    assert (refused.value.facts["rule"], refused.value.facts["approvers"]) == ("approvers", ["ann", "user:Bob"])
    assert [each.id for each in await run.pending()] == [request.id]
    await decide(" BOB")
    assert (await run.result()).output == "done"
    assert effects == (["paid 250"] if verdict == "approve" else [])
    assert await failed_tasks(lab, run) == 0


async def test_a_group_is_looked_up_when_the_decision_comes_in(make_lab: MakeLab, effects: Effects) -> None:
    """P8: membership counts at the moment of the decision: who joined after the request opened may decide it."""
    members = ["bob"]

    async def groups_of(name: str) -> list[str]:
        return ["finance"] if name in members else []

    _, run, request = await asked(make_lab, effects, Approval(approvers=["group:finance"]), groups=groups_of)
    with pytest.raises(NotAnApproverError, match="ann may not decide"):
        await run.approve(request, decided_by="ann")
    members.append("ann")
    await run.approve(request, decided_by="ann")
    await run.result()
    assert effects == ["paid 250"]


async def test_members_of_a_group_given_as_a_mapping(make_lab: MakeLab, effects: Effects) -> None:
    """P8: with groups as a mapping a member decides, also beside people who are named themselves."""
    _, run, request = await asked(
        make_lab, effects, Approval(approvers=["carl", "group:finance"], quorum=2), groups=GROUPS
    )
    await run.approve(request, decided_by="carl")
    with pytest.raises(NotAnApproverError):
        await run.approve(request, decided_by="lea")
    receipt = await run.approve(request, decided_by="ann")
    assert (receipt.votes, receipt.needed, receipt.open) == (2, 2, None)
    await run.result()
    assert effects == ["paid 250"]


def raising(_name: str) -> list[str]:
    """A lookup with a bug."""
    raise KeyError("directory")


def answering_a_number(_name: str) -> Any:
    """A lookup that returns no list."""
    return 7


@pytest.mark.parametrize(
    ("groups", "problem"),
    [
        pytest.param(raising, "raised KeyError", id="raises"),
        pytest.param(answering_a_number, "answered int", id="answers-a-number"),
    ],
)
async def test_a_failing_lookup_refuses_the_decision(
    make_lab: MakeLab, effects: Effects, groups: Any, problem: str
) -> None:
    """P8: where a group cannot be looked up nobody decides by it, and a person who is named still may."""
    _, run, request = await asked(make_lab, effects, Approval(approvers=["carl", "group:finance"]), groups=groups)
    with pytest.raises(GroupsUnknownError, match=problem):
        await run.approve(request, decided_by="ann")
    assert effects == []
    await run.approve(request, decided_by="carl")
    await run.result()
    assert effects == ["paid 250"]


async def test_somebody_without_the_right_keeps_nobody_waiting(make_lab: MakeLab, effects: Effects) -> None:
    """P8: while the groups of one person are looked up, another one decides."""
    looking, go_on = asyncio.Event(), asyncio.Event()

    async def groups_of(name: str) -> list[str]:
        looking.set()
        await go_on.wait()
        return []

    _, run, request = await asked(make_lab, effects, Approval(approvers=["carl", "group:finance"]), groups=groups_of)
    trying = asyncio.create_task(run.approve(request, decided_by="mallory"))
    await asyncio.wait_for(looking.wait(), 20)
    await run.approve(request, decided_by="carl")
    go_on.set()
    with pytest.raises(RefusalError):
        await trying
    await run.result()
    assert effects == ["paid 250"]


async def in_doubt(run: Run) -> Request:
    """The request of a call whose outcome is unknown."""
    async with asyncio.timeout(30):
        return await anext(each async for each in run.requests() if each.kind == "in_doubt")


def stalling(effects: Effects, approval: Approval) -> Agent:
    """An agent with a gated tool that does not end the first time."""

    @tool(approval=approval, timeout=timedelta(milliseconds=300))
    async def pay(amount: int) -> str:
        """Pay an amount."""
        effects.append(f"paid {amount}")
        if len(effects) == 1:
            await asyncio.Event().wait()
        return "paid"

    return Agent("desk", model="m", tools=[pay])


async def test_a_call_in_doubt_is_decided_by_its_approvers(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """P8: to run a call in doubt again, or to say what became of it, takes one of those who could let it run, named or
    by group, and never who asked for it."""
    approval = Approval(approvers=["bob", "carl", "group:finance"], quorum=2, exclude_requester=True)
    lab = await make_lab([stalling(effects, approval)], script=[PAY, DONE], groups=GROUPS, max_cached_workflows=cache)
    run = await lab.start("desk", requested_by="bob")
    request = await lab.next_request(run)
    await run.approve(request, decided_by="carl")
    await run.approve(request, decided_by="ann")
    doubt = await in_doubt(run)
    assert (doubt.approvers, doubt.exclude_requester, doubt.quorum) == (request.approvers, True, None)
    for verdict in (RunAgain(), Ran(output="paid, I say"), GiveUp()):
        with pytest.raises(NotAnApproverError, match="lea may not decide"):
            await run.decide(doubt, verdict, decided_by="lea")
        with pytest.raises(RequesterExcludedError):
            await run.decide(doubt, verdict, decided_by="bob")
    assert effects == ["paid 250"]
    await run.decide(doubt, RunAgain(), decided_by="ann")
    assert (await run.result()).output == "done"
    assert effects == ["paid 250", "paid 250"]
    assert await failed_tasks(lab, run) == 0


async def test_a_call_in_doubt_of_nobody_known_can_be_given_up(make_lab: MakeLab, effects: Effects) -> None:
    """P8: where it is not known whose call it is, nobody may run it again, and anybody may leave it as it is."""
    approval = Approval(exclude_requester=True, deadline=timedelta(milliseconds=300), on_deadline="approve")
    lab = await make_lab([stalling(effects, approval)], script=[PAY, DONE])
    run = await lab.start("desk")
    doubt = await in_doubt(run)
    with pytest.raises(RequesterExcludedError, match="It takes give_up alone"):
        await run.decide(doubt, RunAgain(), decided_by="ann")
    await run.decide(doubt, GiveUp(), decided_by="ann")
    assert (await run.result()).output == "done"
    assert effects == ["paid 250"]


@pytest.mark.parametrize("member", [True, False], ids=["member", "stranger"])
async def test_a_groups_rejection_beats_a_default_of_approve(
    make_lab: MakeLab, effects: Effects, member: bool, cache: int
) -> None:
    """P8: a rejection that came before the deadline counts, also when the deadline passes while it is looked up
    whether it may; one that may not changes nothing about the default."""
    looking, go_on = asyncio.Event(), asyncio.Event()

    async def groups_of(name: str) -> list[str]:
        looking.set()
        await go_on.wait()
        return ["finance"] if member else []

    approval = Approval(approvers=["group:finance"], deadline=timedelta(seconds=1), on_deadline="approve")
    lab, run, request = await asked(make_lab, effects, approval, groups=groups_of, max_cached_workflows=cache)
    trying = asyncio.create_task(run.reject(request, decided_by="ann", reason="just not"))
    await asyncio.wait_for(looking.wait(), 20)
    await until_fired(lab, run)
    go_on.set()
    if member:
        await trying
    else:
        with pytest.raises(NotAnApproverError):
            await trying
    await run.result()
    assert outputs(lab) == [("c1", "just not" if member else "paid")]
    assert effects == ([] if member else ["paid 250"])
    assert await failed_tasks(lab, run) == 0


async def test_votes_are_counted_once_per_person(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """P8: two approvals by one person are one vote; the second person's releases the call, once."""
    lab, run, request = await asked(
        make_lab, effects, Approval(approvers=["ann", "bob", "carl"], quorum=2), max_cached_workflows=cache
    )
    first = await run.approve(request, decided_by="ann", decision_id="a1")
    assert (first.state, first.open, first.votes, first.needed) == ("recorded", True, 1, 2)
    again = await run.approve(request, decided_by="ann", decision_id="a1")
    assert (again.votes, again.open) == (1, True)
    with pytest.raises(AlreadyVotedError, match=r"Ann has already voted to approve .* \(quorum\)"):
        await run.approve(request, decided_by="Ann")
    [waiting] = await run.pending()
    assert [(vote.by, vote.verdict) for vote in waiting.votes or []] == [("ann", "approve")]
    with pytest.raises(VerdictNotAllowedError):
        await run.answer(request, "done by hand", decided_by="bob")
    assert effects == []
    await lab.replace_worker()
    second = await run.approve(request, decided_by="bob")
    assert (second.open, second.votes, second.needed) == (None, 2, 2)
    await run.result()
    assert effects == ["paid 250"]
    assert [step.by for step in await logged(lab, run, "voted", 1)] == ["ann"]


async def test_a_request_with_votes_opens_once(make_lab: MakeLab, effects: Effects) -> None:
    """P8: who follows the run's requests is shown a request once, however many vote on it."""
    _, run, request = await asked(make_lab, effects, Approval(quorum=3))
    for name in ("ann", "bob", "carl"):
        await run.approve(request, decided_by=name)
    await run.result()
    assert [each.id async for each in run.requests()] == []
    assert effects == ["paid 250"]


@pytest.mark.parametrize("veto", [True, False])
async def test_a_veto_rejects_where_the_policy_says_so(make_lab: MakeLab, effects: Effects, veto: bool) -> None:
    """P8: with `veto` one rejection closes the request; without, rejections need the quorum like approvals."""
    _, run, request = await asked(make_lab, effects, Approval(quorum=2, veto=veto))
    await run.approve(request, decided_by="ann")
    receipt = await run.reject(request, decided_by="bob", reason="not yet")
    assert receipt.open is (None if veto else True)
    if not veto:
        with pytest.raises(AlreadyVotedError, match="bob has already voted to reject"):
            await run.approve(request, decided_by="bob")
        taken_back = await run.reject(request, decided_by="ann", reason="not at all")
        assert (taken_back.votes, taken_back.needed, taken_back.open) == (2, 2, None)
    assert (await run.result()).output == "done"
    assert effects == []


async def test_the_requester_may_not_decide(make_lab: MakeLab, effects: Effects) -> None:
    """P8: with `exclude_requester` whoever asked for the run is refused, in whatever spelling, and others are not."""
    lab, run, request = await asked(make_lab, effects, Approval(exclude_requester=True))
    for name in ("rita", "Rita ", "user:rita"):
        with pytest.raises(RequesterExcludedError, match="exclude_requester") as refused:
            await run.approve(request, decided_by=name)
        assert refused.value.facts["rule"] == "exclude_requester"
    await lab.client.get_workflow_handle(run.id).signal("approve", request.id)
    [step] = await logged(lab, run, "refused", 1)
    assert step.why is not None
    assert "NotAnApproverError" in step.why
    await run.approve(request, decided_by="lead")
    await run.result()
    assert effects == ["paid 250"]


async def test_without_a_known_requester_nobody_approves(make_lab: MakeLab, effects: Effects) -> None:
    """P8: where it is not known who asked, an approval that excludes that person is refused, a rejection is not."""
    _, run, request = await asked(make_lab, effects, Approval(exclude_requester=True), requested_by=None)
    with pytest.raises(RequesterExcludedError, match="it is not known who asked for this run"):
        await run.approve(request, decided_by="lead")
    await run.reject(request, decided_by="lead", reason="no")
    assert (await run.result()).output == "done"
    assert effects == []


async def test_a_decision_that_names_nobody_is_refused(make_lab: MakeLab, effects: Effects) -> None:
    """P8: a signal without a name counts nowhere where approvers are named or counted; the run stays healthy."""
    lab, run, request = await asked(make_lab, effects, Approval(quorum=2))
    handle = lab.client.get_workflow_handle(run.id)
    await handle.signal("approve", request.id)
    await handle.signal("reject", {"id": request.id, "decided_by": "  "})
    refused = await logged(lab, run, "refused", 2)
    assert all(step.why and "say who with decided_by" in step.why for step in refused)
    with pytest.raises(DecisionInvalidError):
        await run.approve(request, decided_by="x" * 257)
    assert effects == []
    await run.reject(request, decided_by="ann")
    await run.result()


async def test_the_inbox_of_a_group(make_lab: MakeLab, effects: Effects) -> None:
    """P8: what waits for a group, or for a person by name, is listed across runs without a worker."""
    approval = Approval(approvers=["carl", "group:finance"], reason="above 100")
    lab, run, request = await asked(make_lab, effects, approval, groups=GROUPS)
    await lab.stop_worker()

    async def listed(approver: str) -> bool:
        return run.id in [each.run for each in await lab.hf.requests(approver=approver)]

    assert await eventually(lambda: listed("group:finance"))
    assert await listed("Carl")
    assert not await listed("group:legal")
    assert not await listed("ann")
    await lab.start_worker()
    await run.approve(request, decided_by="ann")
    await run.result()
    described = await lab.client.get_workflow_handle(run.id).describe()
    shown = {pair.key.name for pair in described.typed_search_attributes}
    assert "HandfastApprovers" not in shown


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"quorum": 0}, "quorum must be"),
        ({"quorum": True}, "quorum must be"),
        ({"quorum": 3, "approvers": ["ann", "bob"]}, "only 2 people may approve"),
        ({"approvers": "ann"}, "must be a list of names"),
        ({"approvers": ["ann", ""]}, "no name"),
        ({"approvers": ["group:"]}, "no name"),
        ({"approvers": ["user: "]}, "no name"),
        ({"approvers": [7]}, "no name"),
        ({"approvers": ["ann", "Ann "]}, "twice"),
        ({"approvers": ["a\nb"]}, "printable"),
        ({"approvers": [f"p{n}" for n in range(21)]}, "20 at most"),
        ({"exclude_requester": 1}, "exclude_requester must be True or False"),
        ({"veto": None}, "veto must be True or False"),
        ({"on_edit": "always"}, "on_edit must be one of 'ask_again', 'accept', None"),
        ({"on_edit": "accept", "quorum": 2}, "votes on different arguments"),
    ],
)
def test_a_policy_that_cannot_work_is_refused_where_it_is_written(options: dict[str, Any], problem: str) -> None:
    """P8: quorum, approvers and the other options are checked when the `Approval` is made."""
    with pytest.raises(DefinitionError, match=problem):
        Approval(**options)


def no_argument() -> list[str]:
    """A lookup that cannot be told who decides."""
    return ["finance"]


@pytest.mark.parametrize(
    ("groups", "problem"),
    [
        (None, r"agent 'desk', tool 'pay': its approvers name group:finance"),
        ({"legal": ["lea"]}, "its approvers name group:finance"),
        ({"finance": "ann"}, r"groups\['finance'\] must be a list of strings, not a str; write \['ann'\]"),
        ({"finance": [7]}, r"groups\['finance'\]\[0\] must be a string, not 7"),
        (["finance"], "groups must be a mapping of lists, such as .* or a function, not a list"),
        (no_argument, "must take exactly one positional argument"),
    ],
)
def test_groups_that_nobody_can_look_up_are_refused(groups: Any, problem: str) -> None:
    """P8: a group that an `Approval` names must be known to the plugin, or to its function."""
    with pytest.raises(DefinitionError, match=problem):
        HandfastPlugin([payer([], Approval(approvers=["group:finance"]))], groups=groups)
    HandfastPlugin([payer([], Approval(approvers=["group:finance"]))], groups=lambda name: [])


async def test_the_model_reads_the_last_rejection(make_lab: MakeLab, effects: Effects) -> None:
    """P8: where rejections are counted, the model reads the reason of the one that closed the request."""
    lab, run, request = await asked(make_lab, effects, Approval(quorum=2, veto=False))
    await run.reject(request, decided_by="ann", reason="first")
    await run.reject(request, decided_by="bob", reason="second")
    await run.result()
    assert outputs(lab) == [("c1", "second")]


async def test_a_flood_of_decisions_by_strangers_is_taken_in_turn(make_lab: MakeLab, effects: Effects) -> None:
    """P8: hundreds of decisions that wait for a lookup at once neither stop the run nor lose the one that counts."""
    lab, run, request = await asked(make_lab, effects, Approval(approvers=["group:finance"]), groups=GROUPS)
    handle = lab.client.get_workflow_handle(run.id)
    await lab.stop_worker()
    for number in range(120):
        await handle.signal("approve", {"id": request.id, "decided_by": f"stranger {number}"})
    await handle.signal("approve", {"id": request.id, "decided_by": "ann"})
    await lab.start_worker()
    assert (await run.result()).output == "done"
    assert effects == ["paid 250"]
    assert await failed_tasks(lab, run) == 0
