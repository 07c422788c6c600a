"""The stand-in for a payload that could not be decoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

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
