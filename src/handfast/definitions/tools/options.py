"""Options of a tool beside its function: retries, enabling, guardrails, cancellation."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, TypeAlias, cast

from handfast.definitions.checks import a_kind, check_bool, check_count, check_duration, check_function, listed
from handfast.definitions.context import RunContext, ToolContext
from handfast.definitions.gates.guardrails import GuardrailVerdict
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
    """Attempts at a call of a `read_only` or `idempotent` tool; pauses double.

    Attributes:
        attempts: Most attempts, the first one included; up to 100.
        first_pause: Pause before the second attempt.
        longest_pause: Longest pause between two attempts.
        on: Exceptions of the function that are tried again. Every other one becomes text for the model, as
            without a `Retry`; an attempt whose worker was lost is always repeated.
    """

    attempts: int = 5
    first_pause: timedelta = timedelta(seconds=1)
    longest_pause: timedelta = timedelta(seconds=10)
    on: tuple[type[Exception], ...] = ()

    def __post_init__(self) -> None:
        check_count("Retry", "attempts", self.attempts, most=MOST_ATTEMPTS)
        check_duration("Retry", "first_pause", self.first_pause, most=LONGEST_PAUSE)
        check_duration("Retry", "longest_pause", self.longest_pause, most=LONGEST_PAUSE)
        if self.longest_pause < self.first_pause:
            raise DefinitionError("Retry", "longest_pause must not be below first_pause")
        given = cast(object, self.on)
        kinds = (given,) if isinstance(given, type) else tuple(given) if isinstance(given, Sequence) else (given,)
        for kind in kinds:
            if not (isinstance(kind, type) and issubclass(kind, Exception)):
                raise DefinitionError("Retry", f"on must hold exception types, not {a_kind(kind)}")
        object.__setattr__(self, "on", kinds)


@dataclass(frozen=True, slots=True)
class ToolInputGuardrail:
    """Check of a call's arguments right before it runs.

    Attributes:
        function: Given tool context and arguments; answers `Allow` (or None), `Replace` with the output that the model
            reads instead of a run, or `Fail`.
        before_approval: Also ask it before a person is asked: what it stops, nobody is asked about.
    """

    function: InputCheck
    before_approval: bool = False

    def __post_init__(self) -> None:
        check_function("ToolInputGuardrail", "function", self.function, "the tool context", "the arguments")
        check_bool("ToolInputGuardrail", "before_approval", self.before_approval)


def checked_retry(subject: str, retry: object, effect: str) -> Retry | None:
    """Check the retry option and return it.

    Raises:
        DefinitionError: It is of another kind, or the tool gets one attempt only.
    """
    if retry is None:
        return None
    if not isinstance(retry, Retry):
        raise DefinitionError(subject, f"retry must be a Retry or None, not {a_kind(retry)}")
    if effect == "at_most_once":
        raise DefinitionError(
            subject, 'retry conflicts with effect="at_most_once", which gets one attempt; declare it "idempotent"'
        )
    return retry


def checked_enabled(subject: str, enabled: object) -> EnabledRule:
    """Check the enabled option and return it.

    Raises:
        DefinitionError: It is neither a bool nor a function of the run context.
    """
    if isinstance(enabled, bool):
        return enabled
    check_function(subject, "enabled", enabled, "the run context", also="True, False, or ")
    return cast(EnabledRule, enabled)


def checked_on_cancel(subject: str, on_cancel: object) -> OnCancel | None:
    """Check the on_cancel option and return it.

    Raises:
        DefinitionError: It is no function of the tool context.
    """
    if on_cancel is None:
        return None
    check_function(subject, "on_cancel", on_cancel, "the tool context")
    return cast(OnCancel, on_cancel)


def checked_input_guardrails(subject: str, guardrails: object) -> tuple[ToolInputGuardrail, ...]:
    """Return input guardrails as a tuple, with plain functions wrapped.

    Raises:
        DefinitionError: One of them has the wrong signature.
    """
    checked: list[ToolInputGuardrail] = []
    for each in listed(subject, "input_guardrails", guardrails, "functions and ToolInputGuardrail"):
        if isinstance(each, ToolInputGuardrail):
            checked.append(each)
        else:
            check_function(subject, "an input guardrail", each, "the tool context", "the arguments")
            checked.append(ToolInputGuardrail(each))
    return tuple(checked)


def checked_output_guardrails(subject: str, guardrails: object) -> tuple[OutputCheck, ...]:
    """Return output guardrails as a tuple.

    Raises:
        DefinitionError: One of them has the wrong signature.
    """
    checked: list[OutputCheck] = []
    for each in listed(subject, "output_guardrails", guardrails, "functions"):
        check_function(subject, "an output guardrail", each, "the tool context", "the output")
        checked.append(each)
    return tuple(checked)
