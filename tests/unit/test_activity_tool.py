"""`activity_tool`: what is offered to the model, what fits, and which definitions cannot work."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel, Field

from handfast import Agent, activity_tool, tool
from handfast.errors import ArgumentsInvalidError, DefinitionError
from handfast.payloads.base import Undecodable
from handfast.workflows.driver.existing_activity import read_result


class Address(BaseModel):
    """Where to."""

    street: str
    floor: int = 0


class Parcel(BaseModel):
    """What to send."""

    weight: float
    to: Address
    key: str = ""
    tag: str | None = None


def test_a_field_that_may_be_left_out_is_offered_as_such() -> None:
    """Strict form would make the model send null for it, and the activity would get the null."""
    made = activity_tool("send", input=Parcel)
    assert not made.strict
    assert made.parameters["required"] == ["weight", "to"]
    assert made.parse_text('{"weight": 1.5, "to": {"street": "x"}}') == {"weight": 1.5, "to": {"street": "x"}}
    with pytest.raises(ArgumentsInvalidError):
        made.parse_text('{"weight": 1.5, "to": {"street": "x", "floor": null}}')


def test_a_model_without_defaults_is_offered_in_strict_form() -> None:
    """Where every field is required, or takes a null, the model is bound to the schema."""

    class Plain(BaseModel):
        name: str
        tag: str | None = None

    made = activity_tool("send", input=Plain)
    assert made.strict
    assert made.parse_text('{"name": "a", "tag": null}') == {"name": "a", "tag": None}


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param('{"weight": "1"}', id="type"),
        pytest.param('{"weight": 1, "to": {"street": "x"}, "colour": "red"}', id="unknown"),
        pytest.param('{"weight": 1, "to": {"street": "x"}, "key": "mine"}', id="the-run's-own"),
        pytest.param("[]", id="no-object"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(arguments: str) -> None:
    """What the activity did not declare, and the key that only the run may write, never reach it."""
    with pytest.raises(ArgumentsInvalidError):
        activity_tool("send", input=Parcel, key_field="key").parse_text(arguments)


class Bounded(BaseModel):
    """Keys that a run's own would not satisfy."""

    key: str = Field(max_length=8)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        pytest.param({"name": "no spaces"}, "1 to 64", id="name"),
        pytest.param({"input": dict}, "input must be a pydantic model", id="input"),
        pytest.param({"output": "Receipt"}, "output must be a pydantic model", id="output"),
        pytest.param({"task_queue": ""}, "task_queue must be", id="queue"),
        pytest.param({"task_queue": "q" * 201}, "task_queue has 201 characters; at most 200", id="queue-long"),
        pytest.param({"activity": 7}, "activity must be", id="activity"),
        pytest.param({"timeout": timedelta(0)}, "timeout must be", id="timeout"),
        pytest.param({"heartbeat_timeout": 3}, "heartbeat_timeout must be", id="heartbeat"),
        pytest.param({"start_within": None}, "start_within must be", id="start"),
        pytest.param({"effect": "twice"}, "effect must be", id="effect"),
        pytest.param({"approval": "yes"}, "approval must be", id="approval"),
        pytest.param({"description": None}, "description must be", id="description"),
        pytest.param({"input": None, "key_field": "key"}, "there is no input", id="key-without-input"),
        pytest.param({"key_field": "weight"}, "must be a field of input", id="key-number"),
        pytest.param({"key_field": "other"}, "must be a field of input", id="key-unknown"),
        pytest.param({"input": Bounded, "key_field": "key"}, "must be a field of input", id="key-bounded"),
    ],
)
def test_a_definition_that_cannot_work_is_refused(options: dict[str, Any], problem: str) -> None:
    """It is said where it is written, with the tool's name."""
    with pytest.raises(DefinitionError, match=problem):
        activity_tool(**{"name": "send", "input": Parcel, **options})


def test_one_agent_offers_a_name_once() -> None:
    """A tool of another kind with the same name is refused: nothing is looked up by a name that means two things."""

    @tool
    def send() -> None:
        """Send."""

    with pytest.raises(DefinitionError, match="'send'"):
        Agent("a", tools=[send, activity_tool("send")])


PARTS = [{"type": "input_text", "text": "a"}]


@pytest.mark.parametrize(
    ("result", "output", "problem"),
    [
        pytest.param({"a": [1, "é"]}, '{"a": [1, "é"]}', None, id="json"),
        pytest.param(PARTS, PARTS, None, id="parts"),
        pytest.param([{**PARTS[0], "text": "a" * 300_000}], None, "takes", id="parts-large"),
        pytest.param("\ud800", "\ufffd", None, id="surrogate"),
        pytest.param({"id": 2**64 - 1}, '{"id": 18446744073709551615}', None, id="integer-of-64-bits"),
        pytest.param({"id": -(2**70)}, '{"id": "-1180591620717411303424"}', None, id="integer-beyond-64-bits"),
        pytest.param(2**5000, None, "more than 4,096 bits", id="integer-of-thousands-of-digits"),
        pytest.param(Undecodable("JSONDecodeError"), None, "cannot be decoded: JSONDecodeError", id="undecodable"),
        pytest.param(float("nan"), None, "cannot be given", id="nan"),
    ],
)
def test_a_result_is_an_output_or_a_problem(result: object, output: object, problem: str | None) -> None:
    """Nothing that another's activity returns can break the run."""
    read, why = read_result(result)
    assert read == output
    assert (why is None) if problem is None else (why is not None and problem in why)
