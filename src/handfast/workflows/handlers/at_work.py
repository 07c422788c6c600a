"""Which loop a message from outside is meant for."""

from __future__ import annotations

from handfast.errors import RefusalError, RunEndedError
from handfast.workflows.frame.frame import Frame
from handfast.workflows.state.run_state import RunState


def loop_meant(state: RunState, frame_id: str | None, invalid: type[RefusalError]) -> Frame:
    """The loop of that id; None means the one that was started, where there is only one.

    Args:
        state: Of the workflow.
        frame_id: As in `Request.frame`.
        invalid: Raised where it names none.

    Raises:
        RefusalError: *invalid*; or `RunEndedError`, where no agent is at work.
    """
    going = [
        frame
        for top in state.frames
        if top.id in state.active
        for frame in state.under(top)
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
