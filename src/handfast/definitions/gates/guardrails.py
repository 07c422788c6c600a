"""What a guardrail may say: go on, put something else in its place, or end the run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from handfast.definitions.checks import a_kind, check_bool, check_function, listed
from handfast.definitions.context import RunContext
from handfast.errors import DefinitionError
from handfast.payloads.json_profile import scrub

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
            raise DefinitionError("Fail", f"reason must be a text, not {a_kind(self.reason)}")
        object.__setattr__(self, "reason", scrub(self.reason[:REASON_CHARACTERS]))


GuardrailVerdict: TypeAlias = Allow | Replace | Fail | None
"""What a guardrail function returns; None is `Allow`."""

GuardrailFunction: TypeAlias = Callable[[RunContext[Any], Any], GuardrailVerdict | Awaitable[GuardrailVerdict]]
"""A function of the run context and of what is to be checked, sync or async."""


@dataclass(frozen=True)
class InputGuardrail:
    """Looks at what an agent is given: a list of items as the Responses API takes them. Once per run.

    Attributes:
        function: Of run context and items.
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
    """Looks at an agent's final output: its text, or its `output_type`. May replace it.

    Attributes:
        function: Of run context and output.
        name: As it stands in the run's result; the function's name by default.
    """

    function: GuardrailFunction
    name: str = ""

    def __post_init__(self) -> None:
        _settle_name(self, "the run context", "the output")


def guardrails_of(kind: type[InputGuardrail] | type[OutputGuardrail], given: object, subject: str) -> tuple[Any, ...]:
    """Wrap plain functions; every name is unique.

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
