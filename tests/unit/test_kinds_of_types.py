"""Many kinds of types, at every border: read as pydantic reads them, and whatever a strict schema allows is taken."""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import enum
import functools
import json
import uuid
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, NotRequired, ParamSpec, TypeVar

import pytest
from hypothesis import given, settings, strategies as st
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Json,
    RootModel,
    Tag,
    TypeAdapter,
    WrapValidator,
    computed_field,
    dataclasses as pydantic_dataclasses,
    field_validator,
)
from typing_extensions import TypeAliasType, TypedDict

from handfast import tool
from handfast.definitions.schema.output_type import output_type_of
from handfast.errors import DefinitionError
from handfast.payloads.json_profile import JsonObject

T = TypeVar("T")
P = ParamSpec("P")
R = TypeVar("R")


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Word(enum.StrEnum):
    YES = "yes"
    NO = "no"


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int = 9


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"
    name: str = "rex"


class Option(TypedDict):
    a: int
    b: NotRequired[str]


class Named(NamedTuple):
    x: int
    y: str = "why"


@dataclasses.dataclass
class Counted:
    a: int
    b: list[int] = dataclasses.field(init=False, default_factory=lambda: [1])


@dataclasses.dataclass(kw_only=True, slots=True, frozen=True)
class Kept:
    a: int
    b: tuple[int, ...] = ()


@pydantic_dataclasses.dataclass
class Spelled:
    a: int = Field(alias="Alpha")


class EitherName(BaseModel):
    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)
    some_name: int = Field(3, alias="someName")


class Page(BaseModel, Generic[T]):
    items: list[T]
    next: T | None = None


class Numbers(RootModel[list[int]]):
    pass


class Strictly(BaseModel):
    model_config = ConfigDict(strict=True)
    when: dt.date
    tags: set[str] = set()


class Counting(BaseModel):
    a: int

    @computed_field  # type: ignore[prop-decorator] # pydantic's own way
    @property
    def twice(self) -> int:
        return self.a * 2

    @field_validator("a")
    @classmethod
    def as_it_is(cls, value: int) -> int:
        return value


class Forest(BaseModel):
    value: int
    trees: list[Forest] = []


Whole = NewType("Whole", int)
Lines = TypeAliasType("Lines", list[int])
Pairs = TypeAliasType("Pairs", list[tuple[T, int]], type_params=(T,))
Anything = TypeAliasType("Anything", "dict[str, Anything] | list[Anything] | str | int | None")


def upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


def length(value: object) -> object:
    return len(value) if isinstance(value, str) else value


def from_text(value: object, handler: Callable[[object], int]) -> int:
    return handler(int(value)) if isinstance(value, str) else handler(value)


def breed(value: Any) -> str:
    return "cat" if (value.get("kind") if isinstance(value, dict) else value.kind) == "cat" else "dog"


Pet = Annotated[Cat | Dog, Field(discriminator="kind")]
Animal = Annotated[Annotated[Cat, Tag("cat")] | Annotated[Dog, Tag("dog")], Discriminator(breed)]

