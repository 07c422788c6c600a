"""Rows XE1 to XE5 and XE7: when a decision counts, and what a deadline may be."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final
from zoneinfo import ZoneInfo

import pytest
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from handfast import Agent, Approval, Escalation, RunContext, question, tool
from handfast.errors import DeadlinePassedError, DefinitionError, PayloadInvalidError, RequestClosedError
from handfast.payloads.requests import Answer, Approve, Reject, Transition, Verdict
from handfast.testing import Reply, call
from support.books import LATER, book, decision, request, take
from support.desk import outputs
from support.evidence import logged
from support.labs import Effects, MakeLab
from support.waits import DONE, WIPE, until_fired, wiper

SECOND: Final = timedelta(seconds=1)
LATE: Final = "Nobody decided in time."


@pytest.mark.parametrize("verdict", [Approve(), Answer(output="no need"), Reject()], ids=lambda each: each.kind)
@pytest.mark.parametrize("default", ["reject", "approve", "fail"])
def test_the_second_before_counts_and_the_deadline_does_not(verdict: Verdict, default: Any) -> None:
    """XE1: a second before the deadline every verdict counts. From that very moment on, and a second after it, only a
    rejection does, while the request is open; once it has closed by itself, nothing."""
    for moment in (-SECOND, timedelta(0), SECOND):
        ledger = book(request(deadline=LATER, on_deadline=default))
        if moment < timedelta(0) or isinstance(verdict, Reject):
            take(ledger, decision(verdict), LATER + moment)
            assert ledger.book.entries["r1"].state == "decided"
            assert ledger.book.expire(LATER + moment) == []
            continue
        with pytest.raises(DeadlinePassedError):
            take(ledger, decision(verdict), LATER + moment)
        assert [entry.request.id for entry in ledger.book.expire(LATER + moment)] == ["r1"]
        with pytest.raises(RequestClosedError, match="expired"):
            take(ledger, decision(verdict), LATER + moment)


async def test_with_a_worker_up_before_counts_and_after_does_not(
    make_lab: MakeLab, effects: Effects, skipping: WorkflowEnvironment
) -> None:
    """XE1: shortly before a deadline of three days an approval runs the call; shortly after it nothing does, and
    whoever approves is told that the request has expired."""

    @tool(approval=True)
    async def hold(target: str) -> str:
        """Keep the run open."""
        return target

    [wipe] = wiper(effects, Approval(deadline=timedelta(days=3))).tools
    both = Reply(call("wipe", {"target": "t"}, "c1"), call("hold", {"target": "t"}, "c2"))
    lab = await make_lab(
        [Agent("desk", model="m", tools=[wipe, hold])], script=[both, both, DONE, DONE], client=skipping.client
    )
    with skipping.with_time_skipping_disabled():
        runs = [await lab.start("desk") for _ in range(2)]
    (first, _), (second, _) = [await lab.open_requests(run, 2) for run in runs]
    handles = [lab.client.get_workflow_handle(run.id) for run in runs]
    await asyncio.gather(
        skipping.fast_forward(handles[0], timedelta(days=3, seconds=-20)),
        skipping.fast_forward(handles[1], timedelta(days=3, seconds=1)),
    )
    assert (await runs[0].approve(first, decided_by="lead")).state == "recorded"
    with pytest.raises(RequestClosedError, match="expired"):
        await runs[1].approve(second, decided_by="lead")
    for run in runs:
        await run.reject((await run.pending())[-1], decided_by="lead")
        await run.result()
    assert effects == ["wipe t"]


async def test_a_deadline_is_judged_by_the_workflows_own_clock(
    make_lab: MakeLab, effects: Effects, skipping: WorkflowEnvironment
) -> None:
    """XE5: a deadline falls due when the server's time, which the workflow goes by, has reached it: not when the clock
    of the machine that the worker runs on says so. Here that one is hours behind."""

    @tool(approval=True)
    async def hold(target: str) -> str:
        """Keep the run open."""
        return target

    [wipe] = wiper(effects, Approval(deadline=timedelta(hours=3))).tools
    both = Reply(call("wipe", {"target": "t"}, "c1"), call("hold", {"target": "t"}, "c2"))
    lab = await make_lab([Agent("desk", model="m", tools=[wipe, hold])], script=[both, DONE], client=skipping.client)
    with skipping.with_time_skipping_disabled():
        run = await lab.start("desk")
    first, second = await lab.open_requests(run, 2)
    await skipping.fast_forward(lab.client.get_workflow_handle(run.id), timedelta(hours=3, seconds=1))
    [expired] = await logged(lab, run, "expired", 1)
    assert first.deadline is not None
    assert expired.at >= first.deadline > datetime.now(UTC) + timedelta(hours=2)
    with pytest.raises(RequestClosedError, match="expired"):
        await run.approve(first, decided_by="lead")
    await run.reject(second, decided_by="lead")
    await run.result()
    assert effects == []


async def test_what_was_sent_in_time_and_taken_too_late_is_refused_with_the_reason(
    make_lab: MakeLab, effects: Effects
) -> None:
    """XE2: no worker runs over the deadline. An approval stored before it and one stored after it run nothing; both
    stand in the log, and the query `decision` tells whoever stored them that a worker took them too late, and when."""
    approval = Approval(deadline=timedelta(seconds=2))
    lab = await make_lab([wiper(effects, approval)], script=[WIPE, WIPE, DONE, DONE])
    runs = [await lab.start("desk") for _ in range(2)]
    requests = [await lab.next_request(run) for run in runs]
    await lab.stop_worker()

    async def store(number: int) -> None:
        verdict = {"id": requests[number].id, "verdict": {"kind": "approve"}, "decided_by": "lead"}
        await lab.client.get_workflow_handle(runs[number].id).signal("decide", {**verdict, "decision_id": "d"})

    await store(0)
    await asyncio.gather(*(until_fired(lab, run) for run in runs))
    await store(1)
    await lab.start_worker()
    for run, asked in zip(runs, requests, strict=True):
        await run.result()
        outcome = await run.decision("d")
        assert asked.deadline is not None
        assert (outcome.state, outcome.error) == ("refused", "DeadlinePassedError")
        assert f"before {asked.deadline.isoformat()}, and a worker took this at 2" in (outcome.message or "")
        [refused] = await logged(lab, run, "refused", 1)
        assert (refused.decision_id, refused.by) == ("d", "lead")
    assert effects == []


async def test_timer_and_approval_in_one_task_end_the_same_way(make_lab: MakeLab, effects: Effects) -> None:
    """XE3: twenty runs get an approval and the deadline's timer in one workflow task, ten in this order and ten in the
    other: nothing runs, and all twenty end in the same way."""
    approval = Approval(deadline=timedelta(seconds=8), on_deadline="reject")
    lab = await make_lab([wiper(effects, approval)], script=[*[WIPE] * 20, *[DONE] * 20])
    runs = await asyncio.gather(*(lab.start("desk") for _ in range(20)))
    requests = await asyncio.gather(*(lab.next_request(run) for run in runs))
    await lab.stop_worker()
    stored = [
        (lab.client.get_workflow_handle(run.id), {"id": asked.id, "decided_by": "lead"})
        for run, asked in zip(runs, requests, strict=True)
    ]
    await asyncio.gather(*(handle.signal("approve", said) for handle, said in stored[:10]))
    await asyncio.gather(*(until_fired(lab, run) for run in runs))
    await asyncio.gather(*(handle.signal("approve", said) for handle, said in stored[10:]))
    await lab.start_worker()
    await asyncio.gather(*(run.result() for run in runs))
    assert effects == []
    assert [outputs(lab, number) for number in range(21, 41)] == [[("c1", LATE)]] * 20

    async def steps(run: Any) -> list[tuple[str, str | None]]:
        found: list[Transition] = [*await logged(lab, run, "refused", 1), *await logged(lab, run, "expired", 1)]
        return [(step.what, (step.why or "").split(":")[0]) for step in found]

    endings = [await steps(run) for run in runs]
    assert endings == [[("refused", "DeadlinePassedError"), ("expired", "deadline")]] * 20


BERLIN: Final = ZoneInfo("Europe/Berlin")


async def test_a_deadline_is_one_moment_in_whatever_offset(make_lab: MakeLab, effects: Effects) -> None:
    """XE4: "until Friday 17:00 in Berlin" is kept in UTC, on either side of a change of clocks, and on 29 February."""
    moments = {
        "summer": datetime(2028, 7, 7, 17, tzinfo=BERLIN),
        "winter": datetime(2028, 12, 1, 17, tzinfo=BERLIN),
        "twice": datetime(2028, 10, 29, 2, 30, fold=1, tzinfo=BERLIN),
        "leap": datetime(2028, 2, 29, 1, tzinfo=timezone(timedelta(hours=2))),
    }

    def until(_context: RunContext[Any], arguments: Any) -> Approval:
        return Approval(deadline=moments[arguments.target])

    asked = Reply(*(call("wipe", {"target": name}, name) for name in moments))
    lab = await make_lab([wiper(effects, until)], script=[asked, DONE])
    run = await lab.start("desk")
    waiting = await lab.open_requests(run, len(moments))
    assert {each.call_id: each.deadline for each in waiting} == {
        "summer": datetime(2028, 7, 7, 15, tzinfo=UTC),
        "winter": datetime(2028, 12, 1, 16, tzinfo=UTC),
        "twice": datetime(2028, 10, 29, 1, 30, tzinfo=UTC),
        "leap": datetime(2028, 2, 28, 23, tzinfo=UTC),
    }
    assert waiting[0].to_wire()["deadline"] == "2028-07-07T15:00:00Z"


@pytest.mark.parametrize(
    ("deadline", "says"),
    [
        pytest.param(datetime(2027, 1, 1, 12), "no UTC offset", id="naive"),
        pytest.param(datetime(9999, 12, 31, 23, tzinfo=UTC), "ten years", id="year-9999"),
        pytest.param(datetime(9999, 12, 31, 23, tzinfo=timezone(-timedelta(hours=2))), "ten years", id="beyond-9999"),
    ],
)
def test_a_moment_that_is_none_is_refused(deadline: datetime, says: str) -> None:
    """XE4: a deadline without an offset, or in the year 9999, is refused where it is written; so is a time on the wire
    without an offset, or beyond the last year there is, as an error that names the field."""
    with pytest.raises(DefinitionError, match=says):
        Approval(deadline=deadline)
    with pytest.raises(DefinitionError, match=says):
        question(deadline=deadline)
    if deadline.isoformat() == "9999-12-31T23:00:00+00:00":
        return
    with pytest.raises(PayloadInvalidError, match="at: "):
        Transition.from_wire({"what": "opened", "at": deadline.isoformat()})


async def test_a_deadline_that_had_passed_before_anybody_was_asked_approves_nothing(
    make_lab: MakeLab, effects: Effects
) -> None:
    """XE4: a request that opens after its own deadline closes at once, and as rejected also where its default is to
    approve: nobody could have objected."""
    approval = Approval(deadline=datetime(2026, 1, 2, tzinfo=UTC), on_deadline="approve")
    lab = await make_lab([wiper(effects, approval)], script=[WIPE, DONE])
    run = await lab.start("desk")
    await run.result()
    assert outputs(lab) == [("c1", LATE)]
    assert effects == []


NEVER: Final = timedelta(0)
TEN_YEARS: Final = timedelta(days=3650)


@pytest.mark.parametrize("span", [NEVER, -SECOND, TEN_YEARS + SECOND, timedelta.max], ids=str)
def test_no_time_at_all_and_more_than_ten_years_are_refused(span: timedelta) -> None:
    """XE7: zero, negative and more than ten years are refused where they are written: for a deadline, a reminder and an
    escalation."""
    with pytest.raises(DefinitionError, match="positive and at most ten years"):
        Approval(deadline=span)
    with pytest.raises(DefinitionError, match="positive and at most ten years"):
        Approval(remind=[span])
    with pytest.raises(DefinitionError, match="positive and at most ten years"):
        Escalation(span, ["group:managers"])


async def test_ten_years_pass(make_lab: MakeLab, effects: Effects, skipping_client: Client) -> None:
    """XE7: a deadline in ten years is kept, and applies then."""
    approval = Approval(deadline=TEN_YEARS, on_deadline="approve")
    lab = await make_lab([wiper(effects, approval)], script=[WIPE, DONE], client=skipping_client)
    run = await lab.start("desk")
    await run.result()
    [opened] = await logged(lab, run, "opened", 1)
    [expired] = await logged(lab, run, "expired", 1)
    assert TEN_YEARS <= expired.at - opened.at < TEN_YEARS + timedelta(hours=1)
    assert effects == ["wipe t"]
