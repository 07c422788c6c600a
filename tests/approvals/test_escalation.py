"""Rows XE6 and P3: reminders and escalations, each at its time and once."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.enums.v1 import EventType
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.testing import WorkflowEnvironment

from handfast import Agent, Approval, Escalation, Handfast, Run, RunContext, question
from handfast.errors import AnswerRefusedError, DefinitionError, NotAnApproverError
from handfast.history.reader import history_of, ledger_changes
from handfast.payloads.requests import Request, Transition
from handfast.testing import Lab, Reply, call
from support.evidence import events_of, logged
from support.labs import Effects, MakeLab
from support.lists import eventually
from support.waits import DONE, WIPE, until_fired, wiper

HOUR: Final = timedelta(hours=1)
STEPS: Final = [("reminded", 1), ("reminded", 2), ("escalated", 4), ("reminded", 6)]
"""What happens by itself, and after how many hours."""


def patient(**options: Any) -> Approval:
    """An approval that asks ann, and after four hours the managers as well."""
    given: dict[str, Any] = {
        "approvers": ["ann"],
        "remind": [6 * HOUR, 1 * HOUR, 2 * HOUR],
        "escalate": [Escalation(4 * HOUR, ["group:managers"])],
        "deadline": timedelta(days=1),
    }
    return Approval(**{**given, **options})


async def steps_of(lab: Lab, run: Run) -> list[Transition]:
    """What happened to the run's requests by itself, over all its histories, in order."""
    found: list[Transition] = []
    for history in await lab.histories(run):
        for event in history.events:
            found += (await ledger_changes(event, lab.client.data_converter))[2]
    return [step for step in found if step.what in ("reminded", "escalated")]


