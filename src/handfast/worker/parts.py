"""The workflows, activities and interceptor that a plugin adds to a worker."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final, Self

import openai
from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.runtime import Runtime as SdkRuntime
from temporalio.worker import (
    ActivityInboundInterceptor,
    ActivityOutboundInterceptor,
    ExecuteActivityInput,
    Interceptor,
    ReplayerConfig,
    StartActivityInput,
    Worker,
    WorkerConfig,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
    WorkflowRunner,
)
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from handfast.activities.archiving import WriteArchive
from handfast.activities.evaluate.decisions import verifier
from handfast.activities.evaluate.evaluate import Evaluate
from handfast.activities.evaluate.refused import RefusedDecisions
from handfast.activities.model.call_model import CallModel
from handfast.activities.notify import NotifyPeople
from handfast.activities.review.review import ReviewRequests
from handfast.activities.runtime.beats import OUR_BEAT
from handfast.activities.runtime.runtime import Runtime
from handfast.activities.runtime.user_errors import LOGGED_WHERE_IT_HAPPENED
from handfast.activities.tool.run_tool import ToolActivities
from handfast.discretion import shows_texts
from handfast.payloads.base import UNREADABLE, Undecodable
from handfast.payloads.signed import REFUSED, VERIFY
from handfast.payloads.tool_call import CALL_TYPES
from handfast.worker.held_signals import EVICT, holding
from handfast.workflows.continuation.archive import ArchiveRun
from handfast.workflows.run import AgentRun
from handfast.workflows.session import AgentSession
from handfast.workflows.tasks.await_activity import BY_ANY_WORKER

WORKFLOWS: Final[tuple[type, ...]] = (AgentRun, AgentSession, ArchiveRun)


KEY_AGAIN: Final = timedelta(seconds=20)
"""Delay before a call is retried that this worker has no key for: another worker may have it."""


class _Outbound(ActivityOutboundInterceptor):
    def heartbeat(self, *details: Any) -> None:
        if OUR_BEAT.get() or not activity.info().activity_type.startswith(CALL_TYPES):
            super().heartbeat(*details)


class _Inbound(ActivityInboundInterceptor):
    def init(self, outbound: ActivityOutboundInterceptor) -> None:
        super().init(_Outbound(outbound))

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        unread = next((each for each in input.args if isinstance(each, Undecodable)), None)
        if unread is not None and unread.encrypted and activity.info().activity_type.startswith("handfast."):
            raise ApplicationError(unread.problem, type=UNREADABLE, next_retry_delay=KEY_AGAIN)
        return await super().execute_activity(input)


class _WorkflowOutbound(WorkflowOutboundInterceptor):
    def start_activity(self, input: StartActivityInput) -> workflow.ActivityHandle[Any]:
        if BY_ANY_WORKER.get():
            input.disable_eager_execution = True
        return super().start_activity(input)


class _WorkflowInbound(WorkflowInboundInterceptor):
    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        super().init(_WorkflowOutbound(outbound))


class BriefFailures(logging.Filter):
    """Tells of the typed failures of our own activities in one line each, without a traceback of library frames.

    The SDK logs every failed attempt with the whole trace. What user code raised was logged where it happened; what a
    model server or a store said is named by the failure's type. Records of other activities, and of bugs of ours, stay
    as they are.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """See base class."""
        error = record.exc_info[1] if record.exc_info else None
        about = getattr(record, "temporal_activity", None)
        if not isinstance(error, ApplicationError) or not isinstance(about, Mapping):
            return True
        if not str(about.get("activity_type")).startswith("handfast."):
            return True
        if error.type in LOGGED_WHERE_IT_HAPPENED:
            return False
        again = "; it is not tried again" if error.non_retryable else ""
        said = f": {error.message}" if shows_texts() else ""
        record.msg = "%s of run %s failed with %s (attempt %s%s)%s"
        record.args = (
            about.get("activity_type"),
            about.get("workflow_id"),
            error.type,
            about.get("attempt"),
            again,
            said,
        )
        record.exc_info = None
        return True


_BRIEF: Final = BriefFailures()


class BeatGuard(Interceptor):
    """Swallows ``activity.heartbeat()`` inside tools, and nowhere else.

    One SDK heartbeat without details would erase the mark that tells whether a call had begun; ours go on by
    themselves.
    """

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        """See base class."""
        return _Inbound(next)


