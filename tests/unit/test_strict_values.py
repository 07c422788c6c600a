"""What a model writes under a strict schema, read as the value of the type again: compared with pydantic."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NotRequired, Union

import pytest
from hypothesis import given, settings, strategies as st
from pydantic import BaseModel, Field, TypeAdapter, create_model
from typing_extensions import TypedDict

from handfast import Agent, activity_tool, handoff, question, tool
from handfast.definitions.schema.json_schema import strict_schema, type_schema
from handfast.definitions.schema.output_type import built
from handfast.definitions.schema.strict_values import from_strict
from handfast.errors import ArgumentsInvalidError
from handfast.payloads.json_profile import JsonValue
from handfast.testing.responses.schema import schema_problem

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=3)
NUMBERS = itertools.count()


@dataclass(frozen=True)
class Case:
    """A type, and how its values are written.

    Attributes:
        kind: The type.
        pairs: Values as pairs: as a model writes them under the strict schema, and with what is null there left out.
        shape: Kind of JSON value, so that the members of a union can be told apart.
        nullable: Whether null is one of its values.
    """

    kind: Any
    pairs: st.SearchStrategy[tuple[JsonValue, JsonValue]]
    shape: str
    nullable: bool = False


def same(values: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[JsonValue, JsonValue]]:
    """Values that are written as they are."""
    return values.map(lambda value: (value, value))


def whole_numbers() -> st.SearchStrategy[tuple[JsonValue, JsonValue]]:
    """Integers, some of them written with a point or an exponent."""
    integers = st.integers(-(2**63), 2**64 - 1)
    return st.one_of(same(integers), st.integers(-(2**53), 2**53).map(lambda value: (float(value), value)))


SCALARS = st.sampled_from(
    [
        Case(int, whole_numbers(), "number"),
        Case(float, same(st.floats(allow_nan=False, allow_infinity=False)), "number"),
        Case(str, same(TEXT), "string"),
        Case(bool, same(st.booleans()), "boolean"),
        Case(Literal["a", "b"], same(st.sampled_from(["a", "b"])), "string"),
    ]
)


@st.composite
def lists(draw: st.DrawFn, inner: st.SearchStrategy[Case]) -> Case:
    """A list of anything."""
    item = draw(inner)
    pairs = st.lists(item.pairs, max_size=3).map(
        lambda pairs: ([each[0] for each in pairs], [each[1] for each in pairs])
    )
    return Case(list[item.kind], pairs, "array")  # type: ignore[name-defined]  # made here


@dataclass(frozen=True)
class Property:
    """One field of an object type; *default*: the plain JSON of it, where it has one."""

    name: str
    case: Case
    default: Any = ...

    @property
    def optional(self) -> bool:
        return self.default is not ...

    def python_default(self) -> Any:
        return TypeAdapter(self.case.kind).validate_json(json.dumps(self.default), strict=True)


@st.composite
def objects(draw: st.DrawFn, inner: st.SearchStrategy[Case]) -> Case:
    """A pydantic model, a dataclass or a TypedDict with required and optional fields."""
    number = next(NUMBERS)
    fields: list[Property] = []
    for index in range(draw(st.integers(1, 3))):
        case = draw(inner)
        # A name that is shared makes members of a union alike; one of its own keeps them apart.
        name = f"f{index}" if draw(st.booleans()) else f"f{index}_{number}"
        default = draw(case.pairs)[1] if draw(st.booleans()) else ...
        fields.append(Property(name, case, default))
    fields.append(Property(f"own_{number}", draw(SCALARS)))
    makers: list[Callable[[int, list[Property]], Any]] = [_model, _dataclass, _typed_dict]
    kind = draw(st.sampled_from(makers))(number, fields)
    return Case(kind, _written(fields), "object")


def _model(number: int, fields: list[Property]) -> Any:
    made: dict[str, Any] = {}
    for each in fields:
        if not each.optional:
            made[each.name] = (each.case.kind, ...)
        elif number % 2:
            made[each.name] = (each.case.kind, Field(default_factory=each.python_default))
        else:
            made[each.name] = (each.case.kind, each.python_default())
    return create_model(f"Model{number}", **made)


def _dataclass(number: int, fields: list[Property]) -> Any:
    made: list[Any] = [
        (each.name, each.case.kind, dataclasses.field(default_factory=each.python_default))
        if each.optional
        else (each.name, each.case.kind)
        for each in fields
    ]
    return dataclasses.make_dataclass(f"Data{number}", made, kw_only=True)


def _typed_dict(number: int, fields: list[Property]) -> Any:
    made = {each.name: NotRequired[each.case.kind] if each.optional else each.case.kind for each in fields}
    return TypedDict(f"Typed{number}", made)  # type: ignore[operator]  # made here


@st.composite
def _written(draw: st.DrawFn, fields: list[Property]) -> tuple[JsonValue, JsonValue]:
    written: dict[str, JsonValue] = {}
    plain: dict[str, JsonValue] = {}
    for each in fields:
        if each.optional and not each.case.nullable and draw(st.booleans()):
            written[each.name] = None
            continue
        written[each.name], plain[each.name] = draw(each.case.pairs)
    return written, plain


@st.composite
def unions(draw: st.DrawFn, inner: st.SearchStrategy[Case]) -> Case:
    """A union of members that differ in their kind of JSON value, of several objects, or with None."""
    members = draw(st.lists(inner, min_size=1, max_size=3))
    chosen: list[Case] = []
    for each in members:
        if each.shape == "object" or each.shape not in {other.shape for other in chosen}:
            chosen.append(each)
    chosen = [each for each in chosen if each.shape != "union"] or [Case(str, same(TEXT), "string")]
    kinds = [each.kind for each in chosen]
    pairs = [each.pairs for each in chosen]
    nullable = draw(st.booleans())
    if nullable:
        kinds.append(None)
        pairs.append(st.just((None, None)))
    return Case(Union[tuple(kinds)], st.one_of(pairs), "union", nullable)  # noqa: UP007 - of a tuple


CASES = st.recursive(SCALARS, lambda inner: lists(inner) | objects(inner) | unions(inner), max_leaves=8)


@settings(max_examples=400)
@given(st.data())
def test_nulls_of_a_strict_schema_become_the_defaults_again(data: st.DataObject) -> None:
    """Q1: for any nesting of models, dataclasses, TypedDicts, lists and unions, a value as strict form asks for it
    is read as pydantic reads the value with its defaults left out."""
    case = data.draw(CASES)
    written, plain = data.draw(case.pairs)
    adapter: TypeAdapter[Any] = TypeAdapter(case.kind)
    schema = type_schema(adapter)
    strict = strict_schema(schema)
    assert strict is not None
    meant = from_strict(written, schema)
    read = adapter.validate_json(json.dumps(meant), strict=True)
    expected = adapter.validate_json(json.dumps(plain), strict=True)
    assert read == expected
    assert type(read) is type(expected)
    assert from_strict(plain, schema) == plain  # and what is right as it is stays
    assert from_strict(meant, schema) == meant


class Line(BaseModel):
    sku: str
    quantity: int = 1


class Pack(TypedDict, total=False):
    size: int
    note: str | None


@dataclass
class Box:
    lines: list[Line] = dataclasses.field(default_factory=list)
    weight: float = 1.5


class Tree(BaseModel):
    name: str = "root"
    parts: list[Tree] | None = None
    box: Box | None = None


class Small(BaseModel):
    number: Annotated[int, Field(lt=10)]
    note: str = "small"


class Large(BaseModel):
    number: Annotated[int, Field(ge=10)]
    note: str | None = None


class Cat(BaseModel):
    kind: Literal["cat"] = "cat"
    lives: int = 9


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"
    lives: int = 1


class Narrow(BaseModel):
    x: int = 1


class Wide(BaseModel):
    x: int = 1
    y: int = 2


NULLED: list[tuple[str, Any, str, JsonValue]] = [
    ("list-or-none", list[Line] | None, '[{"sku": "a", "quantity": null}]', [{"sku": "a"}]),
    ("one-or-several", Line | list[Line], '[{"sku": "a", "quantity": null}]', [{"sku": "a"}]),
    ("one-of-one-or-several", Line | list[Line], '{"sku": "a", "quantity": null}', {"sku": "a"}),
    ("typed-dict", Pack, '{"size": null, "note": null}', {"note": None}),
    ("dataclass", Box, '{"lines": [{"sku": "a", "quantity": null}], "weight": null}', {"lines": [{"sku": "a"}]}),
    (
        "recursive",
        Tree,
        '{"name": null, "parts": [{"name": null, "parts": null, "box": {"lines": null, "weight": null}}], "box": null}',
        {"parts": [{"parts": None, "box": {}}], "box": None},
    ),
    ("members-that-differ-in-a-bound-1", Small | Large, '{"number": 5, "note": null}', {"number": 5, "note": "small"}),
    ("members-that-differ-in-a-bound-2", Small | Large, '{"number": 50, "note": null}', {"number": 50, "note": None}),
    (
        "tagged",
        Annotated[Cat | Dog, Field(discriminator="kind")],
        '{"kind": "dog", "lives": null}',
        {"kind": "dog", "lives": 1},
    ),
    ("by-tag-alone", Cat | Dog, '{"kind": "dog", "lives": null}', {"kind": "dog", "lives": 1}),
    ("by-names-alone", Narrow | Wide, '{"x": null, "y": null}', {"x": 1, "y": 2}),
    ("by-names-alone-the-narrow-one", Narrow | Wide, '{"x": null}', {"x": 1}),
    ("in-a-dict", dict[str, Line], '{"a": {"sku": "a", "quantity": null}}', {"a": {"sku": "a"}}),
    ("in-a-tuple", tuple[Line, int], '[{"sku": "a", "quantity": null}, 2.0]', [{"sku": "a"}, 2]),
    (
        "nested-unions",
        list[Line | list[Line | None]] | None,
        '[[null, {"sku": "a", "quantity": null}]]',
        [[None, {"sku": "a"}]],
    ),
    ("what-does-not-fit", Line, '{"sku": 5, "quantity": null}', {"sku": 5}),
]


@pytest.mark.parametrize(("kind", "written", "meant"), [pytest.param(*rest, id=name) for name, *rest in NULLED])
def test_a_null_is_the_default_wherever_it_stands(kind: Any, written: str, meant: JsonValue) -> None:
    """Q1: a null for a field with a default is dropped, or filled where the union could mean another member without."""
    assert from_strict(json.loads(written), type_schema(TypeAdapter(kind))) == meant


def test_a_tag_is_asked_for_and_not_for_null() -> None:
    """Q1: where a field has one value only the strict schema asks for that, so that a union can be told by it."""
    strict = strict_schema(type_schema(TypeAdapter(Annotated[Cat | Dog, Field(discriminator="kind")])))
    assert strict is not None
    for name in ("Cat", "Dog"):
        assert strict["$defs"][name]["properties"]["kind"] == {"type": "string", "const": name.lower()}
        assert strict["$defs"][name]["required"] == ["kind", "lives"]


class Order(BaseModel):
    """An order as a model of arguments."""

    items: list[Line] | None = None
    tree: Tree = Tree()


ORDER = '{"items": [{"sku": "a", "quantity": null}], "tree": {"name": null, "parts": null, "box": null}}'


def test_every_border_reads_nulls_alike() -> None:
    """Q1: a tool's arguments, those of an agent tool, a handoff's input, an answer with a form and a final output."""

    @tool
    def order(items: list[Line] | None, tree: Tree, box: Box, pack: Pack) -> None: ...

    bound = order.bind(
        {
            "items": [{"sku": "a", "quantity": None}],
            "tree": {"name": None, "parts": [{"name": None, "parts": None, "box": None}], "box": None},
            "box": {"lines": None, "weight": None},
            "pack": {"size": None, "note": None},
        }
    )
    assert bound == {"items": [Line(sku="a")], "tree": Tree(parts=[Tree()]), "box": Box(), "pack": {"note": None}}
    expected = Order(items=[Line(sku="a")])
    agent = Agent("clerk")
    for offered in (agent.as_tool(parameters=Order), handoff("billing", input=Order)):
        assert offered.strict
        assert offered.validate(offered.parse_text(ORDER)) == expected
    assert built(Order, "test").read(json.loads(ORDER)) == expected
    assert question(form=Order).problem_with(json.loads(ORDER)) is None


@pytest.mark.parametrize("kind", [pytest.param(Tree, id="of-itself"), pytest.param(list[Tree], id="a-list-of-them")])
def test_a_recursive_model_has_a_strict_schema_with_an_object_at_its_top(kind: Any) -> None:
    """Q4: the API takes an object with properties at the top, not a reference."""
    wanted = built(kind, "test").text_format()
    assert wanted["strict"]
    assert wanted["schema"]["type"] == "object"
    assert schema_problem(wanted["schema"], strict=True) is None


def test_recursive_models_are_parameters_like_others() -> None:
    """Q4: as arguments of an agent tool, of an existing activity, as a handoff's input and as a form."""
    for offered in (
        Agent("clerk").as_tool(parameters=Tree),
        handoff("billing", input=Tree),
        activity_tool("plant", input=Tree),
    ):
        assert offered.parameters["type"] == "object"
        assert schema_problem(offered.parameters, strict=offered.strict) is None
        assert offered.parse_text('{"name": "a", "parts": [{"name": "b", "parts": [{"name": "c"}]}]}')["name"] == "a"
        with pytest.raises(ArgumentsInvalidError, match=r"parts.0.parts.0.name: Input should be a valid string"):
            offered.parse_text('{"name": "a", "parts": [{"name": "b", "parts": [{"name": 7}]}]}')
    form = question(form=Tree).form_schema
    assert form is not None
    assert form["type"] == "object"


def test_members_that_are_alike_cost_no_exponential_time() -> None:
    """Q1: two members that both hold themselves are read once for each part of the value, not once for each path."""

    class Left(BaseModel):
        child: Left | Right | None = None
        note: str = "l"

    class Right(BaseModel):
        child: Left | Right | None = None
        note: str = "r"

    adapter: TypeAdapter[Any] = TypeAdapter(Left | Right)
    value: JsonValue = None
    for _ in range(60):
        value = {"child": value, "note": None}
    assert from_strict(value, type_schema(adapter))["note"] == "l"
