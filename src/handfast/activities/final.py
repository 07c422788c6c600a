"""What surrounds a run of the model: guardrails before it, and what its final answer has to be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from handfast.agent import Agent
from handfast.errors import OutputInvalidError
from handfast.payloads.json_profile import JsonObject, scrub
from handfast.payloads.model_call import NamedGuardrail, StructuredOutput
from handfast.workflows.answers import answer_text

PROBLEM_CHARACTERS: Final = 4000


def request_settings(agent: Agent, *, called: bool = False) -> Mapping[str, Any]:
    """The settings of the agent's requests, with the format of its answer where it has an output type.

    Args:
        agent: Whose request it is.
        called: It has made a call in this loop before: a tool that it must call would be called for ever.
    """
    settings = dict(agent.model_settings)
    if agent.compaction is not None and agent.compaction.within_replies:
        settings["context_management"] = [{"type": "compaction", "compact_threshold": agent.compaction.at_tokens}]
    if called and agent.reset_tool_choice and "tool_choice" in settings:
        settings["tool_choice"] = _freed(settings["tool_choice"])
    return settings if agent.output is None else agent.output.settings(settings, f"agent {agent.name!r}")


def _freed(choice: object) -> object:
    """The choice without its demand for a call; what it forbids, it goes on forbidding."""
    if isinstance(choice, Mapping) and choice.get("type") == "allowed_tools":
        return {**choice, "mode": "auto"}
    return choice if choice == "none" else "auto"


def input_guardrails(agent: Agent) -> list[NamedGuardrail] | None:
    """What has to be asked before the model, blocking ones first; None where the agent has no input guardrails."""
    ordered = sorted(agent.input_guardrails, key=lambda each: each.parallel)
    return [NamedGuardrail(name=each.name, parallel=each.parallel) for each in ordered] or None


def structured(agent: Agent, items: Sequence[JsonObject]) -> StructuredOutput | None:
    """Check a final answer against the agent's output type, if it has one."""
    output = agent.output
    if output is None:
        return None
    try:
        output.check_text(answer_text(items))
    except OutputInvalidError as error:
        return StructuredOutput(problem=scrub(str(error))[:PROBLEM_CHARACTERS])
    return StructuredOutput(wrapped=output.wrapped or None)
