"""Handoffs: an agent gives the conversation to another agent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from pydantic import BaseModel, ConfigDict

from handfast.definitions.checks import a_kind, check_function, check_text
from handfast.definitions.context import RunContext
from handfast.definitions.gates.approval import ApprovalRule
from handfast.definitions.schema.json_schema import arguments_schema
from handfast.definitions.tools.offered import (
    NAME_PATTERN,
    Offered,
    check_approval,
    check_name,
    offered_schema,
    schema_of,
)
from handfast.definitions.tools.options import EnabledRule, checked_enabled
from handfast.errors import DefinitionError
from handfast.payloads.json_profile import JsonObject

if TYPE_CHECKING:
    from handfast.definitions.agents.agent import Agent

__all__ = ["Handoff", "HandoffFilter", "HandoffHistory", "OnHandoff", "handoff", "messages_only"]


@dataclass(frozen=True, slots=True)
class HandoffHistory:
    """The conversation at a handoff, for ``handoff(filter=…)``.

    Attributes:
        items: The conversation so far, as the Responses API takes it; the handoff itself and its output come last.
        by: Name of the agent that hands over.
        to: Name of the agent that takes over.
    """

    items: Sequence[JsonObject]
    by: str
    to: str


HandoffFilter: TypeAlias = Callable[
    [RunContext[Any], HandoffHistory], Sequence[JsonObject] | Awaitable[Sequence[JsonObject]]
]
OnHandoff: TypeAlias = Callable[..., Any]
"""Takes the run context, and the input where the handoff has one."""


class NoInput(BaseModel):
    """Parameters of a handoff without input."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


@dataclass(frozen=True, kw_only=True)
class Handoff(Offered):
    """A handoff to one agent, offered to a model as a call. Made by `handoff`.

    Attributes:
        to: Name of the agent that takes over.
        target: That agent, where it was given as an object.
        takes_input: True where the call has arguments.
        filter: Function that selects the items which the next agent reads; None: all.
        on_handoff: Called once when the handoff takes place.
    """

    to: str
    target: Agent | None = field(repr=False, compare=False)
    takes_input: bool
    filter: HandoffFilter | None
    on_handoff: OnHandoff | None


def handoff(
    agent: Agent | str,
    *,
    name: str | None = None,
    description: str | None = None,
    input: type[BaseModel] | None = None,
    filter: HandoffFilter | None = None,
    on_handoff: OnHandoff | None = None,
    approval: ApprovalRule = False,
    enabled: EnabledRule = True,
) -> Handoff:
    """Define a handoff with options, for ``Agent(handoffs=[…])``, which also takes an agent or its name.

    Args:
        agent: The agent that takes over, or its name: agents may hand over to each other in circles.
        name: For the model; ``transfer_to_<agent>`` by default.
        description: When the model should use it; the agent's own description by default.
        input: pydantic model of arguments that the model writes: `on_handoff` gets them, approvers see them.
        filter: A function of run context and `HandoffHistory`; the items that it returns are all that the next agent
            sees. Calls without output, and outputs without call, are left out of them.
        on_handoff: A function of run context (and input, where there is one), called once when the handoff takes
            place. Where it raises, the handoff does not take place and the model reads why.
        approval: True, an `Approval`, or a rule: whether a person is asked first.
        enabled: As `handfast.tool`: a bool, or a function of the run context, asked before each model call.

    Raises:
        DefinitionError: Something about it cannot work.
    """
    to = agent if isinstance(agent, str) else getattr(agent, "name", None)
    if not isinstance(to, str) or not NAME_PATTERN.fullmatch(to):
        raise DefinitionError("handoff", f"give an agent, or an agent's name, not {a_kind(agent)}")
    subject = f"handoff to {to!r}"
    chosen = f"transfer_to_{to}" if name is None else name
    check_name(subject, chosen)
    check_approval(subject, approval)
    check_text(subject, "description", description, none=True)
    if filter is not None:
        check_function(subject, "filter", filter, "the run context", "the history")
    if on_handoff is not None:
        takes = ("the run context",) if input is None else ("the run context", "the input")
        check_function(subject, "on_handoff", on_handoff, *takes)
    target = None if isinstance(agent, str) else agent
    schema = arguments_schema(NoInput) if input is None else schema_of(input, subject, "input")
    said = description or (target.description if target is not None else "")
    return Handoff(
        name=chosen,
        description=said,
        approval=approval,
        enabled=checked_enabled(subject, enabled),
        to=to,
        target=target,
        takes_input=input is not None,
        filter=filter,
        on_handoff=on_handoff,
        **offered_schema(NoInput if input is None else input, schema),
    )


def messages_only(_context: RunContext[Any], history: HandoffHistory) -> list[JsonObject]:
    """Keep messages only: a filter by which the next agent reads no calls and outputs."""
    return [item for item in history.items if item.get("type", "message") == "message"]