def hours_of(steps: list[Transition], request: Request) -> list[tuple[str, int]]:
    """By hours, as `STEPS` has them: when each was to be."""
    return [(step.what, (step.due - request.requested_at) // HOUR) for step in steps if step.due is not None]


async def test_each_step_takes_place_once_over_three_restarts(
    make_lab: MakeLab, effects: Effects, skipping: WorkflowEnvironment
) -> None:
    """XE6: three reminders and an escalation, with the worker replaced between them: each takes place once, at its
    time, and the call that one of the managers approves runs once."""
    lab = await make_lab(
        [wiper(effects, patient())],
        script=[WIPE, DONE],
        client=skipping.client,
        groups={"managers": ["max"]},
        max_cached_workflows=0,
    )
    with skipping.with_time_skipping_disabled():
        run = await lab.start("desk")
    request = await lab.next_request(run)
    handle = lab.client.get_workflow_handle(run.id)
    for hours in (1.5, 1, 2):
        await skipping.fast_forward(handle, timedelta(hours=hours))
        await lab.replace_worker()
    await skipping.fast_forward(handle, 2 * HOUR)
    await run.approve(request, decided_by="max")
    await run.result()
    steps = await steps_of(lab, run)
    assert hours_of(steps, request) == STEPS
    assert [step.approvers for step in steps if step.what == "escalated"] == [["group:managers"]]
    assert all(step.due is not None and timedelta(0) <= step.at - step.due < HOUR / 2 for step in steps)
    assert effects == ["wipe t"]


async def test_what_was_due_while_no_worker_ran_takes_place_once_each(make_lab: MakeLab, effects: Effects) -> None:
    """XE6: two reminders and an escalation were due, and then the deadline, while no worker ran: when one is back each
    takes place once, in the order of their times, and the request closes as its deadline says."""
    soon = patient(
        remind=[timedelta(seconds=2.2), timedelta(seconds=1.5)],
        escalate=[Escalation(timedelta(seconds=1.8), ["group:managers"])],
        deadline=None,
    )
    closes = patient(remind=[timedelta(seconds=2.3)], escalate=[], deadline=timedelta(seconds=2.5))

    def rule(context: RunContext[Any], _arguments: Any) -> Approval:
        return closes if context.labels else soon

    lab = await make_lab(
        [wiper(effects, rule)], script=[WIPE, WIPE, DONE, DONE], groups=lambda name: ["managers"] * (name == "max")
    )
    run = await lab.start("desk")
    request = await lab.next_request(run)
    other = await lab.start("desk", labels={"closes": "yes"})
    closing = await lab.next_request(other)
    await lab.stop_worker()
    await until_fired(lab, other)
    stored = {"id": request.id, "verdict": {"kind": "approve"}, "decided_by": "max", "decision_id": "d"}
    await lab.client.get_workflow_handle(run.id).signal("decide", stored)
    await lab.start_worker()
    await other.result()
    assert [step.what for step in await steps_of(lab, other)] == ["reminded"]
    assert [step.request for step in await logged(lab, other, "expired", 1)] == [closing.id]
    await run.result()
    assert [step.what for step in await steps_of(lab, run)] == ["reminded", "escalated", "reminded"]
    assert (await run.decision("d")).state == "recorded"
    assert effects == ["wipe t"]


async def test_a_reset_repeats_no_step_that_it_keeps(
    make_lab: MakeLab, effects: Effects, skipping: WorkflowEnvironment
) -> None:
    """XE6: a run that an operator resets to after the escalation keeps it: the managers may decide, and no step takes
    place a second time. What a reset could repeat is asked about once more, with steps of its own."""
    lab = await make_lab(
        [wiper(effects, patient())], script=[WIPE, DONE], client=skipping.client, groups={"managers": ["max"]}
    )
    with skipping.with_time_skipping_disabled():
        run = await lab.start("desk")
    request = await lab.next_request(run)
    handle = lab.client.get_workflow_handle(run.id)
    await skipping.fast_forward(handle, 5 * HOUR)
    tasks = [
        event.event_id
        for event in await events_of(lab, run)
        if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED
    ]
    await lab.client.workflow_service.reset_workflow_execution(
        ResetWorkflowExecutionRequest(
            namespace=lab.client.namespace,
            workflow_execution=WorkflowExecution(workflow_id=run.id),
            reason="as an operator would",
            workflow_task_finish_event_id=tasks[-1],
            request_id="reset",
        )
    )
    again = lab.watch(lab.hf.run(run.id))
    await again.approve(request, decided_by="max")
    anew = await lab.next_request(again)
    assert anew.id != request.id
    await again.approve(anew, decided_by="ann")
    await again.result()
    found: list[Transition] = []
    async for event in history_of(lab.client.get_workflow_handle(run.id), wait=False):
        found += (await ledger_changes(event, lab.client.data_converter))[2]
    assert hours_of([step for step in found if step.due and step.request == request.id], request) == STEPS[:3]
    assert effects == ["wipe t"]


async def test_an_escalation_lets_others_decide_from_then_on(
    make_lab: MakeLab, effects: Effects, skipping: WorkflowEnvironment
) -> None:
    """P3: before it is escalated a manager may not decide a request, and after that may; who could before still can.
    The request says to whom and when, over a fresh history too."""
    approval = patient(remind=[HOUR / 2 * n for n in range(1, 8)])
    lab = await make_lab(
        [wiper(effects, approval)], script=[WIPE, DONE], client=skipping.client, groups={"managers": ["max"]}
    )
    with skipping.with_time_skipping_disabled():
        run = await lab.start("desk", segment_events=40)
    request = await lab.next_request(run)
    with pytest.raises(NotAnApproverError):
        await run.approve(request, decided_by="max")
    await skipping.fast_forward(lab.client.get_workflow_handle(run.id), 5 * HOUR)
    [now] = await run.pending()
    assert (request.approvers, now.approvers) == (["ann"], ["ann", "group:managers"])
    assert (now.id, now.digest, now.deadline) == (request.id, request.digest, request.deadline)
    [step] = now.escalated
    assert step.at == request.requested_at + 4 * HOUR
    assert [each.done_at is None for each in now.schedule or ()] == [False] * 8
    assert sum(each == "reminded" for each in [step.what for step in await steps_of(lab, run)]) == 7
    await run.approve(now, decided_by="max")
    await run.result()
    assert effects == ["wipe t"]
    assert len(await lab.histories(run)) > 1


async def test_a_manager_whose_turn_has_come_is_taken_at_his_word(make_lab: MakeLab, effects: Effects) -> None:
    """P3: whoever an escalation names finds the request in the list of the group, and is not in it before."""
    soon = patient(remind=[], escalate=[Escalation(timedelta(seconds=1), ["group:managers"])])
    lab = await make_lab([wiper(effects, soon)], script=[WIPE, DONE], groups={"managers": ["max"]})
    run = await lab.start("desk")
    await lab.next_request(run)
    hf = Handfast(lab.client, task_queue=lab.task_queue)

    async def listed() -> list[Any]:
        return [each for each in await hf.requests(approver="group:managers") if each.run == run.id]

    [each] = await eventually(listed)
    assert each.request.escalated
    events = [event.type async for event in run.events(wait=False)]
    assert "request_escalated" in events
    await run.reject(each.request, decided_by="max")
    await run.result()
    assert effects == []


async def test_a_question_goes_to_others_after_a_while(make_lab: MakeLab, skipping: WorkflowEnvironment) -> None:
    """P3: a question is escalated like an approval: then others may answer."""
    ask = question(approvers=["ann"], remind=[HOUR], escalate=[Escalation(2 * HOUR, ["bob"])])
    script = [Reply(call("ask_person", {"question": "Which door?"}, "c1")), DONE]
    lab = await make_lab([Agent("desk", model="m", tools=[ask])], script=script, client=skipping.client)
    with skipping.with_time_skipping_disabled():
        run = await lab.start("desk")
    request = await lab.next_request(run)
    with pytest.raises(NotAnApproverError):
        await run.answer(request, "the left one", decided_by="bob")
    await skipping.fast_forward(lab.client.get_workflow_handle(run.id), 3 * HOUR)
    with pytest.raises(AnswerRefusedError):
        await run.answer(request, "", decided_by="bob")
    await run.answer(request, "the left one", decided_by="bob")
    await run.result()
    assert [step.what for step in await steps_of(lab, run)] == ["reminded", "escalated"]


MANAGERS: Final = [Escalation(HOUR, ["group:managers"])]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        pytest.param({"escalate": MANAGERS}, "anybody may decide already", id="nobody-named"),
        pytest.param({"remind": [HOUR, HOUR]}, "same time twice", id="twice"),
        pytest.param({"remind": [2 * HOUR], "deadline": HOUR}, "comes too late", id="after-the-deadline"),
        pytest.param({"approvers": ["a"], "escalate": MANAGERS, "deadline": HOUR}, "comes too late", id="at-it"),
        pytest.param({"remind": [n * HOUR for n in range(1, 12)]}, "10 times at most", id="eleven"),
        pytest.param({"remind": HOUR}, "a list of timedeltas", id="no-list"),
        pytest.param({"remind": [60]}, "must be a timedelta", id="number"),
        pytest.param({"approvers": ["a"], "escalate": [HOUR]}, "a list of Escalation", id="no-escalation"),
        pytest.param(
            {"approvers": [f"p{n}" for n in range(20)], "escalate": MANAGERS}, "20 at most", id="too-many-approvers"
        ),
    ],
)
def test_steps_that_cannot_be_are_refused(options: dict[str, Any], says: str) -> None:
    """P3: reminders and escalations that could not take place, or would change nothing, are refused where they are
    written."""
    with pytest.raises(DefinitionError, match=says):
        Approval(**options)


def test_an_escalation_names_somebody() -> None:
    """P3: an escalation to nobody is refused."""
    with pytest.raises(DefinitionError, match="name who may decide"):
        Escalation(HOUR, [])
