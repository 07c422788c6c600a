"""The contexts that a developer's functions get: of a run, and of one tool call."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias

from typing_extensions import TypeVar

from handfast.payloads.json_profile import JsonObject

__all__ = ["RunContext", "ToolArguments", "ToolContext"]

C = TypeVar("C", default=Any)

ToolArguments: TypeAlias = Any
"""The arguments of a call, as rules and checks are given them: an attribute for each of the tool's parameters.

A pydantic model that is made of the tool's signature, which no type checker can know: whoever tests a rule may call it
with any object that has the attributes.
"""


@dataclass(slots=True, kw_only=True)
class RunContext(Generic[C]):
    """The run for which instructions, rules and hooks are called.

    Attributes:
        context: The run's own data: the agent's ``context_type``, or a plain dict where it names none.
        run_id: The workflow id.
        agent: Name of the agent whose turn it is.
        agent_path: Names from the run's first agent down to this one, for agents used as tools.
        turn: The current turn, from 1.
        labels: The labels that the run was started with.
        requested_by: Claimed name of the person who asked for the run.
    """

    context: C
    run_id: str
    agent: str
    agent_path: tuple[str, ...]
    turn: int
    labels: Mapping[str, str]
    requested_by: str | None


@dataclass(slots=True, kw_only=True)
class ToolContext(RunContext[C]):
    """The run, and the call that a tool is executing.

    Attributes:
        tool: The tool's name.
        call_id: The model's id of the call.
        arguments: The arguments as decoded JSON, before any conversion to Python types.
        resources: Value of ``HandfastPlugin(resources=…)``, made once per worker (pools, clients); never in history.
        idempotency_key: Equal for every attempt at this call; pass it on to services that deduplicate.
        attempt: From 1; above 1 an earlier attempt may have begun.
        cancel_event: Set when the call should stop. `cancelled` reads it.
        reporter: Receiver of `progress`; None outside a run.
    """

    tool: str
    call_id: str
    arguments: JsonObject
    resources: Any
    idempotency_key: str
    attempt: int
    cancel_event: threading.Event = field(default_factory=threading.Event, repr=False, compare=False)
    reporter: Callable[[str, float | None, float | None], None] | None = field(default=None, repr=False, compare=False)

    @property
    def cancelled(self) -> bool:
        """True once the call should stop. Safe to poll from a sync tool's thread."""
        return self.cancel_event.is_set()

    def progress(self, text: str, *, done: float | None = None, total: float | None = None) -> None:
        """Report progress to watchers of the run. Safe from any thread, and cheap: the newest report is sent once a
        second. It enters no history.

        Args:
            text: Up to 1,000 bytes are kept.
            done: Finished part of *total*, in a unit of yours.
            total: The whole.

        Raises:
            ValueError: A number is not finite.
        """
        for name, number in (("done", done), ("total", total)):
            if number is not None and not math.isfinite(number):
                raise ValueError(f"{name} must be a finite number, not {number}")
        if self.reporter is not None:
            self.reporter(str(text), None if done is None else float(done), None if total is None else float(total))
