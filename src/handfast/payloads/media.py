"""Images and files in items of a conversation: their data may be kept outside the history, under a reference.

A reference stands where the data stood: ``handfast-artifact:``, the SHA-256 of the text in whose place it is, and the
length of that. Pure; the stores are elsewhere.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final

__all__ = ["MEDIA_BYTES", "references_in", "with_data", "with_references"]

MEDIA_BYTES: Final = 4096
"""Data below this stay where they are."""
LOST: Final = "[An image or file stood here. It was kept outside the history, and is not there any more.]"
"""Text that the model reads in place of a part whose data is lost."""
_FIELDS: Final = frozenset({"image_url", "file_data", "result", "data"})
"""Fields of parts and items that hold data: of images, files, generated images and sound."""
_DATA: Final = re.compile(r"data:[^,]{1,200};base64,|[A-Za-z0-9+/]{64}")
"""Beginnings of such a field: of a data URL, or of plain base64."""
_REFERENCE: Final = re.compile(r"handfast-artifact:(?P<sha256>[0-9a-f]{64}):\d+")


def with_references(items: Any, data: dict[str, bytes]) -> Any:
    """Return *items* with references in place of their data.

    Args:
        items: Items of a conversation, or parts of one.
        data: What the references stand for, by SHA-256, is added here.
    """
    match items:
        case list():
            return [with_references(each, data) for each in items]
        case dict():
            return {
                name: _reference(value, data) if name in _FIELDS else with_references(value, data)
                for name, value in items.items()
            }
        case _:
            return items


def references_in(items: Any) -> set[str]:
    """Return the SHA-256 of everything that *items* refer to."""
    match items:
        case list():
            return {sha256 for each in items for sha256 in references_in(each)}
        case dict():
            found = {sha256 for value in items.values() for sha256 in references_in(value)}
            return found | {sha256 for name in _FIELDS & items.keys() if (sha256 := _named_by(items[name])) is not None}
        case _:
            return set()


def with_data(items: Any, data: Mapping[str, bytes | None]) -> Any:
    """Return *items* with their data again.

    Args:
        items: As `with_references` returns them.
        data: What they refer to, by SHA-256. A reference that this lacks stays. In place of a part whose data is None
            stands a text that says so; in place of an item's own data nothing does.
    """
    match items:
        case list():
            return [with_data(each, data) for each in items]
        case dict():
            named = {name: _named_by(items[name]) for name in _FIELDS & items.keys()}
            known = {name: data[sha256] for name, sha256 in named.items() if sha256 is not None and sha256 in data}
            if None in known.values() and str(items.get("type")).startswith("input_"):
                return {"type": "input_text", "text": LOST}
            return {
                name: with_data(value, data) if name not in known else _text(known[name])
                for name, value in items.items()
            }
        case _:
            return items


def _reference(value: Any, data: dict[str, bytes]) -> Any:
    if not isinstance(value, str):
        return with_references(value, data)
    if len(value) < MEDIA_BYTES or _DATA.match(value) is None or not value.isascii():
        return value
    text = value.encode()
    sha256 = hashlib.sha256(text).hexdigest()
    data[sha256] = text
    return f"handfast-artifact:{sha256}:{len(text)}"


def _text(data: bytes | None) -> str | None:
    return None if data is None else data.decode()


def _named_by(value: object) -> str | None:
    found = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
    return None if found is None else found["sha256"]
