"""Tools: what a typed function becomes, and which functions are refused."""

from __future__ import annotations

import asyncio
import enum
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal
from uuid import UUID

import pytest
from pydantic import AfterValidator, BaseModel, Field

from handfast.definitions.context import RunContext, ToolContext
from handfast.definitions.gates.approval import Approval
from handfast.definitions.tools.function_tool import Tool, tool
from handfast.errors import ArgumentsInvalidError, DefinitionError

if TYPE_CHECKING:
    from fractions import Fraction


class Desk(BaseModel):
    user: str


class Speed(enum.Enum):
    SLOW = "slow"
    FAST = "fast"


class Card(BaseModel):
    kind: Literal["card"]
    number: str


class Transfer(BaseModel):
    kind: Literal["transfer"]
    iban: str
    urgent: bool = False


class Folder(BaseModel):
    title: str
    children: list[Folder] = []
    parent: Folder | None = Field(default=None, description="The folder above.")


@tool(effect="idempotent", approval=True)
async def issue_refund(
    ctx: ToolContext[Desk],
    *,
    order: int,
    way: Annotated[Card | Transfer, Field(discriminator="kind")],
    speed: Speed = Speed.SLOW,
    due: datetime | None = None,
    note: str = "none",
) -> str:
    """Give the customer the money back.

    Only for orders that were paid.

    Args:
        order: Which order,
            by its number.
        speed (Speed): How fast: slow or fast.

    Returns:
        A receipt.
    """
    return f"{ctx.context.user}: {order}"


@tool
def add(a: int, b: int = 2) -> int:
    """Add two numbers."""
    return a + b


def context_of(desk: Desk, cancel_event: threading.Event | None = None) -> ToolContext[Desk]:
    return ToolContext(
        context=desk,
        run_id="run-1",
        agent="billing",
        agent_path=("billing",),
        turn=1,
        labels={},
        requested_by=None,
        tool="issue_refund",
        call_id="call-1",
        arguments={},
        resources=None,
        idempotency_key="key",
        attempt=1,
        cancel_event=cancel_event or threading.Event(),
    )


def test_a_tool_carries_what_the_model_is_told() -> None:
    """Name, description and parameter descriptions come from the function; the context is hidden."""
    assert issue_refund.name == "issue_refund"
    assert issue_refund.description == (
        "Give the customer the money back.\n\nOnly for orders that were paid.\n\nReturns:\n    A receipt."
    )
    properties = issue_refund.parameters["properties"]
    assert list(properties) == ["order", "way", "speed", "due", "note"]
    assert properties["order"] == {"type": "integer", "description": "Which order, by its number."}
    assert properties["speed"]["description"] == "How fast: slow or fast."
    assert (issue_refund.form.context, issue_refund.context_type) == ("ctx", Desk)
    assert (issue_refund.is_async, add.is_async) == (True, False)
    assert (add.form.context, add.context_type) == (None, None)


def test_a_tool_is_still_its_function() -> None:
    """Calling a tool calls the function, sync or async, so that its body can be tested directly."""
    assert add(1) == 3
    assert (
        asyncio.run(issue_refund(context_of(Desk(user="ann")), order=7, way=Card(kind="card", number="1"))) == "ann: 7"
    )
    assert add.__name__ == "add"
    assert add.__doc__ == "Add two numbers."
    assert add.__wrapped__ is add.function  # type: ignore[attr-defined]  # set as functools.wraps does


def test_the_schema_is_strict_as_the_responses_api_wants_it() -> None:
    """Objects are closed, every property is required, a default means that null is allowed."""
    assert add.strict
    assert add.parameters == {
        "type": "object",
        "properties": {
            "a": {"type": "integer"},
            "b": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        },
        "required": ["a", "b"],
        "additionalProperties": False,
    }