KINDS: dict[str, tuple[Any, Any]] = {
    "typed-dict": (Option, {"a": 1}),
    "typed-dict-whole": (Option, {"a": 1, "b": "x"}),
    "named-tuple": (Named, [1, "z"]),
    "named-tuple-by-name": (Named, {"x": 1}),
    "named-tuple-short": (Named, [1]),
    "init-false": (Counted, {"a": 1}),
    "kw-only": (Kept, {"a": 1, "b": [1, 2]}),
    "pydantic-dataclass": (Spelled, {"Alpha": 1}),
    "discriminated": (Pet, {"kind": "cat"}),
    "discriminated-list": (list[Pet], [{"kind": "dog", "name": "bo"}, {"kind": "cat", "lives": 3}]),
    "tagged-by-function": (Animal, {"kind": "cat", "lives": 2}),
    "before": (Annotated[str, BeforeValidator(upper)], "abc"),
    "before-of-another-type": (Annotated[int, BeforeValidator(length)], "abc"),
    "after": (Annotated[str, AfterValidator(upper)], "abc"),
    "wrap": (Annotated[int, WrapValidator(from_text)], "5"),
    "alias": (EitherName, {"someName": 4}),
    "by-name": (EitherName, {"some_name": 5}),
    "generic": (Page[int], {"items": [1]}),
    "generic-of-generic": (Page[Page[str]], {"items": [{"items": ["x"], "next": "y"}], "next": None}),
    "root": (Numbers, [1, 2]),
    "strict": (Strictly, {"when": "2026-01-01", "tags": ["x"]}),
    "computed": (Counting, {"a": 1}),
    "recursive": (Forest, {"value": 1, "trees": [{"value": 2, "trees": []}]}),
    "new-type": (Whole, 3),
    "alias-type": (Lines, [1]),
    "generic-alias-type": (Pairs[str], [["x", 1]]),
    "recursive-alias-type": (Anything, {"x": [1, "s", None]}),
    "enum": (Colour, "red"),
    "int-enum": (dict[str, Level], {"a": 2}),
    "literal-of-str-enum": (Literal[Word.YES], "yes"),
    "literal": (Literal["x", 1, None, True], True),
    "decimal": (Decimal, "1.10"),
    "datetime": (AwareDatetime, "2026-01-01T00:00:00Z"),
    "date-time-delta": (tuple[dt.date, dt.time, dt.timedelta], ["2026-01-01", "10:00:00", "PT1H"]),
    "uuid": (uuid.UUID, str(uuid.UUID(int=5))),
    "bytes": (bytes, "hello"),
    "path": (Path, "/tmp/x"),
    "sets": (tuple[set[int], frozenset[str]], [[1, 1], ["x"]]),
    "empty-tuple": (tuple[()], []),
    "deque": (collections.deque[int], [1]),
    "sequence": (Sequence[int], [1]),
    "counter": (collections.Counter[str], {"x": 2}),
    "enum-keys": (dict[Colour, int], {"red": 2}),
    "int-keys": (dict[int, int], {"1": 2}),
    "json": (Json[dict[str, int]], '{"x": 1}'),
    "int-or-text": (int | str, "5"),
    "float-or-int": (float | int, 5),
}


def taking(kind: Any) -> Any:
    """A tool of one argument of that type, written as text as in a module with postponed annotations."""

    def take(value: Any) -> Any:
        return value

    take.__annotations__["value"] = kind
    return tool(take)


@pytest.mark.parametrize(("kind", "written"), [pytest.param(*each, id=name) for name, each in KINDS.items()])
def test_a_type_is_read_as_pydantic_reads_it(kind: Any, written: Any) -> None:
    """As a tool's argument and as an agent's answer, JSON becomes the value that pydantic makes of it."""
    meant = TypeAdapter(kind).validate_json(json.dumps(written))
    definition = taking(kind)
    assert definition.bind(definition.parse_text(json.dumps({"value": written}))) == {"value": meant}
    output = output_type_of(kind, "agent 'a'")
    assert output is not None
    output.check_text(json.dumps({"response": written} if output.wrapped else written))
    assert output.read(written) == meant


def allowed(schema: JsonObject, root: JsonObject) -> st.SearchStrategy[Any]:
    """What a strict schema allows."""
    match schema:
        case {"$ref": str(name)}:
            defined: Any = root["$defs"]
            return st.deferred(lambda: allowed(defined[name.rpartition("/")[2]], root))
        case {"anyOf": list(members)}:
            return st.one_of([allowed(each, root) for each in members if isinstance(each, dict)])
        case {"const": value}:
            return st.just(value)
        case {"enum": list(values)}:
            return st.sampled_from(values)
        case {"type": "object", "properties": dict(properties)}:
            inner = {name: allowed(each, root) for name, each in properties.items() if isinstance(each, dict)}
            return st.fixed_dictionaries(inner)
        case {"type": "array", "items": dict(items)}:
            return st.lists(allowed(items, root), max_size=2)
        case {"type": "string"}:
            texts = {"date-time": "2026-01-01T00:00:00Z", "date": "2026-01-01", "uuid": str(uuid.UUID(int=7))}
            return st.just(texts.get(str(schema.get("format")), "5"))
        case {"type": str(name)}:
            plain = {"null": st.none(), "boolean": st.booleans(), "integer": st.integers(-9, 9)}
            return plain.get(name, st.sampled_from([1, -2.5, 0.25]))
    raise AssertionError(schema)


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, id=name) for name, (kind, _) in KINDS.items() if name not in {"json", "init-false"}]
)
@settings(max_examples=30)
@given(st.data())
def test_whatever_a_strict_schema_allows_is_taken(kind: Any, data: st.DataObject) -> None:
    """A model that keeps to the schema of a tool is never told that its arguments do not fit."""
    definition = taking(kind)
    offered = definition.parameters
    if definition.strict:
        definition.bind(definition.parse_text(json.dumps(data.draw(allowed(offered, offered)))))


