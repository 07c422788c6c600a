"""The handler through which a caller gives a run more turns, tokens, time or money."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from temporalio import workflow

from handfast.errors import (
    DecisionInvalidError,
    GrantRefusedError,
    JsonProfileError,
    PayloadInvalidError,
    RefusalError,
)
from handfast.payloads.json_profile import JsonObject, check_json
from handfast.payloads.requests import Decision, Grant, LimitKind, LimitsRaised, RaiseLimits, Request
from handfast.workflows.frame.frame import Frame
from handfast.workflows.handlers.decode import check_person, only_argument, refusal_to_wire
from handfast.workflows.handlers.signatures import refuse_unverified
from handfast.workflows.loop import limits
from handfast.workflows.state.runs import Runs


class LimitRaiser:
    """Handles the update `raise_limits`."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs

    def refuse(self, *args: object) -> None:
        """Validate the update `raise_limits`: a refusal leaves no trace in the history."""
        try:
            given = _read(args)
            if not self._runs.about_to_begin:
                _, request = self._checked(given)
                if request is not None:  # also where the run has no recorded word yet that it takes signed ones only
                    refuse_unverified(_granted(request, given), self._runs.ledger, self._runs.identity)
        except RefusalError as refusal:
            raise refusal_to_wire(refusal) from None

    async def raise_limits(self, *args: object) -> JsonObject:
        """Update `raise_limits`: raise the limits of a loop, or grant its open budget request."""
        if self._runs.about_to_begin:  # it came together with the start
            await workflow.wait_condition(lambda: not self._runs.about_to_begin)
        try:
            given = _read(args)
            frame, request = self._checked(given)
        except RefusalError as refusal:
            raise refusal_to_wire(refusal) from None
        ledger, now, more = self._runs.ledger, workflow.now(), _grant(given)
        if request is not None:
            ledger.record(_granted(request, given), now)
            limits.apply_decision(frame, ledger.book.entries[request.id])
        else:
            limits.grant(frame, more, session=bool(given.session))
            ledger.log.note_raise("of the session" if given.session else frame.id, more, given.by, now)
        self._runs.changed()
        return LimitsRaised(
            frame=frame.id,
            max_turns=limits.turns_of(frame),
            max_tokens=limits.tokens_of(frame),
            max_seconds=limits.seconds_of(frame),
            max_cost=limits.cost_of(frame),
            request=request.id if request else None,
            session_turns=frame.session_turns,
            session_tokens=frame.session_tokens,
            session_cost=frame.session_cost,
        ).to_wire()

    def _checked(self, given: RaiseLimits) -> tuple[Frame, Request | None]:
        if given.session:
            frame = self._session()
            _refuse_absent(
                "the session",
                ("turns", given.turns, frame.session_turns),
                ("tokens", given.tokens, frame.session_tokens),
                ("time", given.seconds, None),
                ("cost", given.cost, frame.session_cost),
            )
        else:
            frame = self._runs.frames.addressed(given.frame, DecisionInvalidError)
            if frame.limit_known or frame.unlimited:
                _refuse_absent(
                    frame.agent,
                    ("turns", given.turns, frame.max_turns),
                    ("tokens", given.tokens, frame.max_tokens),
                    ("time", given.seconds, frame.max_seconds),
                    ("cost", given.cost, frame.max_cost),
                )
        request = next((each for each in self._budgets() if each.frame == frame.id), None)
        if request is not None and given.session and not (request.facts or {}).get("session"):
            request = None  # it asks for the message under way alone
        if request is not None:
            self._runs.ledger.check(_granted(request, given), workflow.now())
        return frame, request

    def _session(self) -> Frame:
        found = next((frame for frame in self._runs.frames.all if frame.lasts), None)
        if found is None:
            raise DecisionInvalidError("this is no session; leave session out to raise the limits of a run")
        return found

    def _budgets(self) -> list[Request]:
        return [each for each in self._runs.ledger.book.open_requests() if each.kind == "budget"]


def _refuse_absent(who: str, *limits_named: tuple[LimitKind, int | Decimal | None, float | Decimal | None]) -> None:
    """Refuse to raise what has no limit."""
    for what, more, limit in limits_named:
        if more is not None and limit is None:
            raise GrantRefusedError(f"{who} has no limit of {what} that could be raised", limit=what)


def _granted(request: Request, given: RaiseLimits) -> Decision:
    """Return the unsigned decision that a raise amounts to where a budget request is open."""
    return Decision(id=request.id, verdict=_grant(given), decided_by=given.by)


def _grant(given: RaiseLimits) -> Grant:
    return Grant(turns=given.turns, tokens=given.tokens, seconds=given.seconds, cost=given.cost)


def _read(args: Sequence[object]) -> RaiseLimits:
    value = only_argument(args, '{"turns"?, "tokens"?, "seconds"?, "cost"?}')
    try:
        check_json(value)
        given = RaiseLimits.from_wire(value)
    except (JsonProfileError, PayloadInvalidError) as error:
        raise DecisionInvalidError(str(error)) from None
    check_person("by", given.by)
    if given.turns is None and given.tokens is None and given.seconds is None and given.cost is None:
        raise DecisionInvalidError("say how many turns, tokens or seconds, or how much money, are added")
    return given
