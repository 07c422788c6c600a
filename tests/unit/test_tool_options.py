"""Options of tools that cannot work are refused where they are written."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from handfast import Retry, ToolInputGuardrail, tool
from handfast.errors import DefinitionError


def look() -> str:
    """Look."""
    return "ok"


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        pytest.param({"retry": Retry()}, 'conflicts with effect="at_most_once"', id="retry-of-at-most-once"),
        pytest.param({"retry": 3, "effect": "read_only"}, "retry must be a Retry", id="retry-as-number"),
        pytest.param({"enabled": "yes"}, "enabled must be True, False, or a function", id="enabled-as-text"),
        pytest.param({"enabled": lambda: True}, "enabled, given the run context, must take", id="enabled-0"),
        pytest.param({"on_cancel": "stop"}, "on_cancel must be a function", id="on-cancel-as-text"),
        pytest.param({"on_cancel": lambda a, b: None}, "on_cancel, given the tool context, must take", id="cancel-2"),
        pytest.param({"input_guardrails": look}, "input_guardrails must be a list", id="guardrail-alone"),
        pytest.param({"input_guardrails": [5]}, "an input guardrail must be a function", id="number-as-guardrail"),
        pytest.param({"input_guardrails": [lambda a: None]}, "must take exactly 2", id="guardrail-of-one"),
        pytest.param({"output_guardrails": [5]}, "an output guardrail must be a function", id="number-as-output"),
        pytest.param({"output_guardrails": [lambda a: None]}, "must take exactly 2", id="output-of-one"),
    ],
)
def test_options_that_cannot_work_name_the_tool(options: dict[str, Any], problem: str) -> None:
    """Each wrong option raises DefinitionError, with the tool's name and what is wrong."""
    with pytest.raises(DefinitionError) as refused:
        tool(**options)(look)
    assert "tool 'look'" in str(refused.value)
    assert problem in str(refused.value)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({"attempts": 0}, id="no-attempt"),
        pytest.param({"attempts": True}, id="bool"),
        pytest.param({"attempts": 101}, id="too-many"),
        pytest.param({"first_pause": 1}, id="number-as-pause"),
        pytest.param({"first_pause": timedelta(0)}, id="no-pause"),
        pytest.param({"longest_pause": timedelta(days=2)}, id="too-long"),
        pytest.param({"first_pause": timedelta(seconds=20)}, id="longest-below-first"),
        pytest.param({"on": ("ConnectionError",)}, id="name-as-exception"),
        pytest.param({"on": (KeyboardInterrupt,)}, id="no-exception"),
    ],
)
def test_a_retry_that_cannot_work_is_refused(options: dict[str, Any]) -> None:
    """Each wrong field of a Retry raises DefinitionError."""
    with pytest.raises(DefinitionError, match="Retry"):
        Retry(**options)


def test_one_exception_type_may_stand_alone() -> None:
    """``on=ConnectionError`` means the same as a tuple of it."""
    alone: Any = ConnectionError
    assert Retry(on=alone) == Retry(on=(ConnectionError,))


@pytest.mark.parametrize("wrong", [("check", False), (look, "yes")])
def test_a_guardrail_that_cannot_work_is_refused(wrong: tuple[Any, Any]) -> None:
    """A guardrail is a function and a flag."""
    with pytest.raises(DefinitionError, match="ToolInputGuardrail"):
        ToolInputGuardrail(wrong[0], before_approval=wrong[1])
