"""From a Python function to the pydantic model of its arguments."""

from __future__ import annotations

import inspect
import re
import sys
import typing
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType, SimpleNamespace
from typing import Annotated, Any, Final, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, create_model
from pydantic.errors import PydanticUserError
from pydantic.fields import FieldInfo

from handfast.definitions.context import RunContext, ToolContext
from handfast.definitions.schema.json_schema import arguments_schema
from handfast.definitions.secret import SecretParameter, secret_of
from handfast.errors import DefinitionError
from handfast.payloads.json_profile import JsonObject

__all__ = ["ParsedDocstring", "Signature", "parse_docstring", "read_signature", "require_positional"]

_CONFIG: Final = ConfigDict(extra="forbid", hide_input_in_errors=True, protected_namespaces=())

_REFUSED_KINDS: Final = {
    inspect.Parameter.POSITIONAL_ONLY: "is positional-only; remove the '/'",
    inspect.Parameter.VAR_POSITIONAL: "takes any number of values; declare one list parameter instead",
    inspect.Parameter.VAR_KEYWORD: "takes any keyword; declare each parameter by name",
}


_ARGUMENTS_HEADER: Final = re.compile(r"(Args|Arguments|Parameters):\s*")
_ENTRY: Final = re.compile(r"(?P<name>\w+)\s*(\(.*?\))?\s*:\s*(?P<text>.*)")


@dataclass(frozen=True, slots=True)
class Signature:
    """What a tool needs to know about its function.

    Attributes:
        schema: pydantic's own schema of the model, not yet in strict form.
        context_type: The C of ``ToolContext[C]``, None where there is none.
    """

    arguments_model: type[BaseModel]
    schema: JsonObject
    description: str
    takes_context: bool
    context_type: type[Any] | None
    secrets: tuple[SecretParameter, ...] = ()


def read_signature(function: Callable[..., Any], subject: str) -> Signature:
    """Read parameters, annotations and docstring of *function*.

    Raises:
        DefinitionError: For *subject*: the signature cannot be offered to a model.
    """
    parameters = dict(inspect.signature(function).parameters)
    hints = _resolve_hints(function, parameters, subject)
    context = _take_context(parameters, hints, subject)
    secrets = _take_secrets(parameters, hints, subject)
    docstring = parse_docstring(inspect.getdoc(function))
    fields = {
        name: _field(parameter, hints[name], docstring.parameters.get(name)) for name, parameter in parameters.items()
    }
    model = _build_model(function, fields, subject)
    return Signature(
        arguments_model=model,
        schema=_build_schema(model, subject),
        description=docstring.description,
        takes_context=context is not None,
        context_type=_type_of_context(context),
        secrets=secrets,
    )


def require_positional(function: Callable[..., Any], count: int, subject: str, role: str) -> None:
    """Check that *function* takes exactly *count* positional arguments, and nothing else that is required.

    Raises:
        DefinitionError: For *subject*; *role* says what the function is and takes.
    """
    try:
        signature = inspect.signature(function)
        signature.bind(*(None for _ in range(count)))
    except (TypeError, ValueError):
        raise DefinitionError(subject, f"{role} must take exactly {_arguments(count)}") from None
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if sum(parameter.kind in positional for parameter in signature.parameters.values()) != count:
        raise DefinitionError(subject, f"{role} must take exactly {_arguments(count)}")


def _arguments(count: int) -> str:
    return "one positional argument" if count == 1 else f"{count} positional arguments"


def _resolve_hints(
    function: Callable[..., Any], parameters: dict[str, inspect.Parameter], subject: str
) -> dict[str, Any]:
    for name, parameter in parameters.items():
        if parameter.kind in _REFUSED_KINDS:
            raise DefinitionError(subject, f"parameter {name!r} {_REFUSED_KINDS[parameter.kind]}")
        if parameter.annotation is inspect.Parameter.empty:
            raise DefinitionError(subject, f"parameter {name!r} needs a type annotation")
    target = inspect.unwrap(function)
    namespace = getattr(target, "__globals__", {})
    local = _enclosing_names(target)
    hints: dict[str, Any] = {}
    for name, parameter in parameters.items():
        holder = SimpleNamespace(__annotations__={name: parameter.annotation})
        try:
            hints |= typing.get_type_hints(holder, namespace, local, include_extras=True)
        except (NameError, AttributeError, TypeError, SyntaxError) as error:
            raise DefinitionError(
                subject,
                f"the annotation of parameter {name!r} cannot be resolved ({error}); "
                "import or define the type where it exists at run time, not only under TYPE_CHECKING",
            ) from None
    return hints


