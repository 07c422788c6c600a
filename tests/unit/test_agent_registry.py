"""Agents, and looking them up with their tools by name."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest
from pydantic import BaseModel

from handfast.definitions.agents.agent import Agent
from handfast.definitions.agents.handoff import handoff
from handfast.definitions.agents.registry import Registry
from handfast.definitions.agents.rejection import Rejection
from handfast.definitions.context import RunContext, ToolContext
from handfast.definitions.tools.function_tool import Tool, tool
from handfast.errors import DefinitionError, UnknownAgentError, UnknownToolError


class Desk(BaseModel):
    user: str


class BillingDesk(Desk):
    account: str


class Kitchen(BaseModel):
    menu: str


@tool(effect="read_only")
def look_up(order: int) -> str:
    """Look up an order."""
    return f"order {order}"


def close_ticket(ctx: ToolContext[Desk], ticket: int) -> None:
    """Close a ticket."""


def word_rejection(ctx: RunContext[Desk], rejection: Rejection) -> str:
    return f"{rejection.decided_by} refused {rejection.tool}"


def instruct(ctx: RunContext[Desk]) -> str:
    return f"You help {ctx.context.user}."


def test_an_agent_needs_only_a_name() -> None:
    """Everything else has a default that works."""
    agent = Agent("it_support")
    assert (agent.model, agent.client, agent.tools, agent.max_turns) == (None, "default", (), 100)
    assert dict(agent.model_settings) == {}


def test_an_agent_takes_tools_and_plain_functions() -> None:
    """A plain function becomes a tool with default options."""
    agent = Agent(
        "it_support",
        instructions=instruct,
        tools=[look_up, close_ticket],
        model_settings={"temperature": 0.2, "reasoning": {"effort": "low"}},
        rejection_text=word_rejection,
        context_type=BillingDesk,
    )
    assert [each.name for each in agent.tools] == ["look_up", "close_ticket"]
    assert all(isinstance(each, Tool) for each in agent.tools)
    assert agent.model_settings["reasoning"] == {"effort": "low"}


def test_an_agent_cannot_change_after_it_was_defined() -> None:
    """What a worker registered stays what runs; a changed copy is made with dataclasses.replace."""
    settings: dict[str, Any] = {"temperature": 0}
    agent = Agent("it_support", model_settings=settings)
    settings["stream"] = True
    assert dict(agent.model_settings) == {"temperature": 0}
    with pytest.raises(dataclasses.FrozenInstanceError):
        agent.name = "other"  # type: ignore[misc]  # that is what is tested
    assert dataclasses.replace(agent, model="gpt-5.6").model_settings == agent.model_settings


OWNED = [
    "background", "conversation", "include", "input", "instructions",
    "model", "previous_response_id", "store", "stream", "tools",
]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        pytest.param({"name": "it support"}, "1 to 64 letters", id="name"),
        pytest.param({"name": 5}, "1 to 64 letters", id="name-number"),
        pytest.param({"instructions": None}, "instructions must be", id="instructions-none"),
        pytest.param({"instructions": lambda: ""}, "exactly one positional", id="instructions-no-argument"),
        pytest.param({"model": ""}, "model must be", id="model-empty"),
        pytest.param({"client": ""}, "client must be a text that is not empty", id="client-empty"),
        pytest.param({"max_turns": 0}, "at least 1", id="turns-zero"),
        pytest.param({"max_turns": True}, "at least 1", id="turns-bool"),
        pytest.param({"max_turns": "10"}, "at least 1", id="turns-text"),
        pytest.param({"rejection_text": instruct}, "exactly 2 positional", id="rejection-text"),
        pytest.param({"context_type": dict}, "pydantic model class", id="context-dict"),
        pytest.param({"tools": ["look_up"]}, "not the text 'look_up'", id="tool-by-name"),
        pytest.param({"tools": [look_up, look_up]}, "'look_up'", id="tool-twice"),
        pytest.param({"tools": [close_ticket], "context_type": Kitchen}, "Desk", id="other-context"),
        pytest.param({"model_settings": {"temperature": object()}}, "must be JSON", id="settings-object"),
        *(pytest.param({"model_settings": {key: None}}, key, id=f"settings-{key}") for key in OWNED),
    ],
)
def test_an_agent_that_cannot_work_is_refused_where_it_is_written(options: dict[str, Any], expected: str) -> None:
    """The error names the agent and the option, in one line."""
    with pytest.raises(DefinitionError, match=expected) as refused:
        Agent(**{"name": "it_support", **options})
    assert refused.value.subject.startswith("agent ")
    assert "\n" not in str(refused.value)


def test_unlimited_turns_are_a_choice() -> None:
    """None stands for no limit."""
    assert Agent("it_support", max_turns=None).max_turns is None


def test_names_are_found_and_listed_in_order() -> None:
    """Agents and tools are looked up by name; the listings are sorted."""
    billing = Agent("billing", tools=[look_up])
    triage = Agent("triage", tools=[close_ticket, look_up])
    registry = Registry([triage, billing])
    assert registry.agent("billing") is billing
    assert registry.tool("look_up") is look_up
    assert list(registry.agents) == ["billing", "triage"]
    assert list(registry.tools) == ["close_ticket", "look_up"]


def test_agents_share_tools_and_plain_functions() -> None:
    """One function given to two agents is one tool."""
    registry = Registry([Agent("a", tools=[close_ticket, look_up]), Agent("b", tools=[close_ticket, look_up])])
    assert list(registry.tools) == ["close_ticket", "look_up"]


def test_one_name_for_two_tools_is_refused() -> None:
    """The error names the tool and both agents."""
    other = tool(name="look_up", effect="idempotent")(close_ticket)
    with pytest.raises(DefinitionError) as refused:
        Registry([Agent("billing", tools=[look_up]), Agent("triage", tools=[other])])
    assert all(name in str(refused.value) for name in ("'look_up'", "'billing'", "'triage'"))


def test_one_name_for_two_agents_is_refused() -> None:
    """A run in flight refers to its agent by name, so the name must mean one."""
    with pytest.raises(DefinitionError, match="agent 'billing'"):
        Registry([Agent("billing"), Agent("billing")])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        pytest.param("biling", "did you mean 'billing'? known agents: billing, triage", id="typo"),
        pytest.param("qqqq", "no agent named 'qqqq'; known agents: billing, triage", id="far-off"),
        pytest.param("x" * 10_000, "…", id="huge"),
    ],
)
def test_an_unknown_agent_is_answered_with_those_that_exist(name: str, expected: str) -> None:
    """A wrong name costs one look at the error, which proposes the nearest."""
    registry = Registry([Agent("triage"), Agent("billing")])
    with pytest.raises(UnknownAgentError) as unknown:
        registry.agent(name)
    assert expected in str(unknown.value)
    assert len(str(unknown.value)) < 200
    assert unknown.value.known == ("billing", "triage")


def test_an_unknown_tool_is_answered_with_those_that_exist() -> None:
    """The same holds for tools."""
    with pytest.raises(UnknownToolError, match="did you mean 'look_up'"):
        Registry([Agent("triage", tools=[look_up])]).tool("lookup")


def of(**options: Any) -> Agent:
    """An agent, with options that no type checker would let through."""
    return Agent("a", **options)


def nested(**options: Any) -> Any:
    """An agent as a tool, likewise."""
    return Agent("b").as_tool(**options)


def over(**options: Any) -> Any:
    """A handoff, likewise."""
    return handoff("b", **options)


def test_a_handoff_to_nowhere_is_refused() -> None:
    """The error names the agent, the handoff, and the nearest agent that exists."""
    with pytest.raises(
        DefinitionError, match=r"agent 'triage': the handoff 'transfer_to_biling' leads nowhere.*'billing'"
    ):
        Registry([Agent("triage", handoffs=["biling"]), Agent("billing")])


def test_agents_that_are_reached_are_registered() -> None:
    """An agent used as a tool, or handed over to, comes with its own tools; one given by name has to be given."""
    auditor = Agent("auditor", tools=[look_up])
    billing = Agent("billing", tools=[close_ticket, auditor.as_tool()], handoffs=["triage"])
    registry = Registry([Agent("triage", handoffs=[billing])])
    assert list(registry.agents) == ["auditor", "billing", "triage"]
    assert list(registry.tools) == ["close_ticket", "look_up"]


def test_two_agents_of_one_name_are_refused_wherever_they_are_reached() -> None:
    """A nested agent and another agent under one name would be two things that runs in flight call the same."""
    with pytest.raises(DefinitionError, match="agent 'auditor': two agents have this name"):
        Registry([Agent("triage", tools=[Agent("auditor").as_tool("ask")]), Agent("auditor", max_turns=3)])


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        pytest.param(lambda: of(tools=[Agent("b")]), "offer it as b.as_tool()", id="agent-as-tool"),
        pytest.param(lambda: of(handoffs=[look_up]), "must hold agents, names and handoffs", id="tool-as-handoff"),
        pytest.param(
            lambda: Agent("a", tools=[tool(name="transfer_to_b")(close_ticket)], handoffs=["b"]),
            "two of its tools are named 'transfer_to_b'",
            id="name-taken",
        ),
        pytest.param(lambda: nested(parameters=dict), "must be a pydantic model class", id="parameters"),
        pytest.param(lambda: nested(max_turns=0), "max_turns must be an integer of at least 1", id="turns"),
        pytest.param(lambda: nested(input_builder=len), "input_builder, given the run context", id="builder"),
        pytest.param(lambda: nested(on_error="ignore"), "on_error must be", id="on-error"),
        pytest.param(lambda: nested(name="no spaces"), "1 to 64 letters", id="name"),
        pytest.param(lambda: over(filter=len), "filter, given the run context and the history,", id="filter"),
        pytest.param(lambda: over(on_handoff=lambda: None), "on_handoff, given the run context,", id="callback"),
        pytest.param(lambda: over(approval="always"), "approval must be", id="approval"),
        pytest.param(lambda: handoff(""), "give an agent, or an agent's name", id="nobody"),
    ],
)
def test_a_definition_that_cannot_work_says_why(make: Any, problem: str) -> None:
    """What is wrong with an agent tool or a handoff is told where it is written."""
    with pytest.raises(DefinitionError, match=re.escape(problem)):
        make()


def test_an_empty_registry_says_so() -> None:
    """Without any agent the list reads 'none'."""
    with pytest.raises(UnknownAgentError, match="known agents: none"):
        Registry([]).agent("triage")