@dataclass(eq=False)
class PluginParts(BeatGuard):
    """The parts that a plugin added to one worker. They are an interceptor of it, so its config leads to them.

    Attributes:
        owner: The plugin that added them.
        made: Model clients that were made for this worker alone.
        refused: Is told of decisions that did not count, in production mode.
        held: True once the worker runs with its resources.
        worker: The worker, once it runs.
    """

    owner: object
    runtime: Runtime
    made: Sequence[openai.AsyncOpenAI]
    activities: Sequence[Callable[..., Any]]
    refused: RefusedDecisions
    held: bool = False
    worker: Worker | None = None

    @classmethod
    def of(cls, owner: object, runtime: Runtime, made: Sequence[openai.AsyncOpenAI], client: Client) -> Self:
        """Make the parts of a worker whose activities share *runtime*."""
        ours = [CallModel(runtime).run, Evaluate(runtime).run, WriteArchive(runtime).run, NotifyPeople(runtime).run]
        ours.append(ReviewRequests(runtime).run)
        meter = (client.service_client.config.runtime or SdkRuntime.default()).metric_meter
        return cls(owner, runtime, made, [*ours, *ToolActivities(runtime).all()], RefusedDecisions(meter))

    def workflow_interceptor_class(
        self, input: WorkflowInterceptorClassInput
    ) -> type[WorkflowInboundInterceptor] | None:
        """Give validators the worker's keys, and let our workflows say which activities the task queue hands out."""
        input.unsafe_extern_functions[EVICT] = self._evict
        if self.runtime.trusted is not None:
            input.unsafe_extern_functions[VERIFY] = verifier(self.runtime.trusted)
            input.unsafe_extern_functions[REFUSED] = self.refused
        return _WorkflowInbound

    def put_in(self, config: WorkerConfig) -> None:
        """Add our workflows, our activities, and the guard of the begun mark; pass Handfast through the sandbox."""
        config["workflows"] = [*config.get("workflows", []), *WORKFLOWS]
        config["activities"] = [*config.get("activities", []), *self.activities]
        config["interceptors"] = [*config.get("interceptors", []), self]
        if config["client"].data_converter.external_storage is None:
            # The SDK (1.35) makes a task for each payload where this is more than one, although there is nothing to
            # fetch: 0.1 s of the event loop, and thousands of its turns, for ten thousand signals.
            config["max_workflow_task_external_storage_concurrency"] = 1
        fit_runners(config)

    def take_out(self, config: WorkerConfig) -> None:
        """Remove them again; the client keeps its converter, and the sandbox lets Handfast through."""
        config["workflows"] = [each for each in config.get("workflows", []) if each not in WORKFLOWS]
        config["activities"] = [each for each in config.get("activities", []) if each not in self.activities]
        config["interceptors"] = [each for each in config.get("interceptors", []) if each is not self]

    def _evict(self, run_id: str) -> None:
        """Have the worker forget a run, once it has answered what it was asked: its next task replays it."""
        if self.worker is not None and self.worker._bridge_worker is not None:
            self.worker._bridge_worker.request_workflow_eviction(run_id)

    async def hold(self, worker: Worker, held: AsyncExitStack) -> None:
        """Open what the activities of *worker* need; it ends with *held*."""
        self.worker = worker
        logging.getLogger(activity.__name__).addFilter(_BRIEF)  # once per process: it is the same one
        self.runtime.open(worker)
        held.callback(self.runtime.close)
        self.runtime.deltas.open()
        held.push_async_callback(self.runtime.deltas.close)
        held.push_async_callback(self.runtime.mcp.close)
        for each in self.made:
            held.push_async_callback(each.close)


def parts_in(config: WorkerConfig) -> PluginParts | None:
    """Return the parts that a plugin added to a worker; None where there is no such plugin."""
    return next((each for each in config.get("interceptors", []) if isinstance(each, PluginParts)), None)


def fit_runners(config: WorkerConfig | ReplayerConfig) -> None:
    """Give the runners of *config* what workflows of ours need of them."""
    if "workflow_runner" in config:
        config["workflow_runner"] = holding(passed_through(config["workflow_runner"]))
    if "unsandboxed_workflow_runner" in config:
        config["unsandboxed_workflow_runner"] = holding(config["unsandboxed_workflow_runner"])


def passed_through(runner: WorkflowRunner) -> WorkflowRunner:
    """Return *runner* with one Handfast for all workflows of its sandbox.

    A sandbox imports what it does not pass through for every run anew, and whenever one is replayed: of Handfast that
    is 0.3 s of work, and megabytes. Ours run outside of it with the same modules, which hold no state.
    """
    if not isinstance(runner, SandboxedWorkflowRunner):
        return runner
    return replace(runner, restrictions=runner.restrictions.with_passthrough_modules("handfast"))
