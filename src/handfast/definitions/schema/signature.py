"""Makes the pydantic model of a function's arguments, as `pydantic.validate_call` reads its signature."""

from __future__ import annotations

import inspect
import re
import sys
import types
import typing
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import FrameType, SimpleNamespace
from typing import Annotated, Any, ClassVar, Final, Union, get_args, get_origin

import typing_extensions
from pydantic import AliasChoices, AliasPath, BaseModel, ConfigDict, Field, create_model, model_validator
from pydantic.errors import PydanticUserError
from pydantic.fields import FieldInfo

from handfast.definitions.context import RunContext, ToolContext
from handfast.definitions.schema.call_form import CallForm, call_form
from handfast.definitions.schema.json_schema import arguments_schema
from handfast.definitions.secret import SecretParameter, secret_of
from handfast.errors import DefinitionError
from handfast.payloads.json_profile import JsonObject

__all__ = ["ParsedDocstring", "Signature", "parse_docstring", "read_signature"]

_CONFIG: Final = ConfigDict(extra="forbid", hide_input_in_errors=True, protected_namespaces=())

_OF_ANOTHER: Final = (typing.ParamSpecArgs, typing.ParamSpecKwargs)
_UNBUILDABLE: Final = (PydanticUserError, NameError, TypeError, ValueError, RecursionError)
_ARGUMENTS_HEADER: Final = re.compile(r"(Args|Arguments|Parameters):\s*")
_ENTRY: Final = re.compile(r"(?P<name>\w+)\s*(\(.*?\))?\s*:\s*(?P<text>.*)")


@dataclass(frozen=True, slots=True)
class Signature:
    """A function's signature, as a tool uses it.

    Attributes:
        schema: pydantic's own schema of the model, not yet in strict form.
        context_type: The C of ``ToolContext[C]``, None where there is none.
    """

    arguments_model: type[BaseModel]
    schema: JsonObject
    description: str
    form: CallForm
    context_type: type[Any] | None
    secrets: tuple[SecretParameter, ...] = ()


def read_signature(function: Callable[..., Any], subject: str) -> Signature:
    """Read parameters, annotations and docstring of *function*.

    Raises:
        DefinitionError: For *subject*: the signature cannot be offered to a model.
    """
    parameters = dict(inspect.signature(function).parameters)
    hints = _resolve_hints(function, parameters, subject)
    offered = dict(parameters)
    context = _take_context(offered, hints, subject)
    secrets = _take_secrets(offered, hints, subject)
    docstring = parse_docstring(inspect.getdoc(function))
    fields, droppable = _fields(offered, hints, docstring.parameters, subject)
    extra = _extra(offered, hints, {*parameters, *fields})
    model = _build_model(function, fields, extra, subject)
    _check_names(model, fields, subject)
    return Signature(
        arguments_model=model,
        schema=_build_schema(model, fields, subject),
        description=docstring.description,
        form=call_form(
            {name: each for name, each in parameters.items() if not _is_unpacked(hints[name])},
            context=context,
            droppable=droppable,
        ),
        context_type=None if context is None else _type_of_context(_bare(hints[context])),
        secrets=secrets,
    )


def _resolve_hints(
    function: Callable[..., Any], parameters: dict[str, inspect.Parameter], subject: str
) -> dict[str, Any]:
    for name, parameter in parameters.items():
        if parameter.annotation is inspect.Parameter.empty:
            raise DefinitionError(subject, f"parameter {name!r} needs a type annotation")
    target = inspect.unwrap(function)
    namespace = getattr(target, "__globals__", {})
    local = _enclosing_names(target)
    hints: dict[str, Any] = {}
    for name, parameter in parameters.items():
        holder = SimpleNamespace(__annotations__={name: parameter.annotation})
        try:
            found = typing.get_type_hints(holder, namespace, local, include_extras=True)
        except (TypeError, SyntaxError) as error:
            raise DefinitionError(subject, f"the annotation of parameter {name!r} is no type: {error}") from None
        except (NameError, AttributeError) as error:
            raise DefinitionError(
                subject,
                f"the annotation of parameter {name!r} cannot be resolved ({error}); "
                "import or define the type where it exists at run time, not only under TYPE_CHECKING",
            ) from None
        if isinstance(found[name], _OF_ANOTHER):
            raise DefinitionError(
                subject,
                f"parameter {name!r} stands for what another function takes; decorate the function that takes it with "
                "functools.wraps, or write its parameters out",
            )
        hints |= found
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


