"""The union of all kinds of event, and its reader."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from handfast.payloads.base import Instant, Payload, problems_of
from handfast.payloads.errors import PayloadInvalidError
from handfast.payloads.events.calls import CallEvent
from handfast.payloads.events.loops import LoopEvent
from handfast.payloads.events.requests import RequestEvent
from handfast.payloads.events.runs import LifecycleEvent, MessageEvent
from handfast.payloads.json_profile import JsonObject


class UnknownEvent(BaseModel):
    """An event of a type that this version does not know: written by a newer one. All its fields are kept."""

    model_config = ConfigDict(frozen=True, extra="allow")

    type: str
    offset: str
    at: Instant

    def to_wire(self) -> JsonObject:
        """Return plain JSON types, as they came."""
        wire: dict[str, Any] = self.model_dump(mode="json", exclude_none=True)
        return wire


KnownEvent = LifecycleEvent | LoopEvent | CallEvent | RequestEvent | MessageEvent
RunEvent = KnownEvent | UnknownEvent
"""One thing that happened in a run."""
_KNOWN: Final[TypeAdapter[KnownEvent]] = TypeAdapter(Annotated[KnownEvent, Field(discriminator="type")])
EVENT_TYPES: Final[dict[str, type[Payload]]] = {each.model_fields["type"].default: each for each in KnownEvent.__args__}
"""Every event's class by its `type`."""


def read_event(value: object) -> RunEvent:
    """Read an event that was written with `to_wire`.

    Raises:
        PayloadInvalidError: It is none.
    """
    known = isinstance(value, dict) and value.get("type") in EVENT_TYPES
    try:
        return _KNOWN.validate_python(value) if known else UnknownEvent.model_validate(value)
    except ValidationError as error:
        raise PayloadInvalidError("event", problems_of(error)) from None
