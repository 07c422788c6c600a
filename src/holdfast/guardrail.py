"""What a guardrail may say: go on, put something else in its place, or end the run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from holdfast.errors import DefinitionError

__all__ = ["Allow", "Fail", "GuardrailVerdict", "Replace"]

REASON_CHARACTERS: Final = 2000
"""Longest reason that a `Fail` keeps."""


@dataclass(frozen=True, slots=True)
class Allow:
    """Nothing is wrong: go on. A guardrail that returns None says the same.

    Attributes:
        info: What was found, kept in the run's result: anything that pydantic can turn into JSON.
    """

    info: Any = None


@dataclass(frozen=True, slots=True)
class Replace:
    """Go on with something else than what was checked.

    Attributes:
        value: What stands in its place: a text, or what the place takes otherwise (a tool's output: any JSON).
        info: What was found, kept in the run's result: anything that pydantic can turn into JSON.
    """

    value: Any
    info: Any = None


@dataclass(frozen=True, slots=True)
class Fail:
    """End the run, with the failure type ``GuardrailTripped``.

    Attributes:
        reason: Why, in the failure's message; cut after 2,000 characters.
        info: What was found, kept in the run's result: anything that pydantic can turn into JSON.
    """

    reason: str
    info: Any = None

    def __post_init__(self) -> None:
        if not isinstance(self.reason, str):
            raise DefinitionError("Fail", f"reason must be a text, not a {type(self.reason).__name__}")
        object.__setattr__(self, "reason", self.reason[:REASON_CHARACTERS])


GuardrailVerdict: TypeAlias = Allow | Replace | Fail | None
"""What a guardrail function returns; None is `Allow`."""