def _take_context(parameters: dict[str, inspect.Parameter], hints: dict[str, Any], subject: str) -> str | None:
    """Remove the `ToolContext` from *parameters* and return its name."""
    taken: str | None = None
    for position, (name, parameter) in enumerate(list(parameters.items())):
        kind = _context_class(_bare(hints[name]))
        if kind is None:
            if _holds_context(hints[name]):
                raise DefinitionError(
                    subject, f"parameter {name!r} holds a context inside another type; declare it as a ToolContext"
                )
            continue
        if kind is not ToolContext:
            raise DefinitionError(subject, f"parameter {name!r} must be a ToolContext, not a {kind.__name__}")
        if parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD):
            raise DefinitionError(subject, f"parameter {name!r} takes several values; there is one ToolContext")
        if taken is not None or (position and parameter.kind is not inspect.Parameter.KEYWORD_ONLY):
            raise DefinitionError(subject, f"the ToolContext {name!r} must be the first parameter, and the only one")
        taken = name
        del parameters[name]
    return taken


def _bare(hint: Any) -> Any:
    """Return *hint* without `Annotated`, without ``| None``, and behind an alias."""
    while True:
        if get_origin(hint) is Annotated:
            hint = get_args(hint)[0]
        elif isinstance(hint, typing_extensions.TypeAliasType):
            hint = hint.__value__
        elif get_origin(hint) in (Union, types.UnionType):
            members = [each for each in get_args(hint) if each is not types.NoneType]
            if len(members) != 1:
                return hint
            hint = members[0]
        else:
            return hint


def _context_class(hint: Any) -> type[Any] | None:
    kind = get_origin(hint) or hint
    return kind if isinstance(kind, type) and issubclass(kind, RunContext) else None


def _holds_context(hint: Any) -> bool:
    return _context_class(hint) is not None or any(_holds_context(each) for each in get_args(hint))


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


def _is_unpacked(hint: Any) -> bool:
    return get_origin(hint) in (typing.Unpack, typing_extensions.Unpack)


def _fields(
    parameters: Mapping[str, inspect.Parameter], hints: Mapping[str, Any], documented: Mapping[str, str], subject: str
) -> tuple[dict[str, Any], frozenset[str]]:
    """Return the definitions of the model's fields, and the names of those that may stay away from the call."""
    fields: dict[str, Any] = {}
    droppable: set[str] = set()
    for name, parameter in parameters.items():
        hint = hints[name]
        match parameter.kind:
            case inspect.Parameter.VAR_KEYWORD if _is_unpacked(hint):
                for key, kind, required in _keys(get_args(hint)[0], name, subject):
                    if key in parameters:
                        raise DefinitionError(subject, f"{key!r} is a parameter and a key of {name!r}; rename one")
                    described = _described(kind, documented.get(key))
                    fields[key] = described if required else (described, Field(default_factory=lambda: None))
                    if not required:
                        droppable.add(key)
            case inspect.Parameter.VAR_KEYWORD:
                continue
            case inspect.Parameter.VAR_POSITIONAL:
                if _is_unpacked(hint) or getattr(hint, "__unpacked__", False):
                    raise DefinitionError(subject, f"parameter {name!r} unpacks a tuple; declare each value by name")
                fields[name] = (_described(list[hint], documented.get(name)), Field(default_factory=list))  # type: ignore[valid-type] # made here
            case _:
                described = _described(hint, documented.get(name))
                given = parameter.default
                fields[name] = described if given is inspect.Parameter.empty else (described, given)
    return fields, frozenset(droppable)


def _keys(kind: Any, name: str, subject: str) -> list[tuple[str, Any, bool]]:
    """Return name, type and whether it is required of each key of a TypedDict."""
    if not typing_extensions.is_typeddict(get_origin(kind) or kind):
        raise DefinitionError(subject, f"parameter {name!r} unpacks what is no TypedDict")
    found: list[tuple[str, Any, bool]] = []
    needed = (typing.Required, typing_extensions.Required)
    qualifiers: tuple[Any, ...] = (
        *needed,
        typing.NotRequired,
        typing_extensions.NotRequired,
        typing_extensions.ReadOnly,
    )
    for key, qualified in typing_extensions.get_type_hints(kind, include_extras=True).items():
        hint: Any = qualified
        required = key in kind.__required_keys__
        while (qualifier := get_origin(hint)) in qualifiers:
            # __required_keys__ does not know what a class says in annotations that are texts.
            if qualifier is not typing_extensions.ReadOnly:
                required = qualifier in needed
            [hint] = get_args(hint)
        found.append((key, hint, required))
    return found


