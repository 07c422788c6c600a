"""Reading what comes in from outside: by hand, so that no argument can stop a workflow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from handfast.errors import DecisionInvalidError, JsonProfileError, PayloadInvalidError, RefusalError
from handfast.payloads.base import Payload, Undecodable, json_size
from handfast.payloads.continuation import Carry
from handfast.payloads.json_profile import JsonObject, JsonValue, check_json, scrub
from handfast.payloads.people import REVIEWER, is_reviewer
from handfast.payloads.requests import DECISION_BYTES, Approve, Decision, Reject
from handfast.payloads.runs import RunInput
from handfast.payloads.sessions import SessionInput
from handfast.payloads.transcript import BLOCK_BYTES
from handfast.payloads.usage import Spent, Usage
from handfast.workflows.ledger.log import WHY_CHARACTERS
from handfast.workflows.tasks.unread import check_start, require_readable

PayloadT = TypeVar("PayloadT", bound=Payload)
InputT = TypeVar("InputT", bound=RunInput)


def only_argument(args: Sequence[object], expected: str, invalid: type[RefusalError] = DecisionInvalidError) -> object:
    """Return the one argument that a handler takes.

    Raises:
        RefusalError: *invalid*: none or several came, or it could not be decoded.
    """
    if len(args) != 1:
        raise invalid(f"expected one argument, {expected}; got {len(args)}")
    if isinstance(args[0], Undecodable):
        raise invalid(f"the argument could not be decoded: {args[0].problem}")
    return args[0]


def read_decision(args: Sequence[object]) -> Decision:
    """Read the argument of the update or signal `decide`.

    Raises:
        DecisionInvalidError: It is none; the text says what was expected.
    """
    value = only_argument(args, '{"id", "verdict": {"kind"}, "decided_by"}')
    return _decision(value)


def read_shorthand(kind: str, args: Sequence[object]) -> Decision:
    """Read the argument of the signals `approve` and `reject`: an object, or just the request's id.

    Raises:
        DecisionInvalidError: It is none of the two.
    """
    value = only_argument(args, 'a request id or {"id", "decided_by"}')
    if isinstance(value, str):
        value = {"id": value}
    if not isinstance(value, dict):
        raise DecisionInvalidError(f"expected a request id or an object, got {type(value).__name__}")
    verdict: dict[str, JsonValue] = {"kind": kind}
    for field in ("arguments", "reason"):
        if field in value and field in (Approve if kind == "approve" else Reject).model_fields:
            verdict[field] = value[field]
    kept = {key: item for key, item in value.items() if key not in ("arguments", "reason", "verdict")}
    return _decision({**kept, "verdict": verdict})


def read_stop(args: Sequence[object]) -> str:
    """Read the argument of the signal `stop`: nothing, a reason, or an object with one.

    Raises:
        DecisionInvalidError: It is none of these.
    """
    value = only_argument(args, '{"reason"}') if args else None
    if isinstance(value, dict):
        value = value.get("reason")
    if value is None:
        return ""
    if not isinstance(value, str):
        raise DecisionInvalidError("stop takes a reason as text, or nothing")
    return scrub(value[:WHY_CHARACTERS])


def _decision(value: object) -> Decision:
    try:
        check_json(value)
        decision = Decision.from_wire(value)
    except (JsonProfileError, PayloadInvalidError) as error:
        raise DecisionInvalidError(str(error)) from None
    if decision.size > DECISION_BYTES:
        raise DecisionInvalidError(f"a decision may have {DECISION_BYTES // 1024} KiB at most")
    check_person("decided_by", decision.decided_by, request=decision.id)
    return decision


def check_person(field: str, name: str | None, request: str | None = None) -> None:
    """Refuse the name of a reviewer in what comes in.

    Raises:
        DecisionInvalidError: It is one.
    """
    if name is not None and is_reviewer(name):
        raise DecisionInvalidError(
            f"{field} names a reviewer, whose decisions come from a worker alone; say which person it is, without "
            f"{REVIEWER!r} before the name",
            request=request,
        )


def read_start(args: Sequence[object], expected: str, kind: type[InputT]) -> InputT:
    """Read the argument that a run or a session starts with.

    Args:
        args: All arguments that came.
        expected: How the error begins.
        kind: What it is.

    Raises:
        ApplicationError: ``StartInvalid``, saying what was expected.
        PayloadUnreadableError: A key is missing here: the workflow task fails, and is tried again.
    """
    if len(args) != 1:
        raise _start_invalid(f"{expected}; got {len(args)} arguments")
    if isinstance(args[0], Undecodable):
        check_start(args[0])
        raise _start_invalid(f"{expected}; the argument could not be decoded: {args[0].problem}")
    try:
        check_json(args[0])
        given = kind.from_wire(args[0])
    except PayloadInvalidError as error:
        raise _start_invalid(f"{expected}; {'; '.join(error.problems)}") from None
    except JsonProfileError as error:
        raise _start_invalid(f"{expected}; {error.problem}") from None
    imported = given.import_items if isinstance(given, SessionInput) else None
    for name, value in (("input", given.input), ("import_items", imported), ("context", given.context)):
        if (size := json_size(value)) > BLOCK_BYTES:
            raise _start_invalid(
                f"{expected}; {name}: takes {size:,} bytes as JSON in ASCII, and at most {BLOCK_BYTES:,} can reach the "
                "agent; store it elsewhere and give the agent a tool that reads it"
            )
    return given


def read_carry(args: Sequence[object]) -> Carry | None:
    """Read the state that a workflow of ours goes on with; None where it is started anew."""
    if workflow.info().continued_run_id is not None:
        require_readable(args)
    if not is_continuation() or len(args) != 1 or not isinstance(args[0], dict):
        return None
    return Carry.from_wire(args[0]["carried"]) if "carried" in args[0] else None


def is_continuation() -> bool:
    """Return whether this history goes on from one that was left for it.

    With a cron schedule the next run gets the argument of whoever started the first one; and with a retry policy the
    argument that the run that failed began with, in which what it has done since is still to be done.
    """
    info = workflow.info()
    return info.continued_run_id is not None and not info.cron_schedule and info.attempt == 1


def _start_invalid(message: str) -> ApplicationError:
    details: tuple[JsonObject, JsonObject] = ({}, Spent(usage=Usage()).to_wire())  # as of every run that fails
    return ApplicationError(message, *details, type="StartInvalid", non_retryable=True)


def read_optional(kind: type[PayloadT], args: Sequence[object]) -> PayloadT:
    """Read the argument of a query; without one, its defaults.

    Raises:
        ApplicationError: It is no such payload.
    """
    try:
        return kind.from_wire(args[0] if args else {})
    except PayloadInvalidError as error:
        raise ApplicationError(str(error), type="QueryInvalid", non_retryable=True) from None


def refusal_to_wire(refusal: RefusalError) -> ApplicationError:
    """Shape a refusal so that a client in any language can react to its type and facts."""
    facts: dict[str, Any] = {key: value for key, value in refusal.facts.items() if value is not None}
    return ApplicationError(refusal.message, facts, type=type(refusal).__name__, non_retryable=True)
