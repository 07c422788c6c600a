"""What may be said about a tool beside its function: retries, when it is offered, guardrails, how it is cancelled."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, TypeAlias, cast

from handfast.definitions.context import RunContext, ToolContext
from handfast.definitions.gates.guardrails import GuardrailVerdict
from handfast.definitions.schema.signature import require_positional
from handfast.errors import DefinitionError

__all__ = ["EnabledRule", "InputCheck", "OnCancel", "OutputCheck", "Retry", "ToolInputGuardrail"]

MOST_ATTEMPTS: Final = 100
LONGEST_PAUSE: Final = timedelta(days=1)

EnabledRule: TypeAlias = bool | Callable[[RunContext[Any]], bool | Awaitable[bool]]
"""False: never offered. A function of the run context, sync or async: asked before each model call."""
OnCancel: TypeAlias = Callable[[ToolContext[Any]], object]
"""Called when a call is told to stop, sync or async."""
InputCheck: TypeAlias = Callable[[ToolContext[Any], Any], GuardrailVerdict | Awaitable[GuardrailVerdict]]
"""A function of tool context and arguments, sync or async."""
OutputCheck: TypeAlias = Callable[[ToolContext[Any], Any], GuardrailVerdict | Awaitable[GuardrailVerdict]]
"""A function of tool context and what the tool returned, sync or async."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How often a `read_only` or `idempotent` tool is tried; pauses double.

    Attributes:
        attempts: At most, the first one included; up to 100.
        first_pause: Before the second attempt.
        longest_pause: Between any two.
        on: Exceptions of the function after which it is tried again. Every other one becomes text for the model, as
            without a `Retry`; an attempt whose worker was lost is always repeated.
    """

    attempts: int = 5
    first_pause: timedelta = timedelta(seconds=1)
    longest_pause: timedelta = timedelta(seconds=10)
    on: tuple[type[Exception], ...] = ()

    def __post_init__(self) -> None:
        attempts = cast(object, self.attempts)
        if isinstance(attempts, bool) or not isinstance(attempts, int) or not 1 <= attempts <= MOST_ATTEMPTS:
            raise DefinitionError("Retry", f"attempts must be an integer from 1 to {MOST_ATTEMPTS}")
        pauses: tuple[tuple[str, object], ...] = (
            ("first_pause", self.first_pause),
            ("longest_pause", self.longest_pause),
        )
        for name, pause in pauses:
            if not isinstance(pause, timedelta) or not timedelta(0) < pause <= LONGEST_PAUSE:
                raise DefinitionError("Retry", f"{name} must be a positive timedelta of at most a day")
        if self.longest_pause < self.first_pause:
            raise DefinitionError("Retry", "longest_pause must not be below first_pause")
        given = cast(object, self.on)
        kinds = (given,) if isinstance(given, type) else tuple(given) if isinstance(given, Sequence) else (given,)
        if not all(isinstance(kind, type) and issubclass(kind, Exception) for kind in kinds):
            raise DefinitionError("Retry", "on must hold exception types")
        object.__setattr__(self, "on", kinds)


@dataclass(frozen=True, slots=True)
class ToolInputGuardrail:
    """Looks at a call's arguments before it runs.

    Attributes:
        function: Given tool context and arguments; answers `Allow` (or None), `Replace` with the output that the model
            reads instead of a run, or `Fail`.
        before_approval: Also ask it before a person is asked: what it stops, nobody is asked about.
    """

    function: InputCheck
    before_approval: bool = False

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise DefinitionError("ToolInputGuardrail", "function must be a function of tool context and arguments")
        if not isinstance(self.before_approval, bool):
            raise DefinitionError("ToolInputGuardrail", "before_approval must be True or False")


def checked_retry(subject: str, retry: object, effect: str) -> Retry | None:
    """Return the retry option, unless it conflicts.

    Raises:
        DefinitionError: It is none, or the tool gets one attempt only.
    """
    if retry is None:
        return None
    if not isinstance(retry, Retry):
        raise DefinitionError(subject, f"retry must be a Retry or None, not a {type(retry).__name__}")
    if effect == "at_most_once":
        raise DefinitionError(
            subject, 'retry conflicts with effect="at_most_once", which gets one attempt; declare it "idempotent"'
        )
    return retry


def checked_enabled(subject: str, enabled: object) -> EnabledRule:
    """Return the enabled option.

    Raises:
        DefinitionError: It is neither a bool nor a function of the run context.
    """
    if isinstance(enabled, bool):
        return enabled
    if not callable(enabled):
        raise DefinitionError(subject, "enabled must be True, False, or a function of the run context")
    require_positional(enabled, 1, subject, "the enabled rule, given the run context,")
    return enabled


def checked_on_cancel(subject: str, on_cancel: object) -> OnCancel | None:
    """Return the on_cancel option.

    Raises:
        DefinitionError: It is no function of the tool context.
    """
    if on_cancel is None:
        return None
    if not callable(on_cancel):
        raise DefinitionError(subject, "on_cancel must be a function of the tool context")
    require_positional(on_cancel, 1, subject, "on_cancel, given the tool context,")
    return on_cancel


def checked_input_guardrails(
    subject: str, guardrails: Sequence[InputCheck | ToolInputGuardrail]
) -> tuple[ToolInputGuardrail, ...]:
    """Return the input guardrails, functions among them wrapped.

    Raises:
        DefinitionError: One of them has the wrong signature.
    """
    checked: list[ToolInputGuardrail] = []
    for each in _sequence(subject, "input_guardrails", guardrails):
        guardrail = each if isinstance(each, ToolInputGuardrail) else _wrapped(subject, each)
        require_positional(guardrail.function, 2, subject, "an input guardrail, given tool context and arguments,")
        checked.append(guardrail)
    return tuple(checked)


def checked_output_guardrails(subject: str, guardrails: Sequence[OutputCheck]) -> tuple[OutputCheck, ...]:
    """Return the output guardrails.

    Raises:
        DefinitionError: One of them has the wrong signature.
    """
    checked: list[OutputCheck] = []
    for each in _sequence(subject, "output_guardrails", guardrails):
        if not callable(each):
            raise DefinitionError(subject, f"output_guardrails must hold functions, not a {type(each).__name__}")
        require_positional(each, 2, subject, "an output guardrail, given tool context and output,")
        checked.append(each)
    return tuple(checked)


def _wrapped(subject: str, function: object) -> ToolInputGuardrail:
    if not callable(function):
        raise DefinitionError(subject, f"input_guardrails must hold functions, not a {type(function).__name__}")
    return ToolInputGuardrail(function)


def _sequence(subject: str, option: str, given: object) -> Sequence[Any]:
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise DefinitionError(subject, f"{option} must be a list")
    return given
