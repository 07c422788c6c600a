"""Asks an agent's functions for the prompt template of a request, and filters its input."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, Final

from temporalio.exceptions import ApplicationError

from handfast.activities.runtime.runtime import Runtime
from handfast.activities.runtime.user_code import Problem, ask
from handfast.definitions.agents.agent import Agent
from handfast.definitions.agents.model_input import ModelInput, checked_template
from handfast.definitions.context import RunContext
from handfast.errors import JsonProfileError
from handfast.payloads.conversation import without_orphans
from handfast.payloads.json_profile import JsonObject, check_json, scrub

ASKED_S: Final = 30.0
"""Time limit of either function."""


async def prompt_of(runtime: Runtime, agent: Agent, context: RunContext[Any]) -> JsonObject | None:
    """Return the prompt template for one request; None where the agent has none.

    Raises:
        ApplicationError: ``PromptFailed``: the agent's function gave none.
    """
    prompt = agent.prompt
    if callable(prompt):
        prompt = await _asked(runtime, "PromptFailed", f"the prompt of {agent.name}", prompt, context)
    elif prompt is None:
        return None
    try:
        return checked_template(prompt)
    except ValueError as error:
        raise _failed("PromptFailed", f"the prompt of {agent.name}", str(error)) from None


async def filtered(runtime: Runtime, agent: Agent, context: RunContext[Any], given: ModelInput) -> ModelInput:
    """Return the input to send in place of *given*, without calls that lack an output and outputs that lack a call.

    Raises:
        ApplicationError: ``InputFilterFailed``: the filter gave nothing that could be sent. Without its answer the
            model must not see what it would have left out.
    """
    if agent.input_filter is None:
        return given
    who = f"the input filter of {agent.name}"
    own = ModelInput(copy.deepcopy(list(given.items)), given.instructions)
    kept = await _asked(runtime, "InputFilterFailed", who, agent.input_filter, context, own)
    if not isinstance(kept, ModelInput) or not isinstance(kept.instructions, str):
        raise _failed("InputFilterFailed", who, f"returned {type(kept).__name__}, not a ModelInput")
    items = list(kept.items)
    if not all(isinstance(item, dict) for item in items):
        raise _failed("InputFilterFailed", who, "returned items that are no dicts")
    try:
        check_json(items)
    except JsonProfileError as error:
        raise _failed("InputFilterFailed", who, f"returned what is not JSON: {error.problem}") from None
    whole = without_orphans(items, given.items)
    if not whole:
        raise _failed("InputFilterFailed", who, "returned nothing that a model could read")
    return ModelInput(whole, scrub(kept.instructions))


async def _asked(runtime: Runtime, kind: str, who: str, function: Callable[..., Any], *args: object) -> Any:
    answer = await ask(function, *args, name=who, within=ASKED_S, threads=runtime.threads)
    if isinstance(answer, Problem):
        raise _failed(kind, who, answer.text)
    return answer


def _failed(kind: str, who: str, problem: str) -> ApplicationError:
    return ApplicationError(f"{who} {problem}", type=kind, non_retryable=True)
