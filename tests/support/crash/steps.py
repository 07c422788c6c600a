"""Names what a message between a worker and the server is about: a step of a run has one name whenever that is done.

How many messages there are is a matter of chance. What comes while a workflow task is under way is handed out together,
in one task more or less, and the next task comes by a poll, or in the reply to the answer of the one before. So the
number of a message says nothing; what it carries does. A *step* is a kind of message and the one thing that it carries:

- a workflow task is handed out (``PollWorkflowTaskQueue``) with each of its news, and answered
  (``RespondWorkflowTaskCompleted``) for each: the run began, an activity ended, an update or a signal came;
- an activity is handed out, says that it began, and ends;
- a query is asked (``QueryWorkflow``), handed out and answered (``RespondQueryTaskCompleted``).

One message may be several steps. A workflow task without news has no name: it is a repetition, or lost with nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator
from typing import Any, Final, NamedTuple

from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.query.v1 import WorkflowQuery
from temporalio.api.update.v1 import Request
from temporalio.api.workflowservice.v1 import (
    PollActivityTaskQueueResponse,
    PollWorkflowTaskQueueResponse,
    QueryWorkflowRequest,
    RecordActivityTaskHeartbeatRequest,
    RespondActivityTaskCanceledRequest,
    RespondActivityTaskCompletedRequest,
    RespondActivityTaskFailedRequest,
    RespondQueryTaskCompletedRequest,
    RespondWorkflowTaskCompletedRequest,
    RespondWorkflowTaskCompletedResponse,
    RespondWorkflowTaskFailedRequest,
    UpdateWorkflowExecutionRequest,
)

WORKFLOW_POLL: Final = "PollWorkflowTaskQueue"
ACTIVITY_POLL: Final = "PollActivityTaskQueue"
WORKFLOW_ANSWER: Final = "RespondWorkflowTaskCompleted"
QUERY_ANSWER: Final = "RespondQueryTaskCompleted"
BEAT: Final = "RecordActivityTaskHeartbeat"
TOKEN_OF: Final[dict[str, Any]] = {
    "RespondWorkflowTaskFailed": RespondWorkflowTaskFailedRequest,
    "RespondActivityTaskCompleted": RespondActivityTaskCompletedRequest,
    "RespondActivityTaskFailed": RespondActivityTaskFailedRequest,
    "RespondActivityTaskCanceled": RespondActivityTaskCanceledRequest,
    QUERY_ANSWER: RespondQueryTaskCompletedRequest,
    BEAT: RecordActivityTaskHeartbeatRequest,
}
ENDINGS: Final = frozenset(
    f"activity_task_{how}_event_attributes" for how in ("completed", "failed", "timed_out", "canceled")
)
NEWS: Final = {
    "workflow_execution_started_event_attributes": "start",
    "timer_fired_event_attributes": "timer",
    "workflow_execution_cancel_requested_event_attributes": "cancel",
}


class RunStep(NamedTuple):
    """What a message is: its kind, by the method that carries it as a rule, and what it is about."""

    method: str
    about: str


class Names:
    """Names things of a kind by their order: the second *call_model* is ``call_model 2``, whenever it is seen."""

    def __init__(self) -> None:
        self._known: dict[Hashable, str] = {}
        self._of_kind: Counter[str] = Counter()

    def named(self, thing: Hashable, kind: str) -> str:
        """The name of *thing*, which is of that kind where it is seen for the first time."""
        if thing not in self._known:
            self._of_kind[kind] += 1
            self._known[thing] = f"{kind} {self._of_kind[kind]}"
        return self._known[thing]


class Steps:
    """Reads the messages of one worker, and of the one that comes after it, in their order."""

    def __init__(self) -> None:
        self._news = Names()
        self._asked = Names()
        self._scheduled: dict[tuple[str, int], str] = {}
        self._tasks: dict[Hashable, list[str]] = {}

    def of_request(self, method: str, request: bytes) -> list[RunStep]:
        """The steps that a request is; of a poll it is its reply that says so."""
        if method == "QueryWorkflow":
            return [RunStep(method, self._question(QueryWorkflowRequest.FromString(request).query))]
        if method == "UpdateWorkflowExecution":
            update = UpdateWorkflowExecutionRequest.FromString(request).request
            return [RunStep(method, self._asked.named(update.meta.update_id, update.input.name))]
        if method == WORKFLOW_ANSWER:
            answer = RespondWorkflowTaskCompletedRequest.FromString(request)
            queries = [name for each in answer.query_results for name in self._tasks.get(each, ())]
            news = self._tasks.get(answer.task_token, ())
            return [*(RunStep(method, each) for each in news), *(RunStep(QUERY_ANSWER, each) for each in queries)]
        if method in TOKEN_OF:
            return [
                RunStep(method, each) for each in self._tasks.get(TOKEN_OF[method].FromString(request).task_token, ())
            ]
        return []

    def of_reply(self, method: str, reply: bytes) -> list[RunStep]:
        """The steps that a reply is: the tasks that it hands out."""
        if method == WORKFLOW_POLL:
            return list(self._handed(PollWorkflowTaskQueueResponse.FromString(reply)))
        if method == ACTIVITY_POLL:
            return list(self._begun(PollActivityTaskQueueResponse.FromString(reply)))
        if method == WORKFLOW_ANSWER:
            answer = RespondWorkflowTaskCompletedResponse.FromString(reply)
            begun = [step for each in answer.activity_tasks for step in self._begun(each)]
            return [*self._handed(answer.workflow_task), *begun]
        return []

    def _question(self, query: WorkflowQuery) -> str:
        """The same for one that is asked again, as its first try was not answered."""
        return self._asked.named((query.query_type, query.query_args.SerializeToString()), query.query_type)

    def _begun(self, task: PollActivityTaskQueueResponse) -> Iterator[RunStep]:
        if task.task_token:
            run = task.workflow_execution.run_id
            name = self._news.named((run, task.activity_id), task.activity_type.name)
            self._tasks[task.task_token] = [name]
            yield RunStep(ACTIVITY_POLL, name)

    def _handed(self, task: PollWorkflowTaskQueueResponse) -> Iterator[RunStep]:
        if not task.task_token:
            return
        news = [self._question(task.query)] if task.HasField("query") else list(dict.fromkeys(self._new(task)))
        self._tasks[task.task_token] = news
        for key, query in task.queries.items():
            self._tasks[key] = [self._question(query)]
        asked = [name for key in task.queries for name in self._tasks[key]]
        for name in (*news, *asked):
            yield RunStep(WORKFLOW_POLL, name)

    def _new(self, task: PollWorkflowTaskQueueResponse) -> Iterator[str]:
        run = task.workflow_execution.run_id
        for event in task.history.events:
            if event.HasField("activity_task_scheduled_event_attributes"):
                scheduled = event.activity_task_scheduled_event_attributes
                name = self._news.named((run, scheduled.activity_id), scheduled.activity_type.name)
                self._scheduled[run, event.event_id] = name
            elif event.event_id > task.previous_started_event_id:
                yield from self._told(run, event)
        for message in task.messages:
            update = Request()
            if message.body.Unpack(update):
                yield self._news.named(message.protocol_instance_id, update.input.name)

    def _told(self, run: str, event: HistoryEvent) -> Iterator[str]:
        kind = event.WhichOneof("attributes") or ""
        here = (run, event.event_id)
        told: Any = getattr(event, kind, None)
        if kind in ENDINGS:
            yield self._scheduled.get((run, told.scheduled_event_id), "activity")
        elif kind == "workflow_execution_signaled_event_attributes":
            yield self._news.named(here, told.signal_name)
        elif kind in NEWS:
            yield self._news.named(here, NEWS[kind])
