"""What may stand in a tool's signature: as `pydantic.validate_call` reads it, or refused in words that help."""

from __future__ import annotations

import enum
import inspect
import threading
import typing
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NotRequired, Optional, TypeVar, Union
from uuid import UUID

import pytest
from hypothesis import given, settings, strategies as st
from pydantic import (
    AliasChoices,
    AliasPath,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Json,
    PositiveInt,
    SecretStr,
    TypeAdapter,
    validate_call,
)
from typing_extensions import TypeAliasType, TypedDict, Unpack

from handfast import RunContext, Secret, ToolContext, custom_tool, tool
from handfast.errors import ArgumentsInvalidError, DefinitionError

Got = tuple[Any, ...]
T = TypeVar("T")


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Point(BaseModel):
    x: int
    y: int = 0


@dataclass
class Size:
    width: int
    tags: list[str] = field(default_factory=list)


class Options(TypedDict):
    limit: int
    note: NotRequired[str]
    where: NotRequired[Annotated[int | None, Field(ge=0)]]


Alias = TypeAliasType("Alias", list[int])


def annotated_default(x: Annotated[int, Field(default=5)]) -> Got:
    return (x,)


def annotated_factory(x: Annotated[list[int], Field(default_factory=lambda: [1])]) -> Got:
    return (x,)


def described_default(x: Annotated[int, Field(default=5)]) -> Got:
    """Do it.

    Args:
        x: How often.
    """
    return (x,)


def field_default(x: int = Field(default=5, ge=1), y: list[int] = Field(default_factory=list)) -> Got:  # noqa: B008
    return x, y


def both_defaults(x: Annotated[int, Field(default=5)] = 6) -> Got:
    return (x,)


def aliased(order: Annotated[int, Field(alias="orderId")], note: str = Field("n", alias="Note")) -> Got:
    return order, note


def choices(x: Annotated[int, Field(validation_alias=AliasChoices("a", "b"))]) -> Got:
    return (x,)


def swapped(a: Annotated[int, Field(alias="b")], b: Annotated[int, Field(alias="a")]) -> Got:
    return a, b


def literals(x: Literal["a", 1, None], y: Literal[True] = True) -> Got:
    return x, y


def enums(x: Colour, y: Level = Level.LOW) -> Got:
    return x, y


def plain_types(a: date, b: timedelta, c: UUID, d: Decimal, e: Path, f: bytes, g: set[int], h: tuple[int, ...]) -> Got:  # noqa: PLR0917
    return a, b, c, d, e, f, g, h


def nested(a: Point, b: Size, c: Options, d: dict[str, Point], e: Json[list[int]], f: Alias) -> Got:  # noqa: PLR0917
    return a, b, c, d, e, f


def optionals(a: Optional[int], b: Union[int, str, None] = None, c: "int | None" = 3) -> Got:  # noqa: UP007, UP037, UP045
    return a, b, c


def implicit(a: int = None) -> Got:  # type: ignore[assignment] # noqa: RUF013 - as many write it
    return (a,)


def constrained(a: PositiveInt, b: Annotated[str, Field(max_length=3), BeforeValidator(str.strip)]) -> Got:
    return a, b


def positional(a: int, b: int = 2, /, c: int = 3, *, d: int = 4) -> Got:
    return a, b, c, d


def variadic(a: int, b: int = 2, *values: int, d: int = 4) -> Got:
    return a, b, values, d


def only_variadic(*values: Point) -> Got:
    return values


def keywords(a: int, **more: int) -> Got:
    return a, more


def keywords_of_models(**more: Point) -> Got:
    return (more,)


def unpacked(a: int, **options: Unpack[Options]) -> Got:
    return a, options


def unpacked_by_typing(**options: typing.Unpack[Options]) -> Got:
    return (options,)


def everything(a: int, /, b: int, *values: int, c: int = 3, **more: int) -> Got:
    return a, b, values, c, more


def of_any_type(a: T, b: Any, c: object = None) -> Got:
    return a, b, c


