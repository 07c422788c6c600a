"""Which call a request is about: a request that outlives its call or its loop is refused, and stops no workflow."""

from __future__ import annotations

import pytest

from handfast.errors import RequestClosedError
from handfast.payloads.model_call import PlannedCall
from handfast.workflows.frame.frame import Call, Frame
from handfast.workflows.frame.table import FrameTable
from support.requests import request


def loop(frame: str, asked: str | None) -> Frame:
    """A loop with one call, which may wait for a request."""
    call = Call(plan=PlannedCall(index=0, kind="run"), call_id="c1", tool="wipe", request=asked)
    return Frame(id=frame, agent="desk", agent_path=["desk"], calls=[call])


def test_the_call_that_waits_is_found_in_the_loop_that_asked() -> None:
    """Among several loops it is that of the request's own, and no other one with the same request."""
    first, second = loop("0", "r1"), loop("1", "r1")
    frames = FrameTable(all=[second, first])
    assert frames.call_of(request("r1")) == (first, first.calls[0])
    assert frames.frame_of(request("r1")) is first


@pytest.mark.parametrize("frames", [[], [loop("0", None)], [loop("0", "r2")], [loop("1", "r1")]])
def test_a_request_whose_call_is_gone_is_refused(frames: list[Frame]) -> None:
    """Whoever decides it is told so, by a refusal like any other."""
    with pytest.raises(RequestClosedError, match=r"r1.*reload the list"):
        FrameTable(all=frames).call_of(request("r1"))
