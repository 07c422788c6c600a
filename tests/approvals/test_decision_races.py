"""Fault rows XB: decisions that are doubled, late, out of order, or race with each other."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime
from typing import Any

import pytest

from handfast import Agent, Approval, Approve, Decision, OpenRequest, Receipt, Reject, Run, tool
from handfast.errors import (
    AlreadyVotedError,
    DecisionConflictError,
    HandfastError,
    RequestClosedError,
    RunEndedError,
    UnknownRequestError,
)
from handfast.payloads.requests import Request
from handfast.testing import Gate, Lab, Reply, call, text
from handfast.workflows.ledger.ledger import Ledger
from support.evidence import failed_tasks, logged
from support.labs import Effects, MakeLab
from support.validation import request as opened_as

DONE = Reply(text("done"))
HELD = Gate("more", then=DONE)


def desk(effects: Effects, approval: Any = True) -> Agent:
    """An agent with one gated tool."""

    @tool(approval=approval)
    async def wipe(target: str) -> str:
        """Delete a target."""
        effects.append(target)
        return f"wiped {target}"

    return Agent("desk", model="m", tools=[wipe])


def wipes(count: int) -> Reply:
    """A reply with so many gated calls."""
    return Reply(*(call("wipe", {"target": f"t{n}"}, f"c{n}") for n in range(count)))


async def asked(lab: Lab, count: int = 1) -> tuple[Run, list[Request]]:
    """A run with so many open requests."""
    run = await lab.start("desk")
    return run, await lab.open_requests(run, count)


async def test_a_decision_made_twice_counts_once(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """XB1: of a double click one decision is recorded, and both clicks get the same answer. The log has it once as
    taken, and as repeated where it reached the run again, by a signal; the server itself answers an update twice."""
    lab = await make_lab([desk(effects)], script=[wipes(1), HELD], max_cached_workflows=cache)
    run, [request] = await asked(lab)
    first = await run.approve(request, decided_by="ann", decision_id="click")
    again = await run.approve(request, decided_by="ann", decision_id="click")
    made = {"id": request.id, "verdict": {"kind": "approve"}, "decided_by": "ann", "decision_id": "click"}
    await lab.client.get_workflow_handle(run.id).signal("decide", made | {"digest": request.digest})
    assert (first.at, first.verdict, first.decided_by) == (again.at, again.verdict, again.decided_by)
    assert (await run.decision("click")).receipt == first
    lab.model.open("more")
    await run.result()
    assert len(await logged(lab, run, "decided", 1)) == 1
    repeated = await logged(lab, run, "repeated", 1)
    assert [(step.request, step.by, step.decision_id) for step in repeated] == [(request.id, "ann", "click")]
    told = [event.type async for event in run.events()]
    assert (told.count("request_decided"), told.count("decision_repeated")) == (1, 1)
    assert effects == ["t0"]


async def test_a_decision_id_with_other_content_is_a_conflict(make_lab: MakeLab, effects: Effects) -> None:
    """XB2: another verdict, another person or another request under a decision id that was used is refused as such."""
    lab = await make_lab([desk(effects)], script=[wipes(2), DONE])
    run, [request, other] = await asked(lab, 2)
    await run.reject(request, decided_by="ann", reason="no", decision_id="form")
    with pytest.raises(DecisionConflictError):
        await run.approve(request, decided_by="ann", decision_id="form")
    with pytest.raises(DecisionConflictError):
        await run.reject(request, decided_by="bob", reason="no", decision_id="form")
    with pytest.raises(DecisionConflictError):
        await run.reject(other, decided_by="ann", reason="no", decision_id="form")
    await run.reject(other, decided_by="ann")
    await run.result()
    assert effects == []
    assert len(await logged(lab, run, "decided", 2)) == 2


async def test_forty_deciders_at_once_hear_of_one_winner(make_lab: MakeLab, effects: Effects) -> None:
    """XB3: forty people approve and reject one call at the same moment, more than the server takes at a time: one of
    them counts, and each of the others is told which, at once or when asking for the decision by its id."""
    lab = await make_lab([desk(effects)], script=[wipes(1), HELD])
    run, [request] = await asked(lab)
    ways = (run.approve, run.reject)
    answers = await asyncio.gather(
        *(ways[n % 2](request, decided_by=f"p{n}", decision_id=f"d{n}") for n in range(40)), return_exceptions=True
    )
    outcomes = [await run.decision(f"d{n}") for n in range(40)]
    [won] = [each.receipt for each in outcomes if each.receipt is not None]
    for n, (answer, outcome) in enumerate(zip(answers, outcomes, strict=True)):
        if f"p{n}" == won.decided_by:
            assert isinstance(answer, Receipt)
        elif isinstance(answer, Receipt):  # kept as a signal, as the server took no further update by then
            assert (answer.state, outcome.state) == ("stored", "refused")
            assert f"({won.verdict}) by {won.decided_by}" in (outcome.message or "")
        else:
            assert isinstance(answer, RequestClosedError), answer
            assert (answer.facts["closed_by"], answer.facts["verdict"]) == (won.decided_by, won.verdict)
    lab.model.open("more")
    await run.result()
    assert effects == (["t0"] if won.verdict == "approve" else [])
    assert await failed_tasks(lab, run) == 0


@pytest.mark.parametrize("seed", range(20))
def test_whatever_the_order_the_first_one_counts(seed: int) -> None:
    """XB3: of forty decisions in twenty random orders the first one is recorded, and each other is told by whom."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    ledger = Ledger()
    ledger.book.open(opened_as("r"))
    crowd = [Decision(id="r", verdict=(Approve, Reject)[n % 2](), decided_by=f"p{n}") for n in range(40)]
    random.Random(seed).shuffle(crowd)
    ledger.check(crowd[0], now)
    ledger.record(crowd[0], now)
    for late in crowd[1:]:
        with pytest.raises(RequestClosedError) as told:
            ledger.check(late, now)
        assert (told.value.facts["closed_by"], told.value.facts["verdict"]) == (
            crowd[0].decided_by,
            crowd[0].verdict.kind,
        )
    assert ledger.book.open_requests() == []


