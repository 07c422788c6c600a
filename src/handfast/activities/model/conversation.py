"""Cuts a conversation for one model request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from handfast.definitions.agents.agent import Agent
from handfast.definitions.agents.compaction import Truncate
from handfast.payloads.conversation import start_of_compacted, start_of_items, start_of_tokens, start_of_turns
from handfast.payloads.json_profile import JsonObject
from handfast.payloads.usage import Usage

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
