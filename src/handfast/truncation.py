"""How much of a long conversation the model is sent."""

from __future__ import annotations

from dataclasses import dataclass

from handfast.errors import DefinitionError

__all__ = ["Truncate", "checked_truncation"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Truncate:
    """Send the model the end of a conversation only, for ``Agent(truncation=…)``.

    The start is left out so that nothing is torn apart: no output without its call, no call without its output, no
    reasoning without what it led to. What the model has yet to read always stays, and the run's transcript keeps it
    all. Where several are given, all of them hold.

    Attributes:
        keep_items: Most items.
        keep_turns: The last replies of the model, each with the messages before it and the outputs of its calls.
        keep_tokens: About how many tokens, at four bytes each: no provider has counted them.

    Raises:
        DefinitionError: None of them is given, or one is no positive integer.
    """

    keep_items: int | None = None
    keep_turns: int | None = None
    keep_tokens: int | None = None

    def __post_init__(self) -> None:
        """Check the numbers."""
        given = {name: getattr(self, name) for name in ("keep_items", "keep_turns", "keep_tokens")}
        if all(value is None for value in given.values()):
            raise DefinitionError("Truncate", "give keep_items, keep_turns or keep_tokens")
        for name, value in given.items():
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise DefinitionError("Truncate", f"{name} must be an integer of at least 1")


def checked_truncation(subject: str, truncation: object) -> Truncate | None:
    """Return the option.

    Raises:
        DefinitionError: It is none.
    """
    if truncation is None or isinstance(truncation, Truncate):
        return truncation
    raise DefinitionError(subject, "truncation must be a Truncate(…) or None")
