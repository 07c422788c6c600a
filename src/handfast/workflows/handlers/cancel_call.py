"""The handler through which a caller ends one call and leaves the run."""

from __future__ import annotations

from collections.abc import Sequence

from temporalio import workflow

from handfast.errors import CallEndedError, DecisionInvalidError, JsonProfileError, PayloadInvalidError, RefusalError
from handfast.payloads.json_profile import JsonObject, check_json
from handfast.payloads.requests import CallCancelled, CancelCall
from handfast.workflows.frame.frame import Call, Frame
from handfast.workflows.handlers.decode import check_person, only_argument, refusal_to_wire
from handfast.workflows.state.runs import Runs


class CallCanceller:
    """Handles the update `cancel_call`."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs

    def refuse(self, *args: object) -> None:
        """Validate the update `cancel_call`: a refusal leaves no trace in the history."""
        try:
            self._found(_read(args))
        except RefusalError as refusal:
            raise refusal_to_wire(refusal) from None

    def cancel_call(self, *args: object) -> JsonObject:
        """Update `cancel_call`: cancel a running call; keep one that has not begun from running."""
        try:
            given = _read(args)
            frame, call = self._found(given)
        except RefusalError as refusal:
            raise refusal_to_wire(refusal) from None
        running = call.state == "running"
        if call.cancelling is None:
            call.cancelling = given.reason or ""
            if running:
                self._runs.works[frame.id].cancel_call(call.call_id)
            elif call.state == "asking" and call.request is not None:
                why = f"its call was cancelled{f' by {given.by}' if given.by else ''}"
                self._runs.ledger.book.withdraw(call.request, workflow.now(), why)
            self._runs.changed()
        return CallCancelled(
            call_id=call.call_id, tool=call.tool, frame=frame.id, state="cancelling" if running else "cancelled"
        ).to_wire()

    def _found(self, given: CancelCall) -> tuple[Frame, Call]:
        found = [
            (frame, call)
            for frame in self._runs.frames.all
            if frame.id in self._runs.works and given.frame in (None, frame.id)
            for call in frame.calls
            if call.call_id == given.call_id
        ]
        if not found:
            raise CallEndedError(
                f"no call {given.call_id} is under way here; the query status lists those that are",
                call=given.call_id,
            )
        if len(found) > 1:
            frames = [frame.id for frame, _ in found]
            raise DecisionInvalidError(
                f"several loops have a call {given.call_id}; name one as frame: {', '.join(frames[:20])}"
            )
        [(frame, call)] = found
        self._check(call)
        return frame, call

    def _check(self, call: Call) -> None:
        facts = {"call": call.call_id, "state": call.state}
        if call.state in ("settled", "wording"):
            raise CallEndedError(f"{call.tool} {call.call_id} has its output already", **facts)
        if call.plan.kind == "handoff" and call.state == "running":
            raise CallEndedError(f"the handoff {call.tool} is taking place; it cannot be cancelled any more", **facts)
        if call.state == "asking" and call.request is not None:
            request = self._runs.ledger.book.entries[call.request].request
            if request.kind == "in_doubt":
                raise CallEndedError(
                    f"it is unknown how {call.tool} {call.call_id} ended; decide its request {request.id} instead",
                    request=request.id,
                    **facts,
                )


def _read(args: Sequence[object]) -> CancelCall:
    value = only_argument(args, '{"call_id", "frame"?, "reason"?, "by"?}')
    try:
        check_json(value)
        given = CancelCall.from_wire(value)
    except (JsonProfileError, PayloadInvalidError) as error:
        raise DecisionInvalidError(str(error)) from None
    check_person("by", given.by)
    return given