def walk(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield *schema* and every schema in it, but not the maps from names to schemas."""
    yield schema
    inner = [
        *schema.get("properties", {}).values(),
        *schema.get("$defs", {}).values(),
        *schema.get("anyOf", []),
    ]
    for each in [*inner, schema["items"]] if "items" in schema else inner:
        yield from walk(each)


def every_kind(
    *,
    folder: Annotated[Folder, Field(description="Where.")],
    way: Annotated[Card | Transfer, Field(discriminator="kind")],
    speed: Annotated[Speed, Field(description="How fast.")],
    moment: datetime,
    amount: Decimal,
    key: UUID,
    names: set[str],
    size: Annotated[int, Field(ge=1, lt=10)],
    code: Annotated[str, Field(min_length=2, pattern="^[a-z]+$")],
    transfer: Transfer | None = None,
    title: str = "x",
) -> None: ...


def test_no_schema_of_a_strict_tool_says_what_strict_mode_refuses() -> None:
    """Nested models, unions, enums, recursion and dates all end in the subset that is accepted."""
    definition = tool(every_kind)
    assert definition.strict
    properties = definition.parameters["properties"]
    for schema in walk(definition.parameters):
        assert not schema.keys() & {"title", "default", "oneOf", "discriminator", "uniqueItems", "minLength"}
        assert "$ref" not in schema or schema.keys() == {"$ref"}
        if schema.get("type") == "object":
            assert schema["additionalProperties"] is False
            assert schema["required"] == list(schema["properties"])
    assert properties["folder"]["description"] == "Where."
    assert properties["folder"]["properties"]["title"] == {"type": "string"}
    assert properties["speed"] == {"type": "string", "enum": ["slow", "fast"], "description": "How fast."}
    assert properties["size"] == {"type": "integer", "minimum": 1, "exclusiveMaximum": 10}
    assert properties["title"] == {"anyOf": [{"type": "string"}, {"type": "null"}]}
    assert definition.parameters["$defs"].keys() == {"Folder", "Card", "Transfer"}


def takes_dict(values: dict[str, int], limit: int = 3) -> None: ...


def takes_any(value: Any) -> None: ...


def takes_tuple(pair: tuple[int, str]) -> None: ...


@pytest.mark.parametrize(
    "function",
    [
        pytest.param(takes_dict, id="free-form-dict"),
        pytest.param(takes_any, id="any"),
        pytest.param(takes_tuple, id="tuple"),
    ],
)
def test_what_strict_mode_cannot_say_is_offered_as_plain_schema(function: Callable[..., Any]) -> None:
    """A free-form parameter is allowed; the tool then says that its schema is not strict."""
    definition = tool(function)
    assert not definition.strict
    assert "title" not in definition.parameters
    assert definition.parameters["required"] != []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param('{"a": "5"}', "a: Input should be a valid integer", id="text-is-no-int"),
        pytest.param('{"a": true}', "a: Input should be a valid integer", id="bool-is-no-int"),
        pytest.param('{"a": 1.5}', "a: Input should be a valid integer", id="fraction-is-no-int"),
        pytest.param('{"a": null}', "a: Input should be a valid integer", id="null-without-default"),
        pytest.param("{}", "a: Field required", id="missing"),
        pytest.param('{"a": 1, "c": 2}', "c: Extra inputs are not permitted", id="extra"),
        pytest.param('{"a": 1, "a": 2}', 'the key "a" appears twice', id="duplicate-key"),
        pytest.param('{"a": NaN}', "NaN is not JSON", id="nan"),
        pytest.param(f'{{"a": {2**70}}}', "an integer is beyond 64 bits", id="2^70"),
        pytest.param('{"a": 1e20}', "at a: an integer is beyond 64 bits", id="1e20"),
        pytest.param('{"a": 1e400}', "at a: a number is not finite", id="1e400"),
        pytest.param('{"a": ' + "[" * 2000 + "]" * 2000 + "}", "nested deeper than 64", id="2000-deep"),
        pytest.param(r'{"a": "\ud800"}', "lone surrogate", id="surrogate"),
        pytest.param("[1]", "should be a JSON object", id="array"),
        pytest.param("", "not valid JSON", id="empty"),
        pytest.param('{"a": 1', "not valid JSON", id="cut-off"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_before_anything_happens(text: str, expected: str) -> None:
    """The model reads what was expected where, and the tool is not run."""
    with pytest.raises(ArgumentsInvalidError) as refused:
        add.parse_text(text)
    assert expected in str(refused.value)
    assert "\n" not in str(refused.value)


def flag(on: bool, share: float, when: datetime) -> None: ...


@pytest.mark.parametrize(
    ("changed", "accepted"),
    [
        pytest.param({}, True, id="as-declared"),
        pytest.param({"on": "yes"}, False, id="yes-is-not-true"),
        pytest.param({"on": 1}, False, id="1-is-not-true"),
        pytest.param({"share": 1}, True, id="int-for-float"),
        pytest.param({"share": "1"}, False, id="text-is-no-float"),
        pytest.param({"when": "soon"}, False, id="word-is-no-date"),
    ],
)
def test_scalars_are_never_coerced(changed: dict[str, Any], accepted: bool) -> None:
    """What a person approved is what runs: no value silently becomes another one."""
    arguments = {"on": True, "share": 0.5, "when": "2026-01-02T03:04:05Z"} | changed
    definition = tool(flag)
    if accepted:
        assert definition.bind(arguments)["when"] == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    else:
        with pytest.raises(ArgumentsInvalidError):
            definition.validate(arguments)


def test_arguments_stay_as_the_model_wrote_them_until_they_are_bound() -> None:
    """The record shows the model's own object; the function gets Python values, nested models included."""
    text = (
        '{"order": 7, "way": {"kind": "transfer", "iban": "X", "urgent": null}, '
        '"speed": "fast", "due": "2026-01-02T00:00:00Z", "note": null}'
    )
    arguments = issue_refund.parse_text(text)
    assert arguments["way"] == {"kind": "transfer", "iban": "X", "urgent": None}
    assert issue_refund.bind(arguments) == {
        "order": 7,
        "way": Transfer(kind="transfer", iban="X"),
        "speed": Speed.FAST,
        "due": datetime(2026, 1, 2, tzinfo=UTC),
        "note": "none",
    }


def optional(a: int = 1, b: int | None = 2, c: list[str] = ["x"]) -> None: ...  # noqa: B006  (a user may)


def test_null_means_the_default_unless_null_is_a_value() -> None:
    """A model must send every property, so null says "leave it out" where the type itself has no null."""
    definition = tool(optional)
    assert definition.bind({"a": None, "b": None, "c": None}) == {"a": 1, "b": None, "c": ["x"]}
    assert definition.bind({}) == {"a": 1, "b": 2, "c": ["x"]}


def test_a_mutable_default_is_not_shared_between_calls() -> None:
    """One call cannot change the default of the next."""
    definition = tool(optional)
    definition.bind({})["c"].append("y")
    assert definition.bind({})["c"] == ["x"]


def refuse_card(number: str) -> str:
    raise ValueError(f"{number} is not in the list of 3 known cards")


def secretive(
    number: Annotated[str, AfterValidator(refuse_card)],
    way: Annotated[Card | Transfer, Field(discriminator="kind")],
    key: UUID,
) -> None: ...


def test_a_refusal_never_repeats_the_values() -> None:
    """Secrets in arguments do not reach logs or histories by way of an error text."""
    with pytest.raises(ArgumentsInvalidError) as refused:
        tool(secretive).validate({"number": "4111-SECRET", "way": {"kind": "SECRET"}, "key": "SECRET"})
    text = str(refused.value)
    assert "SECRET" not in text
    assert "3 known cards" in text
    assert "'card', 'transfer'" in text
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__


def test_a_refusal_of_many_problems_stays_short() -> None:
    """However many problems there are, the model reads a text of bounded size."""
    with pytest.raises(ArgumentsInvalidError) as refused:
        add.validate({f"{'x' * 1000}\n{index}": 1 for index in range(1000)})
    assert len(refused.value.problems) == 11
    assert "more" in refused.value.problems[-1]
    assert len(str(refused.value)) < 2000
    assert "\n" not in str(refused.value)


def shadowing(json: str, copy: int, schema: bool) -> str:
    return f"{json}{copy}{schema}"


def test_parameters_may_have_names_that_pydantic_uses_too() -> None:
    """`json`, `copy` and `schema` are ordinary names for a tool's author."""
    assert tool(shadowing)(**tool(shadowing).bind({"json": "a", "copy": 1, "schema": True})) == "a1True"


def test_types_that_are_local_to_a_function_are_found() -> None:
    """A tool may be defined in a function, beside its types, with annotations that are not evaluated."""

    class Local(BaseModel):
        x: int

    @tool
    def use(ctx: ToolContext[Local], value: Local, more: list[Local]) -> None: ...

    assert use.context_type is Local
    assert use.bind({"value": {"x": 1}, "more": []})["value"] == Local(x=1)


def no_annotation(a) -> None: ...  # type: ignore[no-untyped-def]  # that is what is tested


def no_schema(a: object, b: Callable[[], None]) -> None: ...


def unbuildable(a: threading.Event) -> None: ...


def only_for_checkers(a: Fraction) -> None: ...


def late_context(a: int, ctx: ToolContext[Desk]) -> None: ...


def run_context(ctx: RunContext[Desk]) -> None: ...


def private(_a: int) -> None: ...


def generator(a: int) -> Iterator[int]:
    yield a


async def async_generator(a: int) -> AsyncIterator[int]:
    yield a


class CallableObject:
    def __call__(self, a: int) -> None: ...


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        pytest.param(no_annotation, "parameter 'a' needs a type annotation", id="no-annotation"),
        pytest.param(no_schema, "parameter 'b' has no JSON schema", id="no-json-schema"),
        pytest.param(unbuildable, "parameter 'a' has no schema", id="no-schema"),
        pytest.param(only_for_checkers, "not only under TYPE_CHECKING", id="type-checking-import"),
        pytest.param(late_context, "must be the first parameter", id="context-not-first"),
        pytest.param(run_context, "must be a ToolContext", id="run-context"),
        pytest.param(private, "pydantic keeps for itself", id="leading-underscore"),
        pytest.param(generator, "is a generator", id="generator"),
        pytest.param(async_generator, "is a generator", id="async-generator"),
        pytest.param(CallableObject(), "must be made of a function", id="callable-object"),
        pytest.param(len, "must be made of a function", id="builtin"),
        pytest.param(add, "is a tool already", id="tool"),
        pytest.param(lambda: None, "1 to 64 letters", id="lambda"),
    ],
)
def test_a_function_that_cannot_be_a_tool_is_refused_at_once(function: Callable[..., Any], expected: str) -> None:
    """The error comes when the module is imported, in one line that names the tool and the parameter."""
    with pytest.raises(DefinitionError) as refused:
        tool(function)
    assert expected in refused.value.problem
    assert refused.value.subject.startswith("tool '")
    assert "\n" not in str(refused.value)


