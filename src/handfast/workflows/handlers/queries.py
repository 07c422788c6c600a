"""Queries: what may be read of a run while a worker answers. Nothing here changes anything."""

from __future__ import annotations

from handfast.payloads.json_profile import JsonObject
from handfast.payloads.runs import CallStatus, RunStatus
from handfast.payloads.transcript import TranscriptQuery
from handfast.workflows.frame import provider_history
from handfast.workflows.frame.table import total_usage
from handfast.workflows.handlers.decode import read_optional
from handfast.workflows.loop import limits
from handfast.workflows.state.publish import listed
from handfast.workflows.state.run_state import RunState


class Queries:
    """Handlers that no argument can break."""

    def __init__(self, state: RunState) -> None:
        self._state = state

    def pending(self, *args: object) -> list[JsonObject]:
        """The open requests; or the one whose id is asked for, with its arguments whole."""
        requests = self._state.ledger.book.open_requests()
        one = args[0].get("id") if args and isinstance(args[0], dict) else None
        if one is None:
            return listed(requests)
        return [self._state.in_full(request).to_wire() for request in requests if request.id == one]

    def status(self, *_: object) -> JsonObject:
        """Where the run stands."""
        state = self._state
        frame = state.run_frame
        pending = state.ledger.book.open_requests()
        return RunStatus(
            status=state.phase,
            agent=frame.agent if frame else None,
            turn=frame.turn if frame else 0,
            pending=len(pending),
            usage=total_usage(state.frames),
            by_request=state.spending.of(state.frames),
            calls=[
                CallStatus(
                    call_id=call.call_id,
                    tool=call.tool,
                    state="cancelling" if call.state == "running" and call.cancelling is not None else call.state,
                    request=call.request,
                    agent_path=each.agent_path,
                )
                for each in state.under(frame)
                for call in each.calls
            ],
            problem=limits.problem_of(pending, sum(each.held for each in state.frames)),
            guardrails=state.guardrails_of(frame) if frame else [],
            history=provider_history.shown(frame),
        ).to_wire()

    def transcript(self, *args: object) -> JsonObject:
        """A page of blocks."""
        query = read_optional(TranscriptQuery, args)
        frame = next((frame for frame in self._state.frames if frame.id == query.frame), None)
        if frame is not None and query.whole:
            order = [*frame.earlier, *frame.blocks]
        else:
            order = frame.blocks if frame is not None and frame.epoch == query.epoch else []
            if frame is not None and query.current:
                order = [*frame.blocks, *(call.output for call in frame.calls if call.output is not None)]
        return self._state.transcript.page(order, query).to_wire()