def named_like_methods(json: int, copy: int, validate: int, dict: int, fields: int) -> Got:
    return json, copy, validate, dict, fields


WORKS: list[tuple[Callable[..., Got], dict[str, Any], tuple[tuple[Any, ...], dict[str, Any]]]] = [
    (annotated_default, {}, ((), {})),
    (annotated_default, {"x": 1}, ((), {"x": 1})),
    (annotated_factory, {}, ((), {})),
    (described_default, {"x": None}, ((), {})),
    (field_default, {"x": None, "y": None}, ((), {})),
    (both_defaults, {}, ((), {})),
    (aliased, {"orderId": 1, "Note": None}, ((), {"orderId": 1})),
    (choices, {"a": 1}, ((), {"a": 1})),
    (choices, {"b": 1}, ((), {"b": 1})),
    (swapped, {"a": 1, "b": 2}, ((), {"a": 1, "b": 2})),
    (literals, {"x": None, "y": None}, ((), {"x": None})),
    (literals, {"x": 1.0, "y": True}, ((), {"x": 1})),
    (enums, {"x": "red", "y": 2}, ((), {"x": Colour.RED, "y": Level.HIGH})),
    (
        plain_types,
        {
            "a": "2026-01-02",
            "b": "PT1S",
            "c": "12345678-1234-5678-1234-567812345678",
            "d": "1.10",
            "e": "/tmp/x",
            "f": "abc",
            "g": [1],
            "h": [1, 2],
        },
        (
            (),
            {
                "a": date(2026, 1, 2),
                "b": timedelta(seconds=1),
                "c": UUID("12345678-1234-5678-1234-567812345678"),
                "d": Decimal("1.10"),
                "e": Path("/tmp/x"),
                "f": b"abc",
                "g": {1},
                "h": (1, 2),
            },
        ),
    ),
    (
        nested,
        {
            "a": {"x": 1, "y": None},
            "b": {"width": 1, "tags": None},
            "c": {"limit": 1, "note": None},
            "d": {},
            "e": "[1]",
            "f": [1],
        },
        ((), {"a": Point(x=1), "b": Size(1), "c": {"limit": 1}, "d": {}, "e": "[1]", "f": [1]}),
    ),
    (optionals, {"a": None, "b": None, "c": None}, ((), {"a": None, "b": None, "c": None})),
    (implicit, {"a": None}, ((), {})),
    (constrained, {"a": 1, "b": " ab "}, ((), {"a": 1, "b": "ab"})),
    (positional, {"a": 1, "b": None, "c": 5, "d": 6}, ((1,), {"c": 5, "d": 6})),
    (positional, {"a": 1, "b": 7}, ((1, 7), {})),
    (variadic, {"a": 1, "b": 2, "values": [3, 4], "d": 5}, ((1, 2, 3, 4), {"d": 5})),
    (variadic, {"a": 1, "b": None, "values": None, "d": None}, ((1,), {})),
    (only_variadic, {"values": [{"x": 1, "y": None}]}, ((Point(x=1),), {})),
    (keywords, {"a": 1, "b": 2, "c": 3.0}, ((), {"a": 1, "b": 2, "c": 3})),
    (keywords, {"a": 1}, ((), {"a": 1})),
    (keywords_of_models, {"p": {"x": 1}}, ((), {"p": Point(x=1)})),
    (unpacked, {"a": 1, "limit": 2, "note": None, "where": None}, ((), {"a": 1, "limit": 2, "where": None})),
    (unpacked, {"a": 1, "limit": 2, "note": "n"}, ((), {"a": 1, "limit": 2, "note": "n"})),
    (unpacked_by_typing, {"limit": 2, "note": None, "where": 1}, ((), {"limit": 2, "where": 1})),
    (everything, {"a": 1, "b": 2, "values": [3], "c": 4, "z": 5}, ((1, 2, 3), {"c": 4, "z": 5})),
    (of_any_type, {"a": 1, "b": [1], "c": None}, ((), {"a": 1, "b": [1], "c": None})),
    (
        named_like_methods,
        dict.fromkeys(("json", "copy", "validate", "dict", "fields"), 1),
        ((), dict.fromkeys(("json", "copy", "validate", "dict", "fields"), 1)),
    ),
]


