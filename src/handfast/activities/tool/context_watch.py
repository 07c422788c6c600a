"""Compares the run's context before and after a tool, and refuses changes that the run cannot keep."""

from __future__ import annotations

import copy
from dataclasses import dataclass

from pydantic import BaseModel, ValidationError

from handfast.errors import JsonProfileError
from handfast.payloads.base import json_size, problems_of
from handfast.payloads.context_edits import EDITS_BYTES, ContextEdit, edited, edits_between
from handfast.payloads.json_profile import JsonObject, JsonValue, check_json


@dataclass(frozen=True)
class Change:
    """A tool's change of the context.

    Attributes:
        edits: The changes, by path.
        refused: Why the run cannot keep the change; then there are no edits.
    """

    edits: list[ContextEdit]
    refused: str | None = None


class ContextWatch:
    """Compares the context that a tool got with the one that it left."""

    def __init__(self, stored: JsonObject | None, context: object) -> None:
        """Copy the context before the tool gets it.

        Args:
            stored: As the run keeps it.
            context: As the tool gets it: a pydantic model, or *stored* itself.
        """
        self._kind = type(context) if isinstance(context, BaseModel) else None
        self._stored: JsonValue = copy.deepcopy(stored)
        if self._stored is None and self._kind is not None:
            self._stored = {}
        self._before: JsonValue = None
        self._unwritten: object = None
        try:
            self._before = _plain(context)
        except Exception:  # noqa: BLE001 - serializers of the user's run here; such a context can only stay as it is
            self._unwritten = _fields(context)

    def change(self, context: object) -> Change:
        """Compare the context after the tool; raises nothing, whatever it holds."""
        try:
            return self._change(context)
        except JsonProfileError as error:
            return Change([], error.problem)
        except ValidationError as error:
            return Change([], "; ".join(problems_of(error)))
        except Exception as error:  # noqa: BLE001 - serializers and validators of the user's run here
            return Change([], f"{type(error).__name__}: it cannot be written as JSON")

    def _change(self, context: object) -> Change:
        wanted = self._kind or dict
        if not isinstance(context, wanted) and not (context is None and self._stored is None):
            return Change([], f"it is a {type(context).__name__}, not a {wanted.__name__}")
        if self._unwritten is not None and _fields(context) == self._unwritten:
            return Change([])
        after = _plain(context)
        edits = edits_between(self._stored, self._before, after)
        if not edits:
            return Change([])
        size = json_size([edit.to_wire() for edit in edits])
        if size > EDITS_BYTES:
            return Change([], f"the change takes {size:,} bytes, and one call may change {EDITS_BYTES:,}")
        if self._kind is not None and isinstance(context, BaseModel):
            read = self._kind.model_validate(edited(self._stored, edits))
            if read.model_dump(round_trip=True) != context.model_dump(round_trip=True):
                return Change([], "it is not the same when it is written as JSON and read again")
        return Change(edits)


def _fields(context: object) -> object:
    return context.model_dump() if isinstance(context, BaseModel) else None


def _plain(context: object) -> JsonValue:
    """Return the context as JSON that shares nothing with it.

    Raises:
        JsonProfileError: A plain context holds what is no JSON.
        PydanticSerializationError: A model's field holds what is not of its type.
    """
    if isinstance(context, BaseModel):
        plain: JsonValue = context.model_dump(mode="json", by_alias=True, round_trip=True, warnings="error")
        check_json(plain)
        return plain
    check_json(context)
    copied: JsonValue = copy.deepcopy(context)  # type: ignore[assignment] # just checked
    return copied
