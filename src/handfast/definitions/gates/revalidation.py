"""Revalidation: a check right before an approved call runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from handfast.definitions.checks import a_kind, check_function
from handfast.definitions.context import ToolContext
from handfast.errors import DefinitionError

__all__ = ["Changed", "Revalidate", "checked_revalidate"]


@dataclass(frozen=True, slots=True)
class Changed:
    """Answer of ``tool(revalidate=…)`` where an approval no longer holds: a person is asked anew, and shown this.

    Attributes:
        why: The change, in a sentence.
        before: The value when the call was approved; anything that pydantic can turn into JSON.
        now: The value by now; likewise.
    """

    why: str
    before: object = None
    now: object = None

    def __post_init__(self) -> None:
        if not isinstance(cast(object, self.why), str) or not self.why.strip():
            raise DefinitionError("Changed", f"why must say in words what has changed, not be {a_kind(self.why)}")


Revalidate: TypeAlias = Callable[[ToolContext[Any], Any], Changed | str | Awaitable[Changed | str | None] | None]
"""A function of tool context and arguments, sync or async. None: it holds. A text is a `Changed` without values."""


def checked_revalidate(subject: str, revalidate: object, approval: object) -> Revalidate | None:
    """Check the revalidate option and return it.

    Raises:
        DefinitionError: It has the wrong signature, or nobody is ever asked for an approval.
    """
    if revalidate is None:
        return None
    check_function(subject, "revalidate", revalidate, "the tool context", "the arguments")
    if approval is False:
        raise DefinitionError(subject, "revalidate is asked after an approval; give the tool one (approval=…)")
    return cast(Revalidate, revalidate)
