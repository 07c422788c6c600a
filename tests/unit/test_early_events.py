"""Events that a query brings ahead of their workflow task: the run is replayed, or commands would change places."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest
from temporalio.bridge.proto.workflow_activation import WorkflowActivation
from temporalio.worker import WorkflowInstance, WorkflowInstanceDetails, WorkflowRunner

from handfast.worker.held_signals import EVICT, holding


class Recorder(WorkflowRunner):
    """A runner whose workflows do nothing."""

    def prepare_workflow(self, defn: Any) -> None:
        """See base class."""

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        """See base class."""
        return cast(WorkflowInstance, SimpleNamespace(activate=lambda act: None))

    def set_worker_level_failure_exception_types(self, types: Any) -> None:
        """See base class."""


def activation(kind: str, seconds: int, length: int) -> WorkflowActivation:
    """One activation of run r1, with one job."""
    act = WorkflowActivation(run_id="r1", history_length=length)
    act.timestamp.seconds = seconds
    getattr(act.jobs.add(), kind).SetInParent()
    return act


def hand_on(functions: Mapping[str, Callable[[str], None]], acts: list[WorkflowActivation]) -> None:
    """Hand *acts* to a workflow of a worker with these functions."""
    details: Any = WorkflowInstanceDetails.__new__(WorkflowInstanceDetails)
    fields = dict.fromkeys(WorkflowInstanceDetails.__dataclass_fields__)
    for name, value in {**fields, "extern_functions": functions, "defn": SimpleNamespace(cls=object)}.items():
        object.__setattr__(details, name, value)
    instance = holding(Recorder()).create_instance(details)
    for act in acts:
        instance.activate(act)


FIRST = activation("initialize_workflow", 10, 3)


@pytest.mark.parametrize(
    ("acts", "times"),
    [
        pytest.param([activation("resolve_activity", 11, 9)], 0, id="a-task"),
        pytest.param([activation("resolve_activity", 10, 7)], 1, id="events-without-a-task"),
        pytest.param([activation("signal_workflow", 10, 7), activation("signal_workflow", 10, 9)], 2, id="and-more"),
        pytest.param([activation("query_workflow", 10, 7)], 0, id="a-query-alone"),
        pytest.param([activation("remove_from_cache", 10, 7)], 0, id="an-eviction"),
        pytest.param([activation("resolve_activity", 10, 3)], 0, id="more-of-the-same-task"),
        pytest.param(
            [activation("resolve_activity", 11, 9), activation("fire_timer", 11, 12)], 1, id="behind-a-later-task"
        ),
    ],
)
def test_a_run_is_begun_anew_after_events_that_came_without_their_task(
    acts: list[WorkflowActivation], times: int
) -> None:
    """Events come in an activation that no workflow task has begun: the worker is asked to forget the run."""
    forgotten: list[str] = []
    hand_on({EVICT: forgotten.append}, [FIRST, *acts])
    assert forgotten == ["r1"] * times


def test_a_replay_alone_takes_whatever_a_history_ends_with() -> None:
    """A replayer has no worker that could forget the run: it replays what is there."""
    hand_on({}, [FIRST, activation("resolve_activity", 10, 7)])
