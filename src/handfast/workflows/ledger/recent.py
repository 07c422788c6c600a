"""What became of the newest things that came in with an id: so that one that comes twice counts once. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Generic, TypeVar

T = TypeVar("T")


class Recent(Generic[T]):
    """By id a digest of the content, and what became of it: the newest ones."""

    def __init__(self, most: int) -> None:
        """Begin with none, and never keep more than *most*."""
        self._most = most
        self._known: OrderedDict[str, tuple[str, T]] = OrderedDict()

    def __repr__(self) -> str:
        return f"Recent({dict(self._known)!r})"

    def get(self, key: str | None) -> tuple[str, T] | None:
        """Digest and outcome of an id; None where there is no id, or where it is not known (any more)."""
        return None if key is None else self._known.get(key)

    def keep(self, key: str, digest: str, outcome: T) -> None:
        """Keep what became of an id, and forget the oldest beyond the limit."""
        self._known[key] = (digest, outcome)
        while len(self._known) > self._most:
            self._known.popitem(last=False)

    def carried(self) -> list[tuple[str, str, T]]:
        """All of it, oldest first: id, digest, outcome."""
        return [(key, digest, outcome) for key, (digest, outcome) in self._known.items()]

    def restore(self, carried: Iterable[tuple[str, str, T]]) -> None:
        """Take over what was carried."""
        self._known.update((key, (digest, outcome)) for key, digest, outcome in carried)
