"""Says when a workflow leaves its history for a fresh one: it has become long, or outdated, and all is quiet."""

from __future__ import annotations

from collections.abc import Callable

from pydantic import BaseModel
from temporalio import workflow

from handfast.payloads.continuation import SEGMENT_EVENTS


class SegmentState(BaseModel):
    """All that lasts of it.

    Attributes:
        segment_events: Events of a history after which it is left.
        left_version: The workers' version, where a history was left for a newer version's sake. Where the next one has
            got the same version again, as an operator may have pinned it, it is not left for that a second time.
    """

    segment_events: int = SEGMENT_EVENTS
    left_version: str | None = None


class Segment:
    """Says when to leave a history, and what is held back for it.

    Nothing begins any more once all is quiet. While something is under way, other calls begin as ever, until the
    history is twice as long as it should be: a tool that works for hours would otherwise hold up calls that a person
    has just approved.
    """

    def __init__(self, state: SegmentState, quiet: Callable[[], bool]) -> None:
        """Work on *state*; *quiet* returns whether nothing is under way."""
        self._state = state
        self._quiet = quiet
        self._due_at = state.segment_events
        self._may_leave: Callable[[], bool] | None = None
        self._outdated = False

    def after(self, segment_events: int) -> None:
        """Leave after so many events, as whoever started the run said."""
        self._state.segment_events = self._due_at = segment_events

    def begin(self, may_leave: Callable[[], bool]) -> None:
        """Note that the workflow wants to leave; *may_leave* returns whether its own part can be taken along."""
        self._may_leave = may_leave

    def end(self) -> None:
        """Stay in this history for good."""
        self._may_leave = None

    def postpone(self, until: int) -> None:
        """Stay in this history until it has that many events."""
        self._due_at = until

    @property
    def due(self) -> bool:
        """True once the history is long enough to leave it, and everything that cannot be taken along has ended."""
        info = workflow.info()
        if info.cron_schedule:
            return False  # a run that goes on could not be told from the next one of the schedule
        if info.is_target_worker_deployment_version_changed() and self._state.left_version != version():
            self._outdated = True  # for good: what is held back for it must not be forgotten
        long = info.get_current_history_length() >= self._due_at or (
            self._due_at == self._state.segment_events and info.is_continue_as_new_suggested()
        )
        return self._may_leave is not None and (long or self._outdated) and self._may_leave()

    @property
    def holds(self) -> bool:
        """True while nothing new may begin: all is quiet, or it has taken too long to become so."""
        if not self.due:
            return False
        return self._quiet() or workflow.info().get_current_history_length() >= 2 * self._due_at

    def carried(self) -> SegmentState:
        """Return the state as it goes into the next history.

        The version that an older history was left for says nothing about a run that has moved on since.
        """
        here = version()
        left = here if self._outdated or self._state.left_version == here else None
        return self._state.model_copy(update={"left_version": left})


def version() -> str | None:
    """Return the version of the worker that this workflow task is for; None where workers are not versioned."""
    found = workflow.info().get_current_deployment_version()
    return found.to_canonical_string() if found is not None and found.deployment_name else None


def next_version() -> workflow.ContinueAsNewVersioningBehavior | None:
    """Return where the next history begins: on the current version, also where this one was pinned to an older one."""
    return None if version() is None else workflow.ContinueAsNewVersioningBehavior.AUTO_UPGRADE
