"""The frames of one workflow: a run and its nested loops are a tree of them."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import BaseModel

from handfast.errors import RefusalError, RequestClosedError, RunEndedError
from handfast.payloads.guardrails import GuardrailResult, kept
from handfast.payloads.model_call import ToldHooks
from handfast.payloads.requests import Request
from handfast.payloads.usage import Usage
from handfast.workflows.frame.frame import Call, Frame


class FrameTable(BaseModel):
    """All frames of a workflow.

    Attributes:
        all: The frames, in the order in which they began.
        next_id: Number of the next frame.
    """

    all: list[Frame] = []
    next_id: int = 0

    def new_id(self) -> str:
        """Return the id of a new frame."""
        self.next_id += 1
        return str(self.next_id - 1)

    def new_child(self, parent: Frame, agent: str, block: str) -> Frame:
        """Enter a frame for a nested loop that reads *block*; it shares context and labels of the run."""
        frame = Frame(
            id=self.new_id(),
            parent=parent.id,
            agent=agent,
            agent_path=[*parent.agent_path, agent],
            blocks=[block],
            facts=parent.facts,
            stop=parent.stop,
            namespace=parent.namespace,
            requested_by=parent.requested_by,
            stream=parent.stream,
            on_message=parent.on_message,
            model_queue=parent.model_queue,
            untold=[ToldHooks(what="started")],
        )
        self.all.append(frame)
        return frame

    def frame(self, frame_id: str) -> Frame:
        """Return the frame of an id.

        Raises:
            LookupError: There is none, which is a bug of ours. A `StopIteration` would be taken for some loop's end.
        """
        found = next((frame for frame in self.all if frame.id == frame_id), None)
        if found is None:
            raise LookupError(f"no frame {frame_id}")
        return found

    @property
    def run_frame(self) -> Frame | None:
        """The root frame of the run that began last."""
        return next((frame for frame in reversed(self.all) if frame.parent is None), None)

    @property
    def driven(self) -> list[Frame]:
        """Root frames of the runs that are under way."""
        return [frame for frame in self.all if frame.driven]

    def addressed(self, frame_id: str | None, invalid: type[RefusalError]) -> Frame:
        """Find the frame that a message or a raise of limits addresses.

        Args:
            frame_id: As in `Request.frame`; None is the frame of the run under way, where there is only one.
            invalid: Raised where it names no frame that is under way.

        Raises:
            RefusalError: *invalid*; or `RunEndedError`, where no agent is at work.
        """
        going = [
            frame
            for top in self.driven
            for frame in self.under(top)
            if frame.phase != "finished" and frame.failure is None
        ]
        if frame_id is not None:
            found = next((frame for frame in going if frame.id == frame_id), None)
            if found is None:
                raise invalid(f"no loop {frame_id!r} is going on here")
            return found
        tops = [frame for frame in going if frame.parent is None]
        if not tops:
            raise RunEndedError("no agent is at work here")
        if len(tops) > 1:
            names = ", ".join(f"{frame.id} ({frame.agent})" for frame in tops[:20])
            raise invalid(f"several agents are at work here; name one as frame: {names}")
        return tops[0]

    def root_of(self, frame_id: str) -> str:
        """Return the root frame of the run that a frame belongs to."""
        frame = self.frame(frame_id)
        while frame.parent is not None:
            frame = self.frame(frame.parent)
        return frame.id

    def under(self, frame: Frame | None) -> list[Frame]:
        """Return a frame and all frames below it."""
        if frame is None:
            return []
        found = {frame.id: frame}
        for each in self.all:  # those above stand before those below
            if each.parent in found:
                found[each.id] = each
        return list(found.values())

    def above(self, frame: Frame) -> list[Frame]:
        """Return a frame and all frames above it."""
        found = [frame]
        while found[-1].parent is not None:
            found.append(self.frame(found[-1].parent))
        return found

    def usage_of(self, frame: Frame) -> Usage:
        """Return the usage of a frame with all frames below it: each reply counted once."""
        return _sum(self.under(frame))

    @property
    def total_usage(self) -> Usage:
        """Usage of all frames, with that of earlier messages of a session."""
        total = _sum(self.all)
        for frame in self.all:
            total = total.plus(frame.spent_before)
        return total

    def guardrails_of(self, frame: Frame) -> list[GuardrailResult]:
        """Return the results of the guardrails of a frame and of all frames below it."""
        return kept([each for one in self.under(frame) for each in one.guardrails])

    def frame_of(self, request: Request) -> Frame:
        """Return the frame that *request* belongs to.

        Raises:
            RequestClosedError: It is there no more.
        """
        found = next((frame for frame in self.all if frame.id == request.frame), None)
        if found is None:
            raise RequestClosedError(f"the loop that asked {request.id} has ended; reload the list", request=request.id)
        return found

    def call_of(self, request: Request) -> tuple[Frame, Call]:
        """Return the call that *request* is about, and its frame.

        Raises:
            RequestClosedError: It waits for that no more.
        """
        frame = self.frame_of(request)
        call = next((call for call in frame.calls if call.request == request.id), None)
        if call is None:
            raise RequestClosedError(f"no call waits for {request.id} any more; reload the list", request=request.id)
        return frame, call


def _sum(frames: Iterable[Frame]) -> Usage:
    total = Usage()
    for frame in frames:
        total = total.plus(frame.usage).plus(frame.nested_usage)
    return total