@pytest.mark.parametrize(
    ("function", "arguments", "direct"),
    [pytest.param(*row, id=f"{row[0].__name__}-{n}") for n, row in enumerate(WORKS)],
)
def test_a_signature_works_as_in_pydantic(
    function: Callable[..., Got], arguments: dict[str, Any], direct: tuple[tuple[Any, ...], dict[str, Any]]
) -> None:
    """Q5: a call with JSON arguments passes what `pydantic.validate_call` passes for the same values."""
    definition = tool(function)
    args, kwargs = definition.form.passed(definition.bind(arguments), None)
    expected = validate_call(function)(*direct[0], **direct[1])
    assert function(*args, **kwargs) == expected


PLAIN: list[tuple[Any, Any]] = [
    (int, 7),
    (float, 0.5),
    (str, "a"),
    (bool, True),
    (Colour, "blue"),
    (Literal["a", "b"], "b"),
    (int | None, None),
    (list[int], [1, 2]),
    (Point, {"x": 1, "y": 2}),
    (Annotated[int, Field(gt=0)], 3),
    (date, "2026-01-02"),
]
KINDS = [
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    inspect.Parameter.VAR_POSITIONAL,
    inspect.Parameter.KEYWORD_ONLY,
    inspect.Parameter.VAR_KEYWORD,
]


