"""Rejected calls, for functions that word them and hooks that hear of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from handfast.definitions.context import RunContext
from handfast.payloads.json_profile import JsonObject

__all__ = ["Rejection", "RejectionText"]


@dataclass(frozen=True, slots=True)
class Rejection:
    """The rejection of one call, for ``Agent(rejection_text=…)`` and `AgentHooks.on_call_rejected`.

    Attributes:
        tool: The tool's name.
        arguments: The arguments as the model wrote them.
        decided_by: Who claims to have refused; None when the deadline did.
    """

    tool: str
    arguments: JsonObject
    decided_by: str | None = None


RejectionText: TypeAlias = Callable[[RunContext[Any], Rejection], str | Awaitable[str]]