async def test_the_opposite_decision_comes_too_late(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """XB4: who approves after a rejection, or rejects after an approval, is told who decided what, and nothing
    changes."""
    lab = await make_lab([desk(effects)], script=[wipes(2), HELD], max_cached_workflows=cache)
    run, [first, second] = await asked(lab, 2)
    await run.reject(first, decided_by="ann", reason="no")
    await run.approve(second, decided_by="ann")
    with pytest.raises(RequestClosedError) as late:
        await run.approve(first, decided_by="bob")
    assert (late.value.facts["closed_by"], late.value.facts["verdict"]) == ("ann", "reject")
    with pytest.raises(RequestClosedError) as later:
        await run.reject(second, decided_by="bob")
    assert (later.value.facts["closed_by"], later.value.facts["verdict"]) == ("ann", "approve")
    lab.model.open("more")
    await run.result()
    assert effects == ["t1"]
    assert lab.model.requests[1].tool_outputs == {"c0": "no", "c1": "wiped t1"}


async def test_what_is_not_open_here_cannot_be_decided(make_lab: MakeLab, effects: Effects) -> None:
    """XB5: an unknown request, one of another run, one of an earlier run of the same id, one that was executed and one
    of a run that has ended are each refused as what they are, and nothing runs."""
    lab = await make_lab([desk(effects)], script=[wipes(1), DONE, wipes(1), wipes(1), HELD])
    workflow_id = f"xb5-{lab.task_queue}"
    earlier = await lab.start("desk", id=workflow_id)
    old = await lab.next_request(earlier)
    await earlier.reject(old, decided_by="ann")
    await earlier.result()
    with pytest.raises(RunEndedError):
        await earlier.approve(old, decided_by="ann")
    run = await lab.start("desk", id=workflow_id)
    request = await lab.next_request(run)
    other, [foreign] = await asked(lab)
    for unknown in ("no-such-request", old, foreign):
        with pytest.raises(UnknownRequestError):
            await run.approve(unknown, decided_by="ann")
    with pytest.raises(RunEndedError):
        await earlier.approve(request, decided_by="ann")
    assert effects == []
    await run.approve(request, decided_by="ann")
    await lab.model.wait_for_request(5)
    with pytest.raises(RequestClosedError):
        await run.approve(request, decided_by="ann", decision_id="again")
    lab.model.open("more")
    await run.result()
    assert effects == ["t0"]
    await other.cancel()


async def test_a_decision_that_races_with_the_end_is_answered_as_such(make_lab: MakeLab, effects: Effects) -> None:
    """XB6: twelve times a run is cancelled and approved at the same moment: each approval is recorded, or refused with
    a typed reason, and what was refused never runs."""
    lab = await make_lab([desk(effects)], script=[wipes(1)] * 12 + [DONE] * 12)
    for n in range(12):
        run, [request] = await asked(lab)
        effects.clear()
        ways = [run.approve(request, decided_by="ann"), run.cancel("enough")]
        answers = await asyncio.gather(*(ways if n % 2 else reversed(ways)), return_exceptions=True)
        [decided] = [each for each in answers if not isinstance(each, bool)]
        assert isinstance(decided, Receipt | RequestClosedError | RunEndedError), answers
        with pytest.raises((RunEndedError, RequestClosedError, HandfastError)):
            await run.approve(request, decided_by="ann", decision_id=f"late-{n}")
        assert len(effects) <= (1 if isinstance(decided, Receipt) else 0)


async def test_one_person_is_one_vote(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """XB7: of two approvals that are needed one person gives one, however often it is said; a second person decides."""
    agent = desk(effects, Approval(approvers=["ann", "bob", "carl"], quorum=2))
    lab = await make_lab([agent], script=[wipes(1), DONE], max_cached_workflows=cache)
    run, [request] = await asked(lab)
    first = await run.approve(request, decided_by="ann")
    assert (first.votes, first.needed, first.open) == (1, 2, True)
    for name in ("ann", " Ann", "user:ann"):
        with pytest.raises(AlreadyVotedError):
            await run.approve(request, decided_by=name)
    assert effects == []
    assert (await run.approve(request, decided_by="bob")).votes == 2
    await run.result()
    assert effects == ["t0"]


async def test_a_decision_whose_answer_was_lost_is_found_again(make_lab: MakeLab, effects: Effects) -> None:
    """XB8: the worker has accepted a decision and its sender goes away before the answer: the same decision again gets
    the one receipt, and so does whoever asks for it by its id."""
    looking, found = asyncio.Event(), asyncio.Event()

    async def groups_of(name: str) -> list[str]:
        looking.set()
        await found.wait()
        return ["finance"]

    agent = desk(effects, Approval(approvers=["group:finance"]))
    lab = await make_lab([agent], script=[wipes(1), DONE], groups=groups_of)
    run, [request] = await asked(lab)
    sending = asyncio.create_task(run.approve(request, decided_by="ann", decision_id="once"))
    async with asyncio.timeout(20):
        await looking.wait()
    sending.cancel()
    assert (await run.decision("once")).state == "unknown"
    found.set()
    receipt = await run.approve(request, decided_by="ann", decision_id="once")
    assert receipt.state == "recorded"
    await run.result()
    kept = (await run.decision("once")).receipt
    assert kept is not None
    assert (kept.decided_by, kept.at) == (receipt.decided_by, receipt.at)
    assert effects == ["t0"]
    assert len(await logged(lab, run, "decided", 1)) == 1


async def test_decisions_in_reverse_reach_their_own_calls(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """XB9: of two waiting calls the second is decided first: each gets its own decision."""
    lab = await make_lab([desk(effects)], script=[wipes(2), DONE], max_cached_workflows=cache)
    run, [first, second] = await asked(lab, 2)
    await run.approve(second, decided_by="ann")
    await run.reject(first, decided_by="bob", reason="keep it")
    await run.result()
    assert effects == ["t1"]
    assert lab.model.requests[1].tool_outputs == {"c0": "keep it", "c1": "wiped t1"}


async def test_a_stale_item_spoils_no_batch(make_lab: MakeLab, effects: Effects) -> None:
    """XB10: of a batch with one request that was decided meanwhile that one is refused, and every other counts."""
    lab = await make_lab([desk(effects)], script=[wipes(5), DONE])
    run, requests = await asked(lab, 5)
    batch = [OpenRequest(run.id, request) for request in requests]
    await run.reject(requests[2], decided_by="bob", reason="not this one")
    answers = await lab.hf.decide_many(batch, Approve(), decided_by="ann")
    assert [each.receipt is not None for each in answers] == [True, True, False, True, True]
    stale = answers[2].error
    assert isinstance(stale, RequestClosedError)
    assert stale.facts["closed_by"] == "bob"
    await run.result()
    assert sorted(effects) == ["t0", "t1", "t3", "t4"]
