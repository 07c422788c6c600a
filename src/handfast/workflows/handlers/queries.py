"""Queries: what may be read of a run while a worker answers. Nothing here changes anything."""

from __future__ import annotations

from handfast.payloads.base import json_size
from handfast.payloads.history import KeptHistory
from handfast.payloads.json_profile import JsonObject
from handfast.payloads.requests import Request
from handfast.payloads.runs import CallStatus, RunStatus
from handfast.payloads.transcript import TranscriptQuery
from handfast.workflows.frame.frame import Frame
from handfast.workflows.handlers.decode import read_optional
from handfast.workflows.loop import limits
from handfast.workflows.state.publish import LISTED_BYTES, listed
from handfast.workflows.state.runs import Runs


class Queries:
    """Handles the queries. No argument can break them, and they change nothing."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs

    def pending(self, *args: object) -> list[JsonObject]:
        """Query `pending_approvals`: return the open requests, or with an id that request with its whole arguments."""
        requests = self._runs.ledger.book.open_requests()
        one = args[0].get("id") if args and isinstance(args[0], dict) else None
        if one is None:
            return listed(requests)
        return [self._in_full(request).to_wire() for request in requests if request.id == one]

    def status(self, *_: object) -> JsonObject:
        """Query `status`."""
        runs, frames = self._runs, self._runs.frames
        frame = frames.run_frame
        pending = runs.ledger.book.open_requests()
        return RunStatus(
            status=runs.phase,
            agent=frame.agent if frame else None,
            turn=frame.turn if frame else 0,
            pending=len(pending),
            usage=frames.total_usage,
            by_request=runs.spending.of(frames.all),
            calls=[
                CallStatus(
                    call_id=call.call_id,
                    tool=call.tool,
                    state="cancelling" if call.state == "running" and call.cancelling is not None else call.state,
                    request=call.request,
                    agent_path=each.agent_path,
                )
                for each in frames.under(frame)
                for call in each.calls
            ],
            problem=limits.problem_of(pending, sum(each.held for each in frames.all)),
            guardrails=frames.guardrails_of(frame) if frame else [],
            history=_shown(frame),
        ).to_wire()

    def transcript(self, *args: object) -> JsonObject:
        """Query `transcript`: return a page of blocks."""
        query = read_optional(TranscriptQuery, args)
        frame = next((frame for frame in self._runs.frames.all if frame.id == query.frame), None)
        if frame is not None and query.whole:
            order = [*frame.earlier, *frame.blocks]
        else:
            order = frame.blocks if frame is not None and frame.epoch == query.epoch else []
            if frame is not None and query.current:
                order = [*frame.blocks, *(call.output for call in frame.calls if call.output is not None)]
        return self._runs.transcript.page(order, query).to_wire()

    def _in_full(self, request: Request) -> Request:
        """Return an open request with its whole arguments, if one answer has room for them."""
        arguments = self._runs.arguments.of_request(request)
        if arguments is None or json_size(arguments) > LISTED_BYTES:
            return request
        return request.model_copy(
            update={"arguments": arguments, "arguments_preview": None, "arguments_bytes": None},
        )


def _shown(frame: Frame | None) -> KeptHistory | None:
    if frame is None or frame.history is None:
        return None
    return frame.history.model_copy(update={"uncertain": None})