def plain(a: int) -> None: ...


def one_argument(ctx: object) -> bool:
    return True


def three_arguments(ctx: object, arguments: object, more: object = None) -> bool:
    return True


def two_arguments(ctx: object, arguments: object) -> bool:
    return True


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        pytest.param({"name": "no spaces"}, "1 to 64 letters", id="name-with-space"),
        pytest.param({"name": "x" * 65}, "1 to 64 letters", id="name-too-long"),
        pytest.param({"name": ""}, "1 to 64 letters", id="name-empty"),
        pytest.param({"name": "ends\n"}, "1 to 64 letters", id="name-with-newline"),
        pytest.param({"effect": "readonly"}, "effect must be one of", id="effect"),
        pytest.param({"on_unknown": "retry"}, "on_unknown must be one of", id="on-unknown"),
        pytest.param({"on_error": "retry"}, "on_error must be 'tell_model', 'fail', or a function", id="on-error"),
        pytest.param({"timeout": timedelta(0)}, "timeout must be", id="timeout-zero"),
        pytest.param({"timeout": 5}, "timeout must be", id="timeout-number"),
        pytest.param({"approval": "yes"}, "approval must be", id="approval-text"),
        pytest.param({"approval": one_argument}, "exactly 2 positional", id="rule-with-one"),
        pytest.param({"approval": three_arguments}, "exactly 2 positional", id="rule-with-three"),
        pytest.param({"idempotency_key": one_argument}, "exactly 2 positional", id="key-with-one"),
        pytest.param({"idempotency_key": "order"}, "must be a function", id="key-text"),
    ],
)
def test_an_option_that_cannot_work_is_refused_at_once(options: dict[str, Any], expected: str) -> None:
    """A wrong option is an error where it is written, not when a run depends on it."""
    with pytest.raises(DefinitionError, match=expected) as refused:
        tool(**options)(plain)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("on_unknown", "gated", "policy"),
    [
        pytest.param(None, True, "ask", id="gated-asks"),
        pytest.param(None, False, "tell_model", id="free-tells-the-model"),
        pytest.param("fail", True, "fail", id="chosen-wins"),
        pytest.param("ask", False, "ask", id="chosen-wins-ungated"),
    ],
)
def test_an_unknown_outcome_follows_the_declared_policy(on_unknown: Any, gated: bool, policy: str) -> None:
    """Without a choice a person is asked exactly where one was asked before."""
    assert tool(on_unknown=on_unknown)(plain).unknown_policy(gated) == policy


