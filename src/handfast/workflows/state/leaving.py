"""The moment at which a workflow goes on in a fresh history: it has become long, or old, and all is quiet."""

from __future__ import annotations

from collections.abc import Callable

from temporalio import workflow


class Leaving:
    """Says when to leave a history, and what is held back for it.

    Attributes:
        segment_events: Events of the history after which all goes on in a fresh one.
        outdated: Its workers are of a version that is no longer the current one, and there was a newer one to go to.
        left: The version that a former history was left for another one's sake. Where the next one has got the same
            again, as an operator may have pinned it, it is not left for that a second time.
    """

    def __init__(self, segment_events: int, quiet: Callable[[], bool]) -> None:
        """Take how long a history may become, and what tells whether nothing is under way."""
        self.segment_events = segment_events
        self._quiet = quiet
        self._due_at = segment_events
        self._may_leave: Callable[[], bool] | None = None
        self.outdated = False
        self.left: str | None = None

    def after(self, segment_events: int) -> None:
        """Leave after so many events, as whoever started the run said."""
        self.segment_events = self._due_at = segment_events

    def begin(self, may_leave: Callable[[], bool]) -> None:
        """Take it that somebody waits for that moment.

        Args:
            may_leave: Nothing of the workflow is under way that could not be taken along.
        """
        self._may_leave = may_leave

    def end(self) -> None:
        """Stay in this history for good."""
        self._may_leave = None

    def postpone(self, until: int) -> None:
        """Stay in this history until it has that many events."""
        self._due_at = until

    @property
    def due(self) -> bool:
        """Whether the history is long enough to leave it, and what cannot be taken along has ended."""
        info = workflow.info()
        if info.cron_schedule:
            return False  # a run that goes on could not be told from the next one of the schedule
        if info.is_target_worker_deployment_version_changed() and self.left != version():
            self.outdated = True  # for good: what is held back for it must not be forgotten
        long = info.get_current_history_length() >= self._due_at or (
            self._due_at == self.segment_events and info.is_continue_as_new_suggested()
        )
        return self._may_leave is not None and (long or self.outdated) and self._may_leave()

    @property
    def carried(self) -> str | None:
        """What `left` is in the next history: the version of this one, where leaving it for a newer one was tried.

        What an older history was left for says nothing about a run that has moved on since.
        """
        return version() if self.outdated or self.left == version() else None

    @property
    def holds(self) -> bool:
        """Whether nothing new may begin: all is quiet, or it has taken too long to become so."""
        if not self.due:
            return False
        return self._quiet() or workflow.info().get_current_history_length() >= 2 * self._due_at


def version() -> str | None:
    """The version of the worker that this workflow task is for; None where workers are not versioned."""
    found = workflow.info().get_current_deployment_version()
    return found.to_canonical_string() if found is not None and found.deployment_name else None


def next_version() -> workflow.ContinueAsNewVersioningBehavior | None:
    """Where the next history begins: on the current version, also where this one was pinned to an older one."""
    return None if version() is None else workflow.ContinueAsNewVersioningBehavior.AUTO_UPGRADE
