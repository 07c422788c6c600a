"""The update `cancel_call`, which ends one call of a run."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from handfast.payloads.base import Payload


class CancelCall(Payload):
    """Argument of the update `cancel_call`.

    Attributes:
        call_id: The model's id of the call, as `CallStatus` and requests have it.
        frame: Which loop, where several have a call of this id; `Request.frame` says it.
        reason: The model reads it.
        by: Who cancels: a claimed name.
    """

    call_id: Annotated[str, Field(min_length=1, max_length=256)]
    frame: Annotated[str, StringConstraints(max_length=64)] | None = None
    reason: Annotated[str, StringConstraints(max_length=2000)] | None = None
    by: Annotated[str, StringConstraints(max_length=256)] | None = None


class CallCancelled(Payload):
    """Answer of the update `cancel_call`.

    Attributes:
        state: *cancelling*: it runs, and was told to stop; what it does then becomes its output. *cancelled*: it had
            not begun, and will not.
    """

    call_id: str
    tool: str
    frame: str
    state: Literal["cancelling", "cancelled"]
