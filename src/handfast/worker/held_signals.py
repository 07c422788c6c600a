"""Keeps most signals of a flood from the SDK, which takes about 40 µs for each before a workflow hears of it.

Ten thousand signals, as many as the server takes, would be half a second of one workflow task; on a machine a tenth as
fast that is more than the two seconds after which the SDK fails it, and every further attempt. So the SDK is shown the
first ones of a workflow task, and `Intake` fetches the others, in the order in which they came.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from threading import Lock
from typing import Any, Final

from temporalio import workflow
from temporalio.bridge.proto.workflow_activation import WorkflowActivation
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
from temporalio.converter import SerializationContext
from temporalio.worker import WorkflowInstance, WorkflowInstanceDetails, WorkflowRunner

from handfast.workflows.run import AgentRun
from handfast.workflows.session import AgentSession
from handfast.workflows.tasks.intake import BATCH, HELD, Held

SHOWN: Final = BATCH
"""Signals of one workflow task that the SDK is shown: whoever has fewer meets nothing of this."""
PREFIX: Final = "handfast."
"""Beginning of the names of a host's signals in a workflow of the user's."""
OURS: Final = frozenset({AgentRun, AgentSession})
"""Workflows all of whose signals are ours."""
EVICT: Final = "handfast.evict"
"""What a worker calls the function that has a run replayed from its history, by its run id."""


def holding(runner: WorkflowRunner) -> WorkflowRunner:
    """Return *runner* with workflows that are not shown a flood; of the same kind, for whoever asks what it is."""
    if isinstance(runner, _Holding):
        return runner
    held = copy.copy(runner)
    kind = type(runner)
    object.__setattr__(held, "__class__", type(f"Holding{kind.__name__}", (_Holding, kind), {}))
    return held


class _Holding(WorkflowRunner):
    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        held: Held = deque()
        functions = {**det.extern_functions, HELD: lambda: held}
        told = replace(det, extern_functions=functions)
        evict = det.extern_functions.get(EVICT, lambda _run_id: None)  # a replay alone has no tasks to come
        inner = super().create_instance(told)  # type: ignore[safe-super]
        return _Instance(inner, held, evict, ours=det.defn.cls in OURS)


class _Instance(WorkflowInstance):
    """One workflow, which passes its activations on without most signals of a flood."""

    def __init__(self, inner: WorkflowInstance, held: Held, evict: Callable[[str], None], *, ours: bool) -> None:
        self._inner = inner
        self._held = held
        self._evict = evict
        self._started: tuple[tuple[int, int], int] | None = None
        self._ours = ours
        self._one_at_a_time = Lock()

    def activate(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        """Handle one activation, when the one before it has ended.

        The SDK (1.35) fails a workflow task whose activation takes two seconds, and evicts the workflow, in another
        thread and while the activation still runs: it means to wait for that, but has cancelled the future by which it
        would (`_WorkflowWorker._handle_activation`, where `asyncio.wait_for` does so). Of a workflow in which two
        threads were at work tasks remain; it can never be evicted, and this worker takes no further task of the run.
        """
        with self._one_at_a_time:
            if self._is_early(act):
                self._evict(act.run_id)
            if len(act.jobs) > SHOWN:
                self._hold(act)
            return self._inner.activate(act)

    def _is_early(self, act: WorkflowActivation) -> bool:
        """Tell events that came with a query, ahead of their workflow task.

        A query that a busy worker takes late brings a history in which a workflow task waits, and the SDK (1.35) acts
        on its events at once (`HistoryUpdate::take_next_wft_sequence` in its Core: a query has no started task, so that
        any history ends with "the last one"). What comes until the task starts is acted on in it, apart from them, and
        on a replay together with them: commands change places, and the run stops for ever. So the run is given up once
        the query has its answer, and its task begins from its history. Only a task moves the workflow's time.
        """
        if all(job.HasField("query_workflow") or job.HasField("remove_from_cache") for job in act.jobs):
            return False
        time, length = (act.timestamp.seconds, act.timestamp.nanos), act.history_length
        if self._started is not None and self._started[0] == time and self._started[1] < length:
            return True
        self._started = time, length
        return False

    def _hold(self, act: WorkflowActivation) -> None:
        shown, jobs = 0, []
        for job in act.jobs:
            if not job.HasField("signal_workflow"):
                jobs.append(job)
                continue
            signal = job.signal_workflow
            if not self._ours and not signal.signal_name.startswith(PREFIX):
                jobs.append(job)
                continue
            shown += 1
            if shown <= SHOWN:
                jobs.append(job)
            else:
                self._held.append((signal.signal_name, signal.input))
        if shown > SHOWN:
            kept = WorkflowActivation()
            kept.jobs.extend(jobs)
            act.ClearField("jobs")
            act.jobs.extend(kept.jobs)

    def get_serialization_context(self, command_info: Any) -> SerializationContext | None:
        return self._inner.get_serialization_context(command_info)

    def get_external_store_context(self, command_info: Any) -> Any:
        return self._inner.get_external_store_context(command_info)

    def get_info(self) -> workflow.Info:
        return self._inner.get_info()

    def get_thread_id(self) -> int | None:
        """Say it of a user's workflow alone.

        By it the SDK interrupts a slow activation, with an exception in its thread that may hit asyncio between two
        steps, so that tasks are lost. Nothing of ours runs for ever: a slow activation of it ends in its own time.
        """
        return None if self._ours else self._inner.get_thread_id()
