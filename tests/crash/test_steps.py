"""The matrix's points have one name in every run, however its messages fall."""

from __future__ import annotations

from temporalio.api.common.v1 import ActivityType, Payload, Payloads, WorkflowExecution
from temporalio.api.history.v1 import (
    ActivityTaskCompletedEventAttributes,
    ActivityTaskScheduledEventAttributes,
    History,
    HistoryEvent,
    WorkflowExecutionSignaledEventAttributes,
    WorkflowExecutionStartedEventAttributes,
)
from temporalio.api.query.v1 import WorkflowQuery
from temporalio.api.workflowservice.v1 import (
    PollWorkflowTaskQueueResponse,
    QueryWorkflowRequest,
    RespondQueryTaskCompletedRequest,
    RespondWorkflowTaskCompletedRequest,
    RespondWorkflowTaskCompletedResponse,
)

from support.crash.steps import QUERY_ANSWER, WORKFLOW_ANSWER, WORKFLOW_POLL, RunStep, Steps

BEGAN = HistoryEvent(event_id=1, workflow_execution_started_event_attributes=WorkflowExecutionStartedEventAttributes())
SCHEDULED = HistoryEvent(
    event_id=5,
    activity_task_scheduled_event_attributes=ActivityTaskScheduledEventAttributes(
        activity_id="1", activity_type=ActivityType(name="look")
    ),
)
LOOKED = HistoryEvent(
    event_id=7, activity_task_completed_event_attributes=ActivityTaskCompletedEventAttributes(scheduled_event_id=5)
)
APPROVED = HistoryEvent(
    event_id=8,
    workflow_execution_signaled_event_attributes=WorkflowExecutionSignaledEventAttributes(signal_name="approve"),
)


def task(token: bytes, *events: HistoryEvent, done: int = 0) -> PollWorkflowTaskQueueResponse:
    """A workflow task as it is handed out; what comes after event *done* is new."""
    return PollWorkflowTaskQueueResponse(
        task_token=token,
        workflow_execution=WorkflowExecution(workflow_id="w", run_id="r"),
        previous_started_event_id=done,
        history=History(events=events),
    )


def answer(token: bytes) -> bytes:
    """The answer to a workflow task."""
    return RespondWorkflowTaskCompletedRequest(task_token=token).SerializeToString()


def test_what_comes_in_one_task_or_in_two_has_the_same_steps() -> None:
    """An activity's end and a signal come together by a poll, or apart, the second in the reply to the answer
    of the first."""
    together, apart = Steps(), Steps()
    in_one = together.of_reply(WORKFLOW_POLL, task(b"1", SCHEDULED, LOOKED, APPROVED, done=6).SerializeToString())
    in_one += together.of_request(WORKFLOW_ANSWER, answer(b"1"))
    following = RespondWorkflowTaskCompletedResponse(workflow_task=task(b"2", APPROVED, done=7))
    in_two = apart.of_reply(WORKFLOW_POLL, task(b"1", SCHEDULED, LOOKED, done=6).SerializeToString())
    in_two += apart.of_request(WORKFLOW_ANSWER, answer(b"1"))
    in_two += apart.of_reply(WORKFLOW_ANSWER, following.SerializeToString())
    in_two += apart.of_request(WORKFLOW_ANSWER, answer(b"2"))
    news = ("look 1", "approve 1")
    assert sorted(in_one) == sorted(in_two)
    assert set(in_one) == {RunStep(method, each) for method in (WORKFLOW_POLL, WORKFLOW_ANSWER) for each in news}


def test_a_task_that_is_handed_out_again_has_the_same_steps() -> None:
    """Whole or in part, what had been taken in before is not told again."""
    steps = Steps()
    first = steps.of_reply(WORKFLOW_POLL, task(b"1", BEGAN).SerializeToString())
    assert first == [RunStep(WORKFLOW_POLL, "start 1")]
    assert steps.of_reply(WORKFLOW_POLL, task(b"2", BEGAN).SerializeToString()) == first
    whole = task(b"3", BEGAN, SCHEDULED, LOOKED, done=3)
    assert steps.of_reply(WORKFLOW_POLL, whole.SerializeToString()) == [RunStep(WORKFLOW_POLL, "look 1")]


def test_a_question_that_is_asked_again_has_the_same_name() -> None:
    """A query that nobody answered in time is asked again: asked, handed out and answered it is the same step."""
    steps = Steps()

    def asked(ids: bytes) -> WorkflowQuery:
        return WorkflowQuery(query_type="transcript", query_args=Payloads(payloads=[Payload(data=ids)]))

    def through(token: bytes, query: WorkflowQuery) -> list[str]:
        handed = PollWorkflowTaskQueueResponse(task_token=token, query=query)
        answered = RespondQueryTaskCompletedRequest(task_token=token)
        found = steps.of_request("QueryWorkflow", QueryWorkflowRequest(query=query).SerializeToString())
        found += steps.of_reply(WORKFLOW_POLL, handed.SerializeToString())
        found += steps.of_request(QUERY_ANSWER, answered.SerializeToString())
        assert [each.method for each in found] == ["QueryWorkflow", WORKFLOW_POLL, QUERY_ANSWER]
        return [each.about for each in found]

    assert through(b"1", asked(b"a")) == ["transcript 1"] * 3
    assert through(b"2", asked(b"a")) == ["transcript 1"] * 3
    assert through(b"3", asked(b"b")) == ["transcript 2"] * 3