def _enclosing_names(function: Callable[..., Any]) -> dict[str, Any]:
    """Return what the scopes around *function* define, so that annotations written as text find local types.

    A frame counts only when its code encloses the function by qualified name in the same module: a caller
    that is no enclosing scope must not lend its names.
    """
    qualname: str = getattr(function, "__qualname__", "")
    module_names = getattr(function, "__globals__", None)
    names: dict[str, Any] = {}
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_globals is module_names and _encloses(frame.f_code.co_qualname, qualname):
            names = {**frame.f_locals, **names}
        frame = frame.f_back
    return names


def _encloses(outer: str, inner: str) -> bool:
    return inner.startswith((f"{outer}.<locals>.", f"{outer}."))


def _take_context(parameters: dict[str, inspect.Parameter], hints: dict[str, Any], subject: str) -> Any:
    """Remove a leading `ToolContext` from *parameters* and return its annotation."""
    context = None
    for position, name in enumerate(list(parameters)):
        kind = get_origin(hints[name]) or hints[name]
        if not (isinstance(kind, type) and issubclass(kind, RunContext)):
            continue
        if kind is not ToolContext:
            raise DefinitionError(subject, f"parameter {name!r} must be a ToolContext, not a {kind.__name__}")
        if position:
            raise DefinitionError(subject, f"the ToolContext {name!r} must be the first parameter")
        context = hints[name]
        del parameters[name]
    return context


def _take_secrets(
    parameters: dict[str, inspect.Parameter], hints: dict[str, Any], subject: str
) -> tuple[SecretParameter, ...]:
    """Remove the parameters that are secrets: no model is offered them."""
    found = [secret for name in parameters if (secret := secret_of(name, hints[name], subject)) is not None]
    for secret in found:
        del parameters[secret.name]
    return tuple(found)


def _type_of_context(context: Any) -> type[Any] | None:
    argument = next(iter(get_args(context)), None)
    return argument if isinstance(argument, type) else None


def _field(parameter: inspect.Parameter, hint: Any, documented: str | None) -> tuple[Any, Any]:
    extras = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    described = any(isinstance(extra, FieldInfo) and extra.description for extra in extras)
    if documented and not described:
        hint = Annotated[hint, Field(description=documented)]
    return hint, ... if parameter.default is inspect.Parameter.empty else parameter.default


def _build_model(function: Callable[..., Any], fields: dict[str, tuple[Any, Any]], subject: str) -> type[BaseModel]:
    for name in fields:
        if name.startswith("_") or (name.startswith("model_") and hasattr(BaseModel, name)):
            raise DefinitionError(subject, f"parameter {name!r} has a name that pydantic keeps for itself; rename it")
    title = "".join(part.capitalize() for part in function.__name__.split("_"))
    definitions: dict[str, Any] = dict(fields)
    try:
        with warnings.catch_warnings():
            # A parameter may be called `json` or `copy`: nobody calls the methods that it hides.
            warnings.filterwarnings("ignore", message="Field name .* shadows an attribute", category=UserWarning)
            return create_model(f"{title}Arguments", __config__=_CONFIG, __module__=function.__module__, **definitions)
    except (PydanticUserError, NameError, TypeError, ValueError, RecursionError) as error:
        raise DefinitionError(subject, f"its arguments have no schema: {_first_line(error)}") from error


def _build_schema(model: type[BaseModel], subject: str) -> JsonObject:
    try:
        return arguments_schema(model)
    except (PydanticUserError, NameError, TypeError, ValueError, RecursionError) as error:
        raise DefinitionError(subject, f"its arguments have no JSON schema: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


@dataclass(frozen=True, slots=True)
class ParsedDocstring:
    """The text without its ``Args:`` section, and that section by parameter name."""

    description: str
    parameters: dict[str, str]


def parse_docstring(docstring: str | None) -> ParsedDocstring:
    """Split *docstring*; without one, everything is empty."""
    lines = inspect.cleandoc(docstring or "").splitlines()
    header = next((i for i, line in enumerate(lines) if _ARGUMENTS_HEADER.fullmatch(line)), None)
    if header is None:
        return ParsedDocstring("\n".join(lines).strip(), {})
    end = next((i for i in range(header + 1, len(lines)) if lines[i] and not lines[i][0].isspace()), len(lines))
    before = "\n".join(lines[:header]).rstrip()
    after = "\n".join(lines[end:]).strip()
    return ParsedDocstring(f"{before}\n\n{after}".strip(), _entries(lines[header + 1 : end]))


def _entries(lines: list[str]) -> dict[str, str]:
    filled = [line for line in lines if line.strip()]
    entry_indent = min((_indent(line) for line in filled), default=0)
    texts: dict[str, list[str]] = {}
    current: list[str] = []
    for line in filled:
        entry = _ENTRY.fullmatch(line.strip()) if _indent(line) == entry_indent else None
        if entry:
            current = texts.setdefault(entry["name"], [])
        current.append(entry["text"] if entry else line.strip())
    return {name: " ".join(part for part in parts if part) for name, parts in texts.items()}


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
