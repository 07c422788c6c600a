"""The input of one model request: the part of the conversation that it carries, its prompt template, its filter."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from temporalio.exceptions import ApplicationError

from handfast.activities.runtime.runtime import Runtime
from handfast.activities.runtime.user_code import Problem, ask
from handfast.definitions.agents.agent import Agent
from handfast.definitions.agents.compaction import Truncate
from handfast.definitions.agents.model_input import ModelInput, checked_template
from handfast.definitions.context import RunContext
from handfast.errors import JsonProfileError
from handfast.payloads.conversation import (
    start_of_compacted,
    start_of_items,
    start_of_tokens,
    start_of_turns,
    without_orphans,
)
from handfast.payloads.json_profile import JsonObject, check_json, scrub
from handfast.payloads.usage import Usage

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


OrderedBlocks: TypeAlias = Sequence[tuple[str, Sequence[JsonObject]]]
"""Blocks of a conversation, by id, in the order in which they are read."""


@dataclass(frozen=True)
class Sent:
    """The part of a conversation that one request carries.

    Attributes:
        read_from: The first block that the model reads in part or whole; None where no block is left out.
    """

    items: list[JsonObject]
    read_from: str | None = None


def sent(agent: Agent, blocks: OrderedBlocks) -> Sent:
    """Leave out the items that the agent's requests do not carry."""
    items = [item for _, block in blocks for item in block]
    start = _start(agent, items)
    if start == 0:
        return Sent(items)
    return Sent(items[start:], _block_at(blocks, start))


def to_be_compacted(agent: Agent, usage: Usage) -> bool | None:
    """Return True where a request was as long as the agent's `Compact.at_tokens`; None where it was not."""
    rule = agent.compaction
    return True if rule is not None and not rule.within_replies and usage.input_tokens >= rule.at_tokens else None


def _start(agent: Agent, items: Sequence[JsonObject]) -> int:
    if agent.compaction is not None and agent.compaction.within_replies:
        return start_of_compacted(items)
    return 0 if agent.truncation is None else _start_by(agent.truncation, items)


def _start_by(rule: Truncate, items: Sequence[JsonObject]) -> int:
    starts = [0]
    if rule.keep_items is not None:
        starts.append(start_of_items(items, rule.keep_items))
    if rule.keep_turns is not None:
        starts.append(start_of_turns(items, rule.keep_turns))
    if rule.keep_tokens is not None:
        starts.append(start_of_tokens(items, rule.keep_tokens))
    return max(starts)


def _block_at(blocks: OrderedBlocks, start: int) -> str | None:
    """Return the block that holds item number *start*; None for the first one."""
    for place, (block_id, items) in enumerate(blocks):
        if start < len(items):
            return block_id if place else None
        start -= len(items)
    return None
