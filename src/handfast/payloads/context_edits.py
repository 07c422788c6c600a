"""Changes of a run's context by a tool: edits by path, so that parallel tools do not undo each other's."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Iterator
from typing import Final

from handfast.payloads.base import Payload
from handfast.payloads.json_profile import JsonValue

EDITS_BYTES: Final = 64 * 1024
"""Most bytes of one call's edits."""
CONTEXT_BYTES: Final = 1024 * 1024
"""Most bytes of a context that a tool has changed."""


class ContextEdit(Payload):
    """One change.

    Attributes:
        path: Keys from the context's top; empty for the whole of it.
        value: What stands there now.
        gone: The key was removed.
        added: The last so many items of `value`, a list, were added to what stood there.
    """

    path: list[str]
    value: JsonValue = None
    gone: bool | None = None
    added: int | None = None


def edits_between(stored: JsonValue, before: JsonValue, after: JsonValue) -> list[ContextEdit]:
    """Return the edits that lead from *before* to *after*, by keys at any depth.

    Args:
        stored: The context as the run keeps it, which may lack what a model fills in by itself: what stands below such
            a key is written whole.
        before: The context as the tool got it.
        after: The context as the tool left it.
    """
    return list(_edits(stored, before, after, ()))


def _edits(stored: JsonValue, before: JsonValue, after: JsonValue, path: tuple[str, ...]) -> Iterator[ContextEdit]:
    if _text(before) == _text(after):
        return
    added = _added(before, after)
    if added:
        value = added if isinstance(stored, list) else after
        yield ContextEdit(path=list(path), value=value, added=len(added))
        return
    if not (isinstance(stored, dict) and isinstance(before, dict) and isinstance(after, dict)):
        yield ContextEdit(path=list(path), value=after)
        return
    for key in sorted({*before, *after}):
        if key not in after:
            yield ContextEdit(path=[*path, key], gone=True)
        elif key not in before:
            yield ContextEdit(path=[*path, key], value=after[key])
        else:
            yield from _edits(stored.get(key), before[key], after[key], (*path, key))


def _added(before: JsonValue, after: JsonValue) -> list[JsonValue]:
    """Return the items that a list has got at its end, where nothing else about it changed."""
    if not (isinstance(before, list) and isinstance(after, list)):
        return []
    return after[len(before) :] if _text(before) == _text(after[: len(before)]) else []


def _text(value: JsonValue) -> str:
    """Return a text that is equal for values that are equal on the wire: 1 is not True there, and not 1.0."""
    return json.dumps(value, sort_keys=True)


def edited(stored: JsonValue, edits: Iterable[ContextEdit]) -> JsonValue:
    """Apply *edits* in their order to a copy of *stored*; objects that an edit's path lacks are made."""
    result = copy.deepcopy(stored)
    for edit in edits:
        if not edit.path:
            result = copy.deepcopy(edit.value)
            continue
        place = result = result if isinstance(result, dict) else {}
        for key in edit.path[:-1]:
            below = place.get(key)
            if not isinstance(below, dict):
                below = place[key] = {}
            place = below
        last, value = edit.path[-1], copy.deepcopy(edit.value)
        there = place.get(last)
        if edit.gone:
            place.pop(last, None)
        elif edit.added is not None and isinstance(there, list) and isinstance(value, list):
            there.extend(value[-edit.added :])
        else:
            place[last] = value
    return result
