"""Hooks are checked where they are given."""

from __future__ import annotations

from typing import Any

import pytest

from handfast import Agent, AgentHooks, HandfastPlugin
from handfast.errors import DefinitionError


class Wrong(AgentHooks):
    """Takes one argument too few."""

    def on_tool_end(self, context: Any) -> None:  # type: ignore[override]  # what the check is for
        """Hear of it."""


@pytest.mark.parametrize(
    ("hooks", "of_agent", "of_plugin"),
    [
        pytest.param(
            [AgentHooks],
            "hooks must hold AgentHooks objects, not the class AgentHooks",
            r"hooks\[0\] must be an AgentHooks, not the class AgentHooks; write AgentHooks\(…\)",
            id="class",
        ),
        pytest.param(
            [print],
            "hooks must hold AgentHooks objects, not the function print",
            r"hooks\[0\] must be an AgentHooks, not a builtin_function_or_method",
            id="function",
        ),
        pytest.param(
            [Wrong()],
            "Wrong.on_tool_end, given the tool context and the end, must take exactly 2 positional arguments",
            "Wrong.on_tool_end, given the tool context and the end, must take exactly 2 positional arguments",
            id="signature",
        ),
    ],
)
def test_what_is_no_hook_is_refused_by_name(hooks: Any, of_agent: str, of_plugin: str) -> None:
    """Classes, functions and methods with a wrong signature are refused, naming the agent, or the plugin."""
    with pytest.raises(DefinitionError, match=f"agent 'desk': {of_agent}"):
        Agent("desk", hooks=hooks)
    with pytest.raises(DefinitionError, match=f"HandfastPlugin: {of_plugin}"):
        HandfastPlugin(hooks=hooks)


def test_hooks_that_hear_nothing_are_fine() -> None:
    """Every method has a default."""
    assert len(Agent("desk", hooks=[AgentHooks()]).hooks) == 1
