"""What a guardrail may say: go on, put something else in its place, or end the run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from handfast.definitions.context import RunContext
from handfast.definitions.schema.signature import require_positional
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
        object.__setattr__(self, "reason", reason_text(self.reason))


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
        _settle_name(self, "run context and items")
        if not _is_bool(self.parallel):
            raise DefinitionError(f"guardrail {self.name!r}", "parallel must be True or False")


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
        _settle_name(self, "run context and output")


def guardrails_of(
    kind: type[InputGuardrail] | type[OutputGuardrail], given: Sequence[object], subject: str
) -> tuple[Any, ...]:
    """Wrap plain functions; every name is unique.

    Raises:
        DefinitionError: For *subject*: something is no guardrail, or two have one name.
    """
    found: dict[str, Any] = {}
    for each in given:
        if not isinstance(each, kind) and (not callable(each) or isinstance(each, InputGuardrail | OutputGuardrail)):
            raise DefinitionError(subject, f"{kind.__name__} or a function is wanted, not a {type(each).__name__}")
        function: Any = each
        try:
            guardrail = each if isinstance(each, kind) else kind(function)
        except DefinitionError as error:
            raise DefinitionError(subject, str(error)) from None
        if guardrail.name in found:
            raise DefinitionError(subject, f"two guardrails are named {guardrail.name!r}; give one of them name=…")
        found[guardrail.name] = guardrail
    return tuple(found.values())


def _settle_name(guardrail: InputGuardrail | OutputGuardrail, takes: str) -> None:
    function: object = guardrail.function
    if not callable(function):
        raise DefinitionError(type(guardrail).__name__, f"takes a function of {takes}, not a {type(function).__name__}")
    name: object = guardrail.name or getattr(function, "__name__", type(function).__name__)
    if not isinstance(name, str) or not name.isprintable() or len(name) > LONGEST_NAME:
        raise DefinitionError(type(guardrail).__name__, f"name must be a text of {LONGEST_NAME} characters at most")
    object.__setattr__(guardrail, "name", name)
    require_positional(function, 2, f"guardrail {name!r}", f"its function, given {takes},")


def _is_bool(value: object) -> bool:
    return isinstance(value, bool)
