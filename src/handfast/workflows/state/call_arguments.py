"""The arguments of calls: looked up in the transcript, compared with what was approved, placed for an activity."""

from __future__ import annotations

from handfast.errors import RequestClosedError
from handfast.payloads.json_profile import JsonObject
from handfast.payloads.requests import Request
from handfast.payloads.tool_call import ArgumentsAt
from handfast.workflows.frame.frame import Call, Frame
from handfast.workflows.frame.identity import Identity
from handfast.workflows.frame.table import FrameTable
from handfast.workflows.ledger import binding, requests
from handfast.workflows.state.transcript import Transcript
from handfast.workflows.tasks.command_budget import CommandBudget


class CallArguments:
    """Looks up the arguments of calls."""

    def __init__(self, frames: FrameTable, transcript: Transcript, budget: CommandBudget, identity: Identity) -> None:
        """Take the parts that know them.

        Args:
            frames: Hold the calls.
            transcript: Holds the items of their replies.
            budget: Says which arguments an activity's input may carry.
            identity: Of the workflow.
        """
        self._frames = frames
        self._transcript = transcript
        self._budget = budget
        self._identity = identity

    def item_of(self, frame: Frame, call: Call) -> JsonObject:
        """Return the item of the reply that made *call*."""
        assert frame.reply is not None
        return self._transcript.items(frame.reply)[call.plan.index]

    def of(self, frame: Frame, call: Call) -> JsonObject:
        """Return the arguments that *call* runs with."""
        return requests.arguments_of(call, self.item_of(frame, call))

    def of_request(self, request: Request) -> JsonObject | None:
        """Return the arguments that *request* asks about, whole; None where no call waits for it."""
        if request.arguments is not None:
            return request.arguments
        try:
            frame, call = self._frames.call_of(request)
        except RequestClosedError:
            return None
        return call.edited or self.of(frame, call)

    def placed(self, frame: Frame, call: Call) -> tuple[JsonObject | None, ArgumentsAt | None]:
        """Return the arguments of *call* as an activity gets them: inline, or the block where they stand."""
        return self._budget.placed(self.of(frame, call), requests.place_of(frame, call))

    def placed_of_request(self, request: Request) -> tuple[JsonObject | None, ArgumentsAt | None]:
        """Return the arguments that *request* asks about as an activity gets them.

        Raises:
            RequestClosedError: No call waits for it.
        """
        frame, call = self._frames.call_of(request)
        place = None if call.edited is not None else requests.place_of(frame, call)
        return self._budget.placed(self.of_request(request) or {}, place)

    def are_bound(self, frame: Frame, call: Call) -> bool:
        """Return whether the arguments of *call* are those that were approved: for calls without a tool's wrapper."""
        return binding.is_bound(frame, call, self.of(frame, call), self._identity)
