"""What stands in for a payload that could not be decoded."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Undecodable:
    """A payload that arrived but cannot be read; whoever receives it says so instead of failing.

    Attributes:
        problem: What kind of error the decoder raised; never the payload itself.
    """

    problem: str
