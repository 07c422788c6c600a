"""The base of all payloads, and the field types they share."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from handfast.payloads.errors import PayloadInvalidError
from handfast.payloads.json_profile import JsonObject

_SHOWN_PROBLEMS: Final = 10
_SHOWN_PARTS: Final = 8
_SHOWN_PART_CHARS: Final = 64
_SHOWN_TEXT_CHARS: Final = 300
UNREADABLE: Final = "PayloadUnreadable"
"""Error type of an activity whose worker cannot decrypt what it was given; it has run nothing."""


@dataclass(frozen=True)
class Undecodable:
    """A payload that arrived and cannot be read: its receiver reports that instead of failing.

    Attributes:
        problem: What kind of error the decoder raised, or why it is not decrypted; never the payload itself.
        encrypted: Encryption stands in the way: another key ring might read it.
        key: Id of the key that is missing, where that is what is wrong.
    """

    problem: str
    encrypted: bool = False
    key: str | None = None


def _aware_utc(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("a time needs a UTC offset")
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("a time must lie between the years 1 and 9999 in UTC") from None


Name = Annotated[str, StringConstraints(min_length=1, max_length=256)]
"""A name of a person, a task queue or a model; or the id of a message, a call or a response."""
Claimed = Annotated[str, StringConstraints(max_length=256)]
"""The name of a person who says so."""
Instant = Annotated[datetime, Field(strict=False), AfterValidator(_aware_utc)]
"""A point in time: ISO 8601 with an offset on the wire, UTC inside."""


class Payload(BaseModel):
    """Base of all payloads: a frozen, strict pydantic model.

    Values are never coerced (``"yes"`` is no bool, ``"5"`` no int), unknown fields are ignored so that old and new
    workers can share a run, and a validation error never repeats the input it refused.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", hide_input_in_errors=True)

    @classmethod
    def from_wire(cls, value: object) -> Self:
        """Validate one decoded JSON value.

        Raises:
            PayloadInvalidError: The value is no such payload; the text names the fields, never their contents.
        """
        if isinstance(value, cls):
            return value
        if isinstance(value, Undecodable):
            raise PayloadInvalidError(cls.__name__, [value.problem])
        try:
            return cls.model_validate(value)
        except ValidationError as error:
            raise PayloadInvalidError(cls.__name__, problems_of(error)) from None

    def to_wire(self) -> JsonObject:
        """Return plain JSON types; fields that are None are left out."""
        wire: dict[str, Any] = self.model_dump(mode="json", exclude_none=True)
        return wire


def json_size(value: object) -> int:
    """Count the bytes of *value* as the payload converter writes it: a character outside ASCII takes six or twelve."""
    return len(json.dumps(value, separators=(",", ":")))


def problems_of(error: ValidationError) -> list[str]:
    """Return the problems field by field, without the refused input: ten at most, with names cut short."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    problems = [
        f"{'.'.join(str(part)[:_SHOWN_PART_CHARS] for part in problem['loc'][:_SHOWN_PARTS]) or 'value'}: "
        f"{problem['msg'][:_SHOWN_TEXT_CHARS]}"
        for problem in found[:_SHOWN_PROBLEMS]
    ]
    if len(found) > _SHOWN_PROBLEMS:
        problems.append(f"and {len(found) - _SHOWN_PROBLEMS} more")
    return problems
