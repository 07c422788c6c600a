"""Outcomes of the newest messages and decisions, by their ids: one that comes twice counts once."""

from __future__ import annotations

from typing import Generic, TypeAlias, TypeVar

T = TypeVar("T")
Known: TypeAlias = dict[str, tuple[str, T]]
"""By id a digest of the content, and the outcome; oldest first."""


class Recent(Generic[T]):
    """Keeps the newest outcomes."""

    def __init__(self, known: Known[T], most: int) -> None:
        """Work on *known*, and never keep more than *most* in it."""
        self._known = known
        self._most = most

    def get(self, key: str | None) -> tuple[str, T] | None:
        """Return digest and outcome of an id; None where there is no id, or none is known any more."""
        return None if key is None else self._known.get(key)

    def keep(self, key: str, digest: str, outcome: T) -> None:
        """Keep the outcome of an id, and forget the oldest beyond the limit."""
        self._known[key] = (digest, outcome)
        while len(self._known) > self._most:
            del self._known[next(iter(self._known))]
