"""A decision or a message was refused, and nothing was changed. These travel: `REFUSALS` finds each by its name."""

from __future__ import annotations

from handfast.payloads.errors import HandfastError


class RefusalError(HandfastError):
    """A decision was not recorded, and nothing was changed. Raised as one of its subclasses.

    Attributes:
        facts: What a program needs to react, as plain JSON; survives the way over the wire.
    """

    def __init__(self, message: str, **facts: str | list[str] | None) -> None:
        super().__init__(message)
        self.message = message
        self.facts = facts


class DecisionInvalidError(RefusalError):
    """The decision cannot be read: wrong shape, unknown verdict, missing id."""


class UnknownRequestError(RefusalError):
    """No request of this run has that id."""


class RequestClosedError(RefusalError):
    """The request was already decided, has expired, or was withdrawn; the facts say by whom and when."""


class DeadlinePassedError(RefusalError):
    """An approval came after the request's deadline."""


class StaleDigestError(RefusalError):
    """The digest sent along is not the request's: the decision was made on something else."""


class VerdictNotAllowedError(RefusalError):
    """The kind of request does not take that verdict."""


class DecisionConflictError(RefusalError):
    """The decision id was used before, with other content."""


class EditRefusedError(RefusalError):
    """The edited arguments do not satisfy the tool's schema, or its rule failed on them; the request stays open."""


class AnswerRefusedError(RefusalError):
    """The answer is no text, or does not satisfy the question's form; the request stays open."""


class GrantRefusedError(RefusalError):
    """The grant would not let the run go on, or raises a limit that the run does not have; nothing was changed."""


class NotAnApproverError(RefusalError):
    """The request names who may decide it, and it is somebody else, or nobody said who."""


class RequesterExcludedError(RefusalError):
    """The person who asked for the call, or changed its arguments, may not decide it."""


class AlreadyVotedError(RefusalError):
    """The person's vote on the request is counted already."""


class GroupsUnknownError(RefusalError):
    """The groups of the decider could not be looked up; the request stays open."""


class RememberRefusedError(RefusalError):
    """The decision cannot be remembered as it says; without `remember` it may be taken."""


class DecisionUnsignedError(RefusalError):
    """The run, or its worker, takes signed decisions only, and this one is not signed, or cannot be."""


class SigningKeyUnknownError(RefusalError):
    """The decision is signed with a key that the worker does not trust, or no longer does."""


class SigningKeyRetiredError(RefusalError):
    """The decision is signed with a key that is kept only to verify what was decided before."""


class SignerNotAllowedError(RefusalError):
    """The key that signed does not sign for the person who is said to have decided."""


class SignatureInvalidError(RefusalError):
    """The signature is not one of this decision: it was changed, or made for another run, request or namespace."""


class ClockSkewError(RefusalError):
    """The decision is signed with a time at which it cannot have been made; the facts say which, and the worker's."""


class KeysUnavailableError(RefusalError):
    """The run takes signed decisions only, and its worker has no keys to verify one with."""


class TooManySignalsError(RefusalError):
    """More signals came at once than are read: it was refused unread, or unchecked; an update is still taken."""


class CallEndedError(RefusalError):
    """The call has its output already, was never made, or ended in a way that only its request can settle."""


class MessageInvalidError(RefusalError):
    """The message cannot be taken: it is empty, too large, or none at all."""


class MessageConflictError(RefusalError):
    """The message id was used before, with other content."""


class MessageRefusedError(RefusalError):
    """The run takes no message now; the fact ``reason`` says why: no model call is to come, or too many wait."""


class SessionClosedError(RefusalError):
    """The session is closed, or has ended in another way, and takes no more messages."""


class RunEndedError(RefusalError):
    """The run has ended; nothing of it waits any longer."""


REFUSALS: dict[str, type[RefusalError]] = {
    kind.__name__: kind
    for kind in (
        DecisionInvalidError,
        UnknownRequestError,
        RequestClosedError,
        DeadlinePassedError,
        StaleDigestError,
        VerdictNotAllowedError,
        DecisionConflictError,
        EditRefusedError,
        AnswerRefusedError,
        GrantRefusedError,
        NotAnApproverError,
        RequesterExcludedError,
        AlreadyVotedError,
        GroupsUnknownError,
        RememberRefusedError,
        DecisionUnsignedError,
        SigningKeyUnknownError,
        SigningKeyRetiredError,
        SignerNotAllowedError,
        SignatureInvalidError,
        ClockSkewError,
        KeysUnavailableError,
        TooManySignalsError,
        CallEndedError,
        MessageInvalidError,
        MessageConflictError,
        MessageRefusedError,
        SessionClosedError,
        RunEndedError,
    )
}
"""Refusals by the type name that they carry on the wire."""