def _extra(parameters: Mapping[str, inspect.Parameter], hints: Mapping[str, Any], taken: set[str]) -> dict[str, Any]:
    """Return the options of a model that takes any keyword of the type of ``**kwargs``; empty where there is none."""
    keywords = [name for name, each in parameters.items() if each.kind is inspect.Parameter.VAR_KEYWORD]
    if not keywords or _is_unpacked(hints[keywords[0]]):
        return {}
    values: Any = hints[keywords[0]]

    def refuse_taken(model: BaseModel) -> BaseModel:
        names = sorted(taken & set(model.model_extra or ()))
        if names:
            raise ValueError(f"{names[0]} is the name of a parameter")
        return model

    base = type(
        "_Keywords",
        (BaseModel,),
        {
            "__module__": __name__,
            "__annotations__": {"__pydantic_extra__": dict[str, values]},
            "model_config": ConfigDict(**{**_CONFIG, "extra": "allow"}),
        },
    )
    return {"__base__": base, "__validators__": {"refuse_taken": model_validator(mode="after")(refuse_taken)}}


def _described(hint: Any, documented: str | None) -> Any:
    extras = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    if not documented or any(isinstance(extra, FieldInfo) and extra.description for extra in extras):
        return hint
    return Annotated[hint, Field(description=documented)]


def _build_model(
    function: Callable[..., Any], fields: dict[str, Any], extra: dict[str, Any], subject: str
) -> type[BaseModel]:
    for name in fields:
        if name.startswith("_") or (name.startswith("model_") and hasattr(BaseModel, name)):
            raise DefinitionError(subject, f"parameter {name!r} has a name that pydantic keeps for itself; rename it")
    title = "".join(part.capitalize() for part in function.__name__.split("_"))
    options = extra or {"__config__": _CONFIG}
    try:
        with warnings.catch_warnings():
            # A parameter may be called `json` or `copy`: nobody calls the methods that it hides.
            warnings.filterwarnings("ignore", message="Field name .* shadows an attribute", category=UserWarning)
            return create_model(f"{title}Arguments", __module__=function.__module__, **options, **fields)
    except _UNBUILDABLE as error:
        culprit = next((name for name, kind in fields.items() if not _builds({name: kind})), None)
        raise _no_schema(subject, culprit, "schema", error) from error


def _builds(fields: dict[str, Any], *, schema: bool = False) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = create_model("One", __config__=_CONFIG, **fields)
        if schema:
            arguments_schema(model)
    except _UNBUILDABLE:
        return False
    return True


def _build_schema(model: type[BaseModel], fields: dict[str, Any], subject: str) -> JsonObject:
    try:
        return arguments_schema(model)
    except _UNBUILDABLE as error:
        culprit = next((name for name, kind in fields.items() if not _builds({name: kind}, schema=True)), None)
        raise _no_schema(subject, culprit, "JSON schema", error) from error


def _no_schema(subject: str, parameter: str | None, what: str, error: Exception) -> DefinitionError:
    who = "its arguments have" if parameter is None else f"parameter {parameter!r} has"
    why = _first_line(error).partition(". Set `arbitrary_types_allowed")[0]
    return DefinitionError(
        subject, f"{who} no {what}: {why}; take a type that pydantic reads from JSON, and objects from ctx.resources"
    )


def _check_names(model: type[BaseModel], fields: Mapping[str, Any], subject: str) -> None:
    """Refuse what a model would not be told of: no field for a parameter, or no name of its own in the schema."""
    seen: dict[str, str] = {}
    for name in fields:
        field = model.model_fields.get(name)
        if field is None:
            raise DefinitionError(subject, f"parameter {name!r} is a {ClassVar.__name__}; drop that")  # type: ignore[attr-defined] # a special form has a name
        alias: Any = field.validation_alias
        if isinstance(alias, AliasChoices):
            alias = next(iter(alias.choices))
        if isinstance(alias, AliasPath):
            raise DefinitionError(subject, f"parameter {name!r} has an AliasPath, which no schema can say; drop it")
        offered = name if alias is None else str(alias)
        if offered in seen:
            raise DefinitionError(
                subject, f"parameters {seen[offered]!r} and {name!r} are both offered as {offered!r}; rename one"
            )
        seen[offered] = name


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