class Tagged(BaseModel):
    kind: Literal[Colour.RED]


def passing(function: Callable[P, R]) -> Callable[P, R]:
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        return function(*args, **kwargs)

    return wrapper


def wrapping(function: Callable[P, R]) -> Callable[P, R]:
    return functools.wraps(function)(passing(function))


def plain(a: int, b: int = 3) -> tuple[int, int]:
    return a, b


class Service:
    """Whose methods are tools."""

    def __init__(self, rate: int) -> None:
        self.rate = rate

    def price(self, count: int = 2) -> int:
        return self.rate * count

    @classmethod
    def named(cls, count: int) -> str:
        return cls.__name__ * count

    @staticmethod
    def same(count: int) -> int:
        return count

    def __call__(self, count: int) -> int:
        return count


@pytest.mark.parametrize(
    ("function", "written", "answer"),
    [
        pytest.param(Service(10).price, {"count": None}, 20, id="method"),
        pytest.param(Service.named, {"count": 1}, "Service", id="classmethod"),
        pytest.param(Service.same, {"count": 1}, 1, id="staticmethod"),
        pytest.param(wrapping(plain), {"a": 1, "b": None}, (1, 3), id="decorated"),
    ],
)
def test_functions_of_every_make_are_tools(function: Any, written: JsonObject, answer: object) -> None:
    """Methods, and functions under a decorator that keeps their signature, take what a model fills in."""
    definition = tool(function)
    values = definition.bind(definition.parse_text(json.dumps(written)))
    positional, named = definition.form.passed(values, None)
    assert definition.function(*positional, **named) == answer


@pytest.mark.parametrize(
    ("function", "says"),
    [
        pytest.param(functools.partial(plain, b=7), "not of a partial; write a function that calls it", id="partial"),
        pytest.param(functools.lru_cache(plain), "write a function that calls it", id="cached"),
        pytest.param(Service(1), "not of a Service; write a function that calls it", id="object"),
        pytest.param(functools.singledispatch(plain), "is a functools.singledispatch", id="single-dispatch"),
        pytest.param(passing(plain), "'args' stands for what another function takes; decorate", id="no-wraps"),
    ],
)
def test_what_cannot_be_a_tool_says_what_to_write(function: Any, says: str) -> None:
    """The model could change what a partial holds fast; of the others it could not be told what they take."""
    with pytest.raises(DefinitionError, match=says):
        tool(name="given")(function)


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        pytest.param(Literal[Colour.RED], r"no JSON value is Colour.RED; take Literal\['red'\]", id="literal-of-enum"),
        pytest.param(list[Tagged], "no JSON value is Colour.RED", id="inside-a-model"),
        pytest.param(type[int], r"no JSON value is a class, as type\[int\] wants it", id="class"),
        pytest.param(Callable[[int], int], "CallableSchema", id="function"),
    ],
)
def test_a_type_that_no_json_fits_is_refused_where_it_is_written(kind: Any, says: str) -> None:
    """Pydantic has a schema for some types that it takes from no JSON: a model could never call such a tool."""
    with pytest.raises(DefinitionError, match=says):
        taking(kind)
    with pytest.raises(DefinitionError, match=says):
        output_type_of(kind, "agent 'a'")