@st.composite
def signatures(draw: st.DrawFn) -> tuple[Callable[..., Any], dict[str, Any], list[Any], dict[str, Any]]:
    """A function with random parameters; arguments for it as JSON, and the same as positional and keyword arguments."""
    kinds = sorted(draw(st.lists(st.sampled_from(KINDS), max_size=6)))
    once = [kind for kind in kinds if kinds.count(kind) == 1 or "VAR" not in kind.name]
    parameters: list[inspect.Parameter] = []
    arguments: dict[str, Any] = {}
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    optional = False
    for index, kind in enumerate(once):
        name, (hint, value) = f"p{index}", draw(st.sampled_from(PLAIN))
        ready = TypeAdapter(hint).validate_python(value)
        default: Any = inspect.Parameter.empty
        match kind:
            case inspect.Parameter.VAR_POSITIONAL:
                many = draw(st.integers(0, 2)) if len(args) == sum(each.kind in KINDS[:2] for each in parameters) else 0
                arguments[name] = [value] * many
                args += [ready] * many
            case inspect.Parameter.VAR_KEYWORD:
                more = {f"x{number}": value for number in range(draw(st.integers(0, 2)))}
                arguments |= more
                kwargs |= dict.fromkeys(more, ready)
            case _:
                optional = (optional and kind != inspect.Parameter.KEYWORD_ONLY) or draw(st.booleans())
                default = ready if optional else default
                left_out = optional and draw(st.booleans())
                passed = len(args) == sum(each.kind in KINDS[:2] for each in parameters)
                if kind != inspect.Parameter.KEYWORD_ONLY and (left_out or not passed):
                    pass  # those after it are left out too
                elif kind == inspect.Parameter.KEYWORD_ONLY and left_out:
                    pass
                elif kind == inspect.Parameter.KEYWORD_ONLY:
                    arguments[name] = value
                    kwargs[name] = ready
                else:
                    arguments[name] = value
                    args.append(ready)
        parameters.append(inspect.Parameter(name, kind, annotation=hint, default=default))
    signature = inspect.Signature(parameters)

    def function(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return dict(bound.arguments)

    function.__signature__ = signature  # type: ignore[attr-defined]  # as decorators set it
    function.__annotations__ = {each.name: each.annotation for each in parameters}
    return function, arguments, args, kwargs


@settings(max_examples=300)
@given(signatures())
def test_any_mixture_of_parameters_is_passed_as_pydantic_passes_it(
    drawn: tuple[Callable[..., Any], dict[str, Any], list[Any], dict[str, Any]],
) -> None:
    """Q5: by position, by keyword, with defaults, ``*args`` and ``**kwargs``, in every order that Python has."""
    function, arguments, args, kwargs = drawn
    definition = tool(function)
    positional, named = definition.form.passed(definition.bind(arguments), None)
    assert function(*positional, **named) == validate_call(function)(*args, **kwargs)


def test_names_defaults_and_descriptions_reach_the_schema() -> None:
    """Q5: the model is offered aliases, what may be left out, and the docstring's lines."""
    assert tool(aliased).parameters["properties"].keys() == {"orderId", "Note"}
    assert tool(described_default).parameters["properties"]["x"] == {
        "anyOf": [{"type": "integer"}, {"type": "null"}],
        "description": "How often.",
    }
    offered = tool(unpacked)
    assert offered.strict
    assert list(offered.parameters["properties"]) == ["a", "limit", "note", "where"]
    assert tool(variadic).parameters["properties"]["values"]["anyOf"][0] == {
        "type": "array",
        "items": {"type": "integer"},
    }
    assert not tool(keywords).strict
    assert tool(keywords).parameters["additionalProperties"] == {"type": "integer"}


def optional_context(ctx: ToolContext[Point] | None, x: int) -> Got:
    return ctx, x


def old_optional_context(ctx: Optional[ToolContext[Point]] = None, x: int = 1) -> Got:  # noqa: UP045
    return ctx, x


def annotated_context(ctx: Annotated[ToolContext[Point], "the run"], x: int) -> Got:
    return ctx, x


def positional_context(ctx: ToolContext[Point], x: int, /) -> Got:
    return ctx, x


def keyword_context(x: int, *, ctx: ToolContext[Point]) -> Got:
    return ctx, x


def context_before_many(ctx: ToolContext[Point], x: int, *more: int) -> Got:
    return ctx, x


def context_among_keywords(ctx: ToolContext[Point], x: int, **more: int) -> Got:
    return ctx, x


@pytest.mark.parametrize(
    "function",
    [
        optional_context,
        old_optional_context,
        annotated_context,
        positional_context,
        keyword_context,
        context_before_many,
        context_among_keywords,
    ],
)
def test_a_context_is_passed_however_it_is_declared(function: Callable[..., Got]) -> None:
    """Q5: optional, annotated, by position or by keyword: it is the context, and no model is offered it."""
    definition = tool(function)
    assert "ctx" not in definition.parameters["properties"]
    assert definition.context_type is Point
    assert definition.needs_context
    context = object()
    args, kwargs = definition.form.passed(definition.bind({"x": 7}), context)
    assert function(*args, **kwargs) == (context, 7)


def guarded(a: int, token: Annotated[SecretStr, Secret("env:TOKEN")], /, **more: int) -> Got:
    return a, token, more


@pytest.mark.parametrize(
    ("function", "name"),
    [
        pytest.param(context_among_keywords, "ctx", id="the-context"),
        pytest.param(guarded, "token", id="a-secret"),
        pytest.param(everything, "values", id="the-list"),
        pytest.param(everything, "more", id="the-keywords-themselves"),
    ],
)
def test_a_keyword_of_the_model_cannot_take_a_parameters_place(function: Callable[..., Got], name: str) -> None:
    """Q5: what a model adds to ``**kwargs`` is never passed as the context, a secret, or another parameter."""
    definition = tool(function)
    arguments = {"a": 1, "b": 2, "x": 3} if function is everything else {"a": 1} if function is guarded else {"x": 1}
    with pytest.raises(ArgumentsInvalidError, match=r"name of a parameter|valid array"):
        definition.bind({**arguments, name: 9})
    if function is guarded:
        args, kwargs = definition.form.passed({**definition.bind({"a": 1, "z": 2}), "token": SecretStr("s")}, None)
        assert guarded(*args, **kwargs) == (1, SecretStr("s"), {"z": 2})


def class_variable(x: ClassVar[int]) -> None: ...  # type: ignore[misc]  # that is what is tested


def alias_path(x: Annotated[int, Field(validation_alias=AliasPath("a", "b"))]) -> None: ...


def one_alias_twice(x: Annotated[int, Field(alias="y")], y: int) -> None: ...


def listed_context(x: int, many: list[ToolContext[Any]]) -> None: ...


def either_context(ctx: ToolContext[Any] | int) -> None: ...


def many_contexts(*ctx: ToolContext[Any]) -> None: ...


def two_contexts(ctx: ToolContext[Any], other: ToolContext[Any]) -> None: ...


def a_run_context(ctx: RunContext[Any] | None) -> None: ...


def an_object(x: int, event: threading.Event) -> None: ...


def a_function(x: int, call: Callable[[], int]) -> None: ...


def unpacked_tuple(*values: *tuple[int, str]) -> None: ...


def key_twice(limit: int, **options: Unpack[Options]) -> None: ...  # type: ignore[misc]  # that is what is tested


def a_private_name(_x: int) -> None: ...


@pytest.mark.parametrize(
    ("function", "says"),
    [
        pytest.param(class_variable, "'x' is no type: typing.ClassVar[int] is not valid", id="class-variable"),
        pytest.param(alias_path, "parameter 'x' has an AliasPath, which no schema can say", id="alias-path"),
        pytest.param(one_alias_twice, "'x' and 'y' are both offered as 'y'; rename one", id="one-alias-twice"),
        pytest.param(listed_context, "'many' holds a context inside another type", id="list-of-contexts"),
        pytest.param(either_context, "'ctx' holds a context inside another type", id="context-or-int"),
        pytest.param(many_contexts, "'ctx' takes several values; there is one ToolContext", id="many-contexts"),
        pytest.param(two_contexts, "must be the first parameter, and the only one", id="two-contexts"),
        pytest.param(a_run_context, "must be a ToolContext, not a RunContext", id="run-context"),
        pytest.param(an_object, "parameter 'event' has no schema: Unable to generate", id="object"),
        pytest.param(a_function, "parameter 'call' has no JSON schema: ", id="function"),
        pytest.param(unpacked_tuple, "'values' unpacks a tuple; declare each value by name", id="unpacked-tuple"),
        pytest.param(key_twice, "'limit' is a parameter and a key of 'options'; rename one", id="key-twice"),
        pytest.param(a_private_name, "'_x' has a name that pydantic keeps for itself; rename it", id="private-name"),
    ],
)
def test_what_cannot_be_offered_is_refused_by_name(function: Callable[..., Any], says: str) -> None:
    """Q5: the error names the parameter, says what is wrong and what to do; nothing is dropped without a word."""
    with pytest.raises(DefinitionError) as refused:
        tool(function)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)
    assert "arbitrary_types_allowed" not in str(refused.value)


def test_a_custom_tool_takes_its_text_however_it_is_declared() -> None:
    """Q5: the text of a custom tool may be positional-only, and its context optional."""

    @custom_tool
    def note(ctx: ToolContext[Any] | None, text: str, /) -> str:
        """Note."""
        return text

    args, kwargs = note.form.passed(note.bind({"input": "hello"}), None)
    assert note.function(*args, **kwargs) == "hello"


class Loose(BaseModel):
    model_config = ConfigDict(extra="allow", populate_by_name=True)

    name: Annotated[str, Field(alias="Name")]


def test_a_models_own_configuration_is_kept() -> None:
    """Q5: extra fields and names beside aliases are what the model's author allows."""

    @tool
    def use(value: Loose) -> None: ...

    assert use.bind({"value": {"name": "a", "more": 1}})["value"] == TypeAdapter(Loose).validate_python(
        {"Name": "a", "more": 1}
    )
