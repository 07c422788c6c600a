"""What the application is asked about a call: the parts that every such question has, put together in one way."""

from __future__ import annotations

from typing import Any, TypeVar

from handfast.payloads.evaluation import CallQuestion
from handfast.workflows.frame.frame import Call, Frame
from handfast.workflows.state.run_state import RunState

Question = TypeVar("Question", bound=CallQuestion)


def about(call: Call, frame: Frame, state: RunState, kind: type[Question], **own: Any) -> Question:
    """A question about a call of *frame*.

    Args:
        call: The call.
        frame: Whose it is.
        state: Knows its arguments, and where they stand if they are large.
        kind: What is asked.
        own: The fields that only this kind has.
    """
    arguments, at = state.placed_arguments(frame, call)
    return kind(origin=state.origin(frame), tool=call.tool, call_id=call.call_id, arguments=arguments, at=at, **own)
