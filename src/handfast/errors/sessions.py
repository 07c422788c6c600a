"""Errors of sessions, for clients."""

from __future__ import annotations

from typing import TYPE_CHECKING

from handfast.errors.runs import RunFailedError, RunNotFoundError
from handfast.payloads.errors import HandfastError

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
