"""Events of requests: opened, decided, expired, withdrawn."""

from __future__ import annotations

from typing import Literal

from handfast.payloads.base import Instant
from handfast.payloads.events.base import InFrame, OfRequest
from handfast.payloads.json_profile import JsonObject, JsonValue
from handfast.payloads.remember import Remember
from handfast.payloads.requests import DeadlineDefault, Request
from handfast.payloads.review import LeftBecause
from handfast.payloads.review_call import ReviewMessage
from handfast.payloads.usage import Usage


class RequestOpened(InFrame):
    """Something waits for a person: `request` says what. Opened and closed within one step, it has no such event."""

    type: Literal["request_opened"] = "request_opened"
    request: Request


class RequestVoted(OfRequest):
    """A vote was counted, and the request waits for more."""

    type: Literal["request_voted"] = "request_voted"


class RequestEdited(OfRequest):
    """A request was closed, as its arguments were changed: they are asked about anew.

    Attributes:
        arguments: Those that are asked about.
    """

    type: Literal["request_edited"] = "request_edited"
    arguments: JsonObject | None = None
    decision_id: str | None = None


class ApprovalVoided(OfRequest):
    """An approval no longer held when its call was about to run: `why` says what had changed. It is asked for anew.

    With the verdict *give_up* it is not: that was often enough, and `tool_not_run` follows.
    """

    type: Literal["approval_voided"] = "approval_voided"


class RequestDecided(OfRequest):
    """A person's decision closed a request.

    Attributes:
        why: Note or reason, up to 512 characters; or which remembered decision answered it.
        arguments: What a person put in place of the model's.
        output: What a person answered.
    """

    type: Literal["request_decided"] = "request_decided"
    arguments: JsonObject | None = None
    output: JsonValue = None
    decision_id: str | None = None
    remember: Remember | None = None


class DecisionRepeated(OfRequest):
    """A decision came once more, and got the receipt of the first time: it changed nothing."""

    type: Literal["decision_repeated"] = "decision_repeated"
    decision_id: str | None = None


class RequestRefused(OfRequest):
    """A decision, or another message, that came by signal was refused, and changed nothing: `why` says the reason."""

    type: Literal["request_refused"] = "request_refused"
    decision_id: str | None = None


class RequestReviewed(OfRequest):
    """A reviewer has judged a request: `by` with `verdict` and `why`. `request_decided` follows where that closes it.

    Attributes:
        verdict: *approve*, *reject* or *leave*; None where it said nothing.
        why: Its reason; of *failed*, *unsigned* and *refused* in `left`, what happened.
        confidence: From 0 to 1.
        left: Why people decide nevertheless, as `Review` has it; None: they need not.
        sampled: Whether the request is one of those that people decide anyway; None where there are none such.
        messages: What the reviewer was shown of the conversation, beside the request and its arguments.
        usage: Of its model call, where it is a `ModelReviewer`; `model` is the model's name.
    """

    type: Literal["request_reviewed"] = "request_reviewed"
    confidence: float | None = None
    left: LeftBecause | None = None
    sampled: bool | None = None
    messages: list[ReviewMessage] = []
    usage: Usage | None = None
    model: str | None = None


class RequestReminded(OfRequest):
    """A request still waits, and was brought to mind.

    Attributes:
        due: When that was to be.
    """

    type: Literal["request_reminded"] = "request_reminded"
    due: Instant | None = None


class RequestEscalated(OfRequest):
    """Nobody has decided a request in time: others may, too.

    Attributes:
        due: When that was to be.
        approvers: Who may decide from now on, beside those who could before.
    """

    type: Literal["request_escalated"] = "request_escalated"
    due: Instant | None = None
    approvers: list[str] | None = None


class NotificationFailed(OfRequest):
    """People could not be told of a request: `why` says which notification it was, and the reason."""

    type: Literal["notification_failed"] = "notification_failed"


class RequestExpired(OfRequest):
    """A request passed its deadline.

    Attributes:
        on_deadline: What that means for it.
    """

    type: Literal["request_expired"] = "request_expired"
    on_deadline: DeadlineDefault | None = None


class RequestWithdrawn(OfRequest):
    """Nobody has to decide a request any more: `why` says the reason."""

    type: Literal["request_withdrawn"] = "request_withdrawn"


class DecisionRemembered(OfRequest):
    """An earlier decision answered a call, which was not asked about: `request` is the one that was decided then."""

    type: Literal["remembered"] = "remembered"
    remember: Remember | None = None


RequestEvent = (
    RequestOpened
    | RequestVoted
    | RequestEdited
    | ApprovalVoided
    | RequestDecided
    | DecisionRepeated
    | RequestRefused
    | RequestReviewed
    | RequestReminded
    | RequestEscalated
    | NotificationFailed
    | RequestExpired
    | RequestWithdrawn
    | DecisionRemembered
)
