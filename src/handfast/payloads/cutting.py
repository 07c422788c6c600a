"""Cut texts that are too large to be recorded or read; a cut text says how much is missing."""

from __future__ import annotations

import hashlib
from typing import Annotated, Final

from pydantic import StringConstraints

from handfast.payloads.json_profile import scrub

REASON_CHARACTERS: Final = 2000
"""Longest reason that a history takes: the server takes megabytes, which every worker would have to read."""
Reason = Annotated[str, StringConstraints(max_length=REASON_CHARACTERS)]


def reason_text(reason: str) -> str:
    """Return the part of a reason that is recorded: its first 2,000 characters, without lone surrogates."""
    return scrub(reason[:REASON_CHARACTERS])


def cut(text: str, limit: int, remark: str = "") -> tuple[str, int | None]:
    """Cut *text* to *limit* bytes; a cut one ends with its size, the SHA-256 of the whole, and *remark*.

    Returns:
        The text, and its size before it was cut: None where it was not.
    """
    data = text.encode()
    if len(data) <= limit:
        return text, None
    note = f"\n[cut: {len(data):,} bytes in all, sha256 {hashlib.sha256(data).hexdigest()}{remark}]"
    return data[: limit - len(note.encode())].decode(errors="ignore") + note, len(data)


def whole_characters(data: bytes, position: int) -> int:
    """Return the first position of UTF-8 *data*, from *position* on, at which a character begins or the data ends."""
    position = min(position, len(data))
    while position < len(data) and data[position] & 0xC0 == 0x80:
        position += 1
    return position
