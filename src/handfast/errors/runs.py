"""Errors of runs and sessions, for clients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from handfast.payloads.errors import HandfastError

if TYPE_CHECKING:
    from handfast.payloads.usage import Usage


class RunExistsError(HandfastError):
    """A run with this id is going on already."""

    def __init__(self, run_id: str) -> None:
        super().__init__(f"a run with the id {run_id} is going on; attach with if_exists='attach', or take another id")
        self.run_id = run_id


class RunNotFoundError(HandfastError):
    """The server knows no run with this id (any more)."""

    def __init__(self, run_id: str) -> None:
        super().__init__(f"there is no run {run_id}; list them with `handfast runs`")
        self.run_id = run_id


class HistoryExpiredError(RunNotFoundError):
    """The server no longer has (a part of) the run's history, and no archive that is known here has it.

    Attributes:
        temporal_run_id: Of the history that is gone; empty where all are.
    """

    def __init__(self, run_id: str, temporal_run_id: str = "") -> None:
        HandfastError.__init__(
            self,
            f"the server no longer has the history {temporal_run_id or '(any)'} of {run_id}: its retention is over, "
            "and no archive is known here that has it; give Handfast(archive=…) or HANDFAST_ARCHIVE the workers' one",
        )
        self.run_id = run_id
        self.temporal_run_id = temporal_run_id


class RunGoesOnError(HandfastError):
    """The run has not ended, and what was asked for is for runs that have."""

    def __init__(self, run_id: str) -> None:
        super().__init__(f"{run_id} goes on; cancel it first, or erase it with terminate=True")
        self.run_id = run_id


class RunFailedError(HandfastError):
    """The run ended without an answer.

    Attributes:
        kind: What ended it: ``UnknownAgent``, ``StartInvalid``, ``ModelRefused``, ``MaxTurnsExceeded``,
            ``ToolFailed``, ``GuardrailTripped``, …
        facts: More about it, as plain JSON: which guardrail, say.
        may_have_happened: Where it was terminated, or its own timeout passed: the calls that may have taken effect, or
            still will, each with ``tool``, ``call_id``, ``agent_path``, ``turn`` and ``why``.
        usage: What it had spent by then; None where that is not known.
    """

    def __init__(
        self,
        run_id: str,
        kind: str,
        message: str,
        facts: Mapping[str, Any] | None = None,
        usage: Usage | None = None,
    ) -> None:
        super().__init__(f"{run_id} failed ({kind}): {message}")
        self.run_id = run_id
        self.kind = kind
        self.message = message
        self.facts = facts or {}
        self.usage = usage

    @property
    def may_have_happened(self) -> tuple[Mapping[str, Any], ...]:
        """See above."""
        return tuple(self.facts.get("may_have_happened", ()))


class RunCancelledError(HandfastError):
    """The run was cancelled; what was pending has been withdrawn.

    Attributes:
        usage: What it had spent by then; None where no worker answered that question.
    """

    def __init__(self, run_id: str, reason: str, usage: Usage | None = None) -> None:
        super().__init__(f"{run_id} was cancelled: {reason or 'no reason given'}")
        self.run_id = run_id
        self.reason = reason
        self.usage = usage


class WaitingForPeople(HandfastError):
    """The run goes on once a person has decided.

    Attributes:
        request_ids: What waits.
    """

    def __init__(self, run_id: str, request_ids: Sequence[str]) -> None:
        super().__init__(f"{run_id} waits for a person: {', '.join(request_ids)}")
        self.run_id = run_id
        self.request_ids = tuple(request_ids)


class UpdateLimitError(HandfastError):
    """The server takes no further update to the run, in the history that it has at present; nothing was changed."""

    def __init__(self, run_id: str) -> None:
        super().__init__(
            f"{run_id} has had as many updates as the server takes in one history (2,000), or has too many under way "
            "(10); try again when what it does now has ended. Decisions and messages are taken meanwhile"
        )
        self.run_id = run_id


class SignalLimitError(HandfastError):
    """The server takes no further signal to the run, in the history that it has at present.

    A decision that was refused so was not stored; the update that was tried first may still reach a worker. To decide
    again under the same `decision_id` is harmless.
    """

    def __init__(self, run_id: str) -> None:
        super().__init__(
            f"{run_id} has had as many signals as the server takes in one history (10,000), and no worker answers; "
            "start one, and do it again: it goes by update then"
        )
        self.run_id = run_id


class OffsetUnknownError(HandfastError):
    """The offset is no place in this run's events: it is another run's, or none at all."""

    def __init__(self, run_id: str, offset: str) -> None:
        super().__init__(
            f"{offset[:128]!r} is no place in the events of {run_id}; take the offset of one of its events, or none"
        )
        self.run_id = run_id
        self.offset = offset


if TYPE_CHECKING:
    from handfast.payloads.sessions import TurnFailure
    from handfast.payloads.usage import Usage


class SessionNotFoundError(RunNotFoundError):
    """There is no session with this id (any more), and no agent was named to begin one with."""

    def __init__(self, session_id: str) -> None:
        super().__init__(session_id)
        self.args = (f"there is no session {session_id}; name an agent to begin one with",)
        self.session_id = session_id


class TurnFailedError(RunFailedError):
    """A message of a session was not answered; the session goes on.

    Attributes:
        message_id: Which message.
        failure: The same as `kind`, `message` and `facts`.
    """

    def __init__(self, session_id: str, message_id: str, failure: TurnFailure, usage: Usage | None = None) -> None:
        super().__init__(session_id, failure.type, failure.message, failure.facts, usage)
        self.args = (f"message {message_id} of {session_id} failed ({failure.type}): {failure.message}",)
        self.session_id = session_id
        self.message_id = message_id
        self.failure = failure


class AnswerExpiredError(HandfastError):
    """A message of a session was answered, and its output is no longer kept at hand.

    Attributes:
        message_id: Which message.
    """

    def __init__(self, session_id: str, message_id: str) -> None:
        super().__init__(
            f"message {message_id} of {session_id} was answered, and the answer is no longer kept by its id; "
            "read it in the session's items() or events()"
        )
        self.session_id = session_id
        self.message_id = message_id
