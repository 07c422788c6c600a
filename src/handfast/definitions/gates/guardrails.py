"""Guardrails of an agent, and their verdicts: allow, replace, or end the run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from handfast.definitions.checks import a_kind, check_bool, check_function, listed
from handfast.definitions.context import RunContext
from handfast.errors import DefinitionError
from handfast.payloads.cutting import reason_text

__all__ = [
    "Allow",
    "Fail",
    "GuardrailFunction",
    "GuardrailVerdict",
    "InputGuardrail",
    "OutputGuardrail",
    "Replace",
    "guardrails_of",
]

LONGEST_NAME: Final = 64


@dataclass(frozen=True, slots=True)
class Allow:
    """Verdict: go on. A guardrail that returns None says the same.

    Attributes:
        info: Finding that the run's result keeps: anything that pydantic can turn into JSON.
    """

    info: Any = None


@dataclass(frozen=True, slots=True)
class Replace:
    """Verdict: go on with another value in place of the checked one.

    Attributes:
        value: The replacement: a text, or for a tool's output any JSON.
        info: Finding that the run's result keeps: anything that pydantic can turn into JSON.
    """

    value: Any
    info: Any = None


@dataclass(frozen=True, slots=True)
class Fail:
    """Verdict: end the run, with the failure type ``GuardrailTripped``.

    Attributes:
        reason: Part of the failure's message; cut after 2,000 characters.
        info: Finding that the run's result keeps: anything that pydantic can turn into JSON.
    """

    reason: str
    info: Any = None

    def __post_init__(self) -> None:
        if not isinstance(self.reason, str):
            raise DefinitionError("Fail", f"reason must be a text, not {a_kind(self.reason)}")
        object.__setattr__(self, "reason", reason_text(self.reason))


GuardrailVerdict: TypeAlias = Allow | Replace | Fail | None
"""Return value of a guardrail function; None is `Allow`."""

GuardrailFunction: TypeAlias = Callable[[RunContext[Any], Any], GuardrailVerdict | Awaitable[GuardrailVerdict]]
"""A function of the run context and the checked value, sync or async."""


@dataclass(frozen=True)
class InputGuardrail:
    """Check of an agent's input, a list of items as the Responses API takes them, once per run.

    Attributes:
        function: A function of run context and items.
        parallel: Run beside the first model call; what has an effect waits for it, and a `Fail` stops everything.
            False runs it before the model is called, and lets it replace the input with a text or other items.
        name: As it stands in the run's result; the function's name by default.
    """

    function: GuardrailFunction
    parallel: bool = True
    name: str = ""

    def __post_init__(self) -> None:
        _settle_name(self, "the run context", "the items")
        check_bool(f"guardrail {self.name!r}", "parallel", self.parallel)


@dataclass(frozen=True)
class OutputGuardrail:
    """Check of an agent's final output: its text, or its `output_type`. May replace it.

    Attributes:
        function: A function of run context and output.
        name: As it stands in the run's result; the function's name by default.
    """

    function: GuardrailFunction
    name: str = ""

    def __post_init__(self) -> None:
        _settle_name(self, "the run context", "the output")


def guardrails_of(kind: type[InputGuardrail] | type[OutputGuardrail], given: object, subject: str) -> tuple[Any, ...]:
    """Return guardrails as a tuple, with plain functions wrapped.

    Raises:
        DefinitionError: For *subject*: something is no guardrail, or two have one name.
    """
    found: dict[str, Any] = {}
    option = "input_guardrails" if kind is InputGuardrail else "output_guardrails"
    for each in listed(subject, option, given, f"functions and {kind.__name__}"):
        if not isinstance(each, kind) and (not callable(each) or isinstance(each, InputGuardrail | OutputGuardrail)):
            raise DefinitionError(subject, f"{option} must hold functions and {kind.__name__}, not {a_kind(each)}")
        function: Any = each
        try:
            guardrail = each if isinstance(each, kind) else kind(function)
        except DefinitionError as error:
            raise DefinitionError(subject, str(error)) from None
        if guardrail.name in found:
            raise DefinitionError(subject, f"two guardrails are named {guardrail.name!r}; give one of them name=…")
        found[guardrail.name] = guardrail
    return tuple(found.values())


def _settle_name(guardrail: InputGuardrail | OutputGuardrail, *takes: str) -> None:
    function: object = guardrail.function
    if not callable(function) or isinstance(function, type):
        raise DefinitionError(
            type(guardrail).__name__, f"function must be a function of {' and '.join(takes)}, not {a_kind(function)}"
        )
    name: object = guardrail.name or getattr(function, "__name__", type(function).__name__)
    if not isinstance(name, str) or not name.isprintable() or len(name) > LONGEST_NAME:
        raise DefinitionError(type(guardrail).__name__, f"name must be a text of {LONGEST_NAME} characters at most")
    object.__setattr__(guardrail, "name", name)
    check_function(f"guardrail {name!r}", "its function", function, *takes)
