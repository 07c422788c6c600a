"""Guardrails, and what they may answer."""

from __future__ import annotations

from typing import Any

import pytest

from handfast import Agent, Allow, Fail, InputGuardrail, OutputGuardrail, Replace, RunContext
from handfast.errors import DefinitionError


def test_a_verdict_may_carry_what_was_found() -> None:
    """Every verdict takes a piece of information of the user's own; it needs none."""
    assert Allow() == Allow(info=None)
    assert Replace("better", info={"score": 1}).value == "better"
    assert Fail("too rude", info=["a", "b"]).info == ["a", "b"]


def test_a_failure_says_why() -> None:
    """A reason that is no text is refused where it is made."""
    reason: Any = 7
    with pytest.raises(DefinitionError, match="Fail: reason must be a text, not an int"):
        Fail(reason)
    assert Fail("too \ud800 rude").reason == "too \ufffd rude"


def check(_context: RunContext, _given: object) -> None:
    """Allow everything."""


class Checks:
    """Guardrails that are methods."""

    def __call__(self, _context: RunContext, _given: object) -> None:
        """Allow everything."""


def test_functions_become_guardrails() -> None:
    """A plain function is a parallel input guardrail, or an output guardrail, named after it."""
    agent = Agent("desk", input_guardrails=[check, Checks()], output_guardrails=[check])
    assert agent.input_guardrails[0] == InputGuardrail(check, parallel=True, name="check")
    assert [each.name for each in agent.input_guardrails] == ["check", "Checks"]
    assert agent.output_guardrails == (OutputGuardrail(check, name="check"),)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        pytest.param(
            {"input_guardrails": [lambda context: None]}, "'<lambda>': its function, given the run", id="arity"
        ),
        pytest.param(
            {"input_guardrails": ["check"]}, "must hold functions and InputGuardrail, not the text 'check'", id="str"
        ),
        pytest.param(
            {"output_guardrails": [InputGuardrail(check)]},
            "must hold functions and OutputGuardrail, not an InputGuardrail",
            id="wrong-kind",
        ),
        pytest.param({"output_guardrails": [check, check]}, "two guardrails are named 'check'", id="same-name"),
    ],
)
def test_a_guardrail_that_cannot_work_is_refused_with_its_agent(options: dict[str, Any], problem: str) -> None:
    """Wrong signatures, things that are none, and names that meet are refused where the agent is made."""
    with pytest.raises(DefinitionError, match=f"agent 'desk': .*{problem}"):
        Agent("desk", **options)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        pytest.param(
            {"function": 7}, "must be a function of the run context and the items, not an int", id="no-function"
        ),
        pytest.param({"function": check, "parallel": "no"}, "parallel must be True or False", id="parallel"),
        pytest.param({"function": check, "name": "n" * 65}, "name must be a text of 64", id="long-name"),
    ],
)
def test_options_of_a_guardrail_are_checked(options: dict[str, Any], problem: str) -> None:
    """A guardrail by itself is checked as well."""
    with pytest.raises(DefinitionError, match=problem):
        InputGuardrail(**options)
