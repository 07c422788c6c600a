"""The type of a final answer: what the model is asked for, and how its text is read."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import date
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, field_validator
from typing_extensions import TypedDict

from handfast.definitions.agents.agent import Agent
from handfast.definitions.schema.output_type import OutputType, built, output_type_of, unwrapped
from handfast.errors import DefinitionError, OutputInvalidError
from handfast.payloads.json_profile import JsonValue, parse_json
from handfast.testing.responses.schema import schema_problem


class Finding(BaseModel):
    kind: Literal["finding"] = "finding"
    text: str
    since: date | None = None


class Nothing(BaseModel):
    kind: Literal["nothing"] = "nothing"


class Node(BaseModel):
    name: str
    below: list[Node] = []


@dataclasses.dataclass
class Score:
    points: int
    of: int = 10


class Place(TypedDict):
    city: str
    zip: Annotated[str, Field(pattern="^[0-9]+$")]


def of(kind: Any) -> OutputType:
    return built(kind, "test")


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        pytest.param(Finding, '{"kind": "finding", "text": "dust", "since": "2026-03-01"}', ..., id="model"),
        pytest.param(Score, '{"points": 7, "of": null}', Score(7), id="dataclass-null-is-the-default"),
        pytest.param(Place, '{"city": "Delft", "zip": "2611"}', {"city": "Delft", "zip": "2611"}, id="typed-dict"),
        pytest.param(list[int], '{"response": [1, 2]}', [1, 2], id="list"),
        pytest.param(int, '{"response": 7}', 7, id="int"),
        pytest.param(bool | None, '{"response": null}', None, id="null"),
        pytest.param(Finding | Nothing, '{"response": {"kind": "nothing"}}', Nothing(), id="union"),
        pytest.param(Node, '{"name": "a", "below": [{"name": "b", "below": []}]}', ..., id="recursive"),
        pytest.param(dict[str, int], '{"a": 1}', {"a": 1}, id="free-form"),
    ],
)
def test_any_type_that_pydantic_builds(kind: Any, text: str, value: object) -> None:
    """Objects are asked for as they are, anything else inside one; the API takes either, and the text reads back."""
    output = of(kind)
    wanted = output.text_format()
    assert schema_problem(wanted["schema"], strict=wanted["strict"]) is None
    output.check_text(text)
    read = output.read(_plain(output, text))
    assert value is ... or read == value
    if kind is Finding:
        assert read.since == date(2026, 3, 1)


def _plain(output: OutputType, text: str) -> JsonValue:

    return unwrapped(parse_json(text)) if output.wrapped else parse_json(text)


@pytest.mark.parametrize(
    ("kind", "strict", "name"),
    [
        pytest.param(Finding, True, "Finding", id="model"),
        pytest.param(Node, True, "Node", id="recursive"),
        pytest.param(list[int], True, "output", id="list"),
        pytest.param(dict[str, int], False, "output", id="free-form"),
    ],
)
def test_the_schema_is_strict_where_it_can_be(kind: Any, *, strict: bool, name: str) -> None:
    """Strict mode is asked for wherever it can express the type; the name is one that the API takes."""
    wanted = of(kind).text_format()
    assert (wanted["type"], wanted["name"], wanted["strict"]) == ("json_schema", name, strict)


@pytest.mark.parametrize("kind", [pytest.param(None, id="none"), pytest.param(str, id="str")])
def test_plain_text_has_no_format(kind: Any) -> None:
    """None and str ask the model for nothing."""
    assert output_type_of(kind, "test") is None


class Picky(BaseModel):
    text: str

    @field_validator("text")
    @classmethod
    def _check(cls, text: str) -> str:
        if text == "trap":
            raise KeyError(text)
        return text


@pytest.mark.parametrize(
    ("kind", "text", "problem"),
    [
        pytest.param(Score, "points: 7", "not valid JSON", id="no-json"),
        pytest.param(Score, '{"points": "secret"}', "points: Input should be a valid integer", id="wrong-type"),
        pytest.param(Score, "{}", "points: Field required", id="missing"),
        pytest.param(Score, "7", "output: Input should be an object", id="no-object"),
        pytest.param(int, "7", "output: Input should be an object with 'response'", id="not-wrapped"),
        pytest.param(int, '{"response": 7, "note": 1}', "'response' and nothing else", id="more-than-wrapped"),
        pytest.param(Picky, '{"text": "trap"}', "its validator raised KeyError", id="validator-raises"),
    ],
)
def test_an_answer_that_does_not_fit_is_refused(kind: Any, text: str, problem: str) -> None:
    """The problem says where and what was expected, never what came."""
    with pytest.raises(OutputInvalidError) as refused:
        of(kind).check_text(text)
    assert problem in str(refused.value)
    assert "secret" not in str(refused.value)


def test_no_type_is_no_output_type() -> None:
    """A type without a schema is refused where the agent is made, with its name."""
    wrong: list[tuple[Any, str]] = [
        (object(), "output_type has no schema"),
        (Callable[[], int], "output_type has no schema"),
        ("NowhereDefined", "output_type has no schema"),
    ]
    for kind, problem in wrong:
        with pytest.raises(DefinitionError, match=f"agent 'desk': {problem}"):
            Agent("desk", output_type=kind)


def test_other_text_settings_stay() -> None:
    """Settings of the text are merged with the format; a second format is refused."""
    agent = Agent("desk", output_type=Score, model_settings={"text": {"verbosity": "low"}})
    assert agent.output is not None
    text = agent.output.settings(agent.model_settings, "test")["text"]
    assert (text["verbosity"], text["format"]["name"]) == ("low", "Score")
    for given in ({"format": {"type": "text"}}, "low"):
        with pytest.raises(DefinitionError, match=r"agent 'desk': model_settings must not hold text.format"):
            Agent("desk", output_type=Score, model_settings={"text": given})


def test_agents_are_compared_by_their_output_type() -> None:
    """Two agents that differ in nothing but that are different."""
    assert Agent("desk", output_type=Score) == Agent("desk", output_type=Score)
    assert Agent("desk", output_type=Score) != Agent("desk")
    assert hash(Agent("desk", output_type=Annotated[int, ["unhashable"]])) == hash(Agent("desk", output_type=int))
