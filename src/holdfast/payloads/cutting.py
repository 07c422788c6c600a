"""Texts too large to be recorded or read: their start is kept, and it is said what is missing."""

from __future__ import annotations

import hashlib


def cut(text: str, limit: int) -> tuple[str, int | None]:
    """Cut *text* to *limit* bytes; a cut one ends with its size and the SHA-256 of the whole.

    Returns:
        The text, and its size before it was cut: None where it was not.
    """
    data = text.encode()
    if len(data) <= limit:
        return text, None
    note = f"\n[cut: {len(data):,} bytes in all, sha256 {hashlib.sha256(data).hexdigest()}]"
    return data[: limit - len(note)].decode(errors="ignore") + note, len(data)