@pytest.mark.parametrize(
    ("approval", "gated"),
    [
        pytest.param(False, False, id="false"),
        pytest.param(True, True, id="true"),
        pytest.param(Approval(deadline=timedelta(hours=4)), True, id="approval"),
        pytest.param(two_arguments, True, id="rule"),
    ],
)
def test_an_approval_takes_every_documented_form(approval: Any, gated: bool) -> None:
    """True, an Approval, or a function of run context and arguments."""
    assert tool(approval=approval)(plain).may_be_gated is gated


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"deadline": timedelta(0)}, id="zero"),
        pytest.param({"deadline": timedelta(days=-1)}, id="negative"),
        pytest.param({"deadline": timedelta(days=3651)}, id="beyond-ten-years"),
        pytest.param({"deadline": 60}, id="number"),
        pytest.param({"on_deadline": "ask"}, id="unknown-outcome"),
        pytest.param({"reason": 5}, id="reason-number"),
    ],
)
def test_an_approval_that_cannot_be_kept_is_refused(options: dict[str, Any]) -> None:
    """A deadline is positive and at most ten years; its outcome is one of three."""
    with pytest.raises(DefinitionError, match=r"^Approval: "):
        Approval(**options)


def test_two_wrappings_of_one_function_are_one_tool() -> None:
    """A plain function may be given to several agents; other options make another tool."""
    assert tool(plain) == tool(plain)
    assert hash(tool(plain)) == hash(tool(plain))
    assert tool(plain) != tool(effect="read_only")(plain)
    assert isinstance(tool(plain), Tool)


def test_a_sync_tool_sees_cancellation_from_its_thread() -> None:
    """`ctx.cancelled` turns true once the call should stop, whichever thread asks."""
    event = threading.Event()
    ctx = context_of(Desk(user="ann"), event)
    assert not ctx.cancelled
    event.set()
    assert ctx.cancelled


def test_definitions_load_neither_temporal_nor_openai() -> None:
    """Importing agent code is light, and a sandboxed workflow may do it."""
    script = (
        "import sys, handfast.definitions.agents.registry\n"
        "print([name for name in ('temporalio', 'openai') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
