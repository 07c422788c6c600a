"""Which calls of a reply can be answered: each must be of a kind that was offered, and tell itself apart."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from typing import Any, Final

from temporalio.exceptions import ApplicationError

from handfast.activities.model.plans import servers
from handfast.definitions.agents.agent import Agent
from handfast.payloads.call_items import CALLS, CUSTOM_CALL, FUNCTION_CALL, MCP_APPROVAL, arguments_text, id_of, tool_of
from handfast.payloads.json_profile import JsonObject

LONGEST_CALL_ID: Final = 256
"""The id travels in every activity and request of the call; providers stay below 64 characters."""
UNANSWERABLE: Final = frozenset(
    {
        "computer_call",
        "local_shell_call",
        "shell_call",
        "apply_patch_call",
    }
)
"""Calls that wait for an answer of a kind that no tool of ours gives."""
_FIELDS: Final = {
    FUNCTION_CALL: ("call_id", "name", "arguments"),
    CUSTOM_CALL: ("call_id", "name", "input"),
    MCP_APPROVAL: ("id", "name", "arguments", "server_label"),
}


def offered_kinds(agent: Agent) -> frozenset[str]:
    """The kinds of call that *agent* can answer. Function calls always: one of an unknown tool is told so."""
    own = {FUNCTION_CALL, *(each.call_type for each in agent.offered.values())}
    return frozenset(own | {MCP_APPROVAL} if servers(agent) else own)


def used_ids(items: Sequence[JsonObject]) -> set[str]:
    """Ids of the calls among *items*, which may be answered once only."""
    return {str(item.get("id" if item.get("type") == MCP_APPROVAL else "call_id")) for item in items if _is_call(item)}


def answerable(
    items: Sequence[JsonObject],
    used: Collection[str] = (),
    offered: Collection[str] = (FUNCTION_CALL,),
    labels: Collection[str] = (),
) -> list[JsonObject]:
    """Drop calls that repeat another word for word; refuse a reply whose calls cannot be told apart.

    Everything else is kept as it came, so that reasoning goes back with the call that it led to.

    Args:
        items: The reply.
        used: Ids of calls of earlier turns: a call that takes one again gets a new one, as an id may be answered once
            only.
        offered: Kinds of call that the model was offered.
        labels: Hosted MCP servers that it was offered.

    Raises:
        ApplicationError: ``ModelReplyInvalid``: two different calls share an id, a call has none, or it is of a kind
            that was never offered.
    """
    seen: dict[str, JsonObject] = {}
    kept: list[JsonObject] = []
    for item in items:
        kind = item["type"]
        if kind in UNANSWERABLE or (_is_call(item) and kind not in offered):
            raise _invalid(f"the model made a {kind}, which it was not offered")
        if not _is_call(item):
            kept.append(item)
            continue
        call = _checked(item)
        if kind == MCP_APPROVAL and call["server_label"] not in labels:
            raise _invalid(f"it is asked about the MCP server {call['server_label'][:64]!r}, which was not offered")
        call_id = id_of(call)
        known = seen.setdefault(call_id, call)
        if known is call:
            kept.append(call if call_id not in used else _renamed(call))
        elif _content(known) != _content(call):
            raise _invalid(f"two different calls have the id {call_id}; none of this reply was run")
        else:
            drop_last_thoughts(kept)
    drop_last_thoughts(kept)
    return kept


def drop_last_thoughts(items: list[JsonObject]) -> None:
    """Drop the reasoning that *items* end with: the API refuses one without the item that it led to."""
    while items and items[-1].get("type") == "reasoning":
        items.pop()


def _is_call(item: JsonObject) -> bool:
    return item.get("type") in CALLS


def _checked(item: JsonObject) -> JsonObject:
    id_field, name_field, arguments_field, *others = _FIELDS[item["type"]]
    call_id = item.get(id_field)
    if not isinstance(call_id, str) or not call_id or not isinstance(item.get(name_field), str):
        raise _invalid("the model made a call without an id or a name")
    if len(call_id) > LONGEST_CALL_ID:
        raise _invalid(f"the model made a call with an id of {len(call_id):,} characters")
    for field in (arguments_field, *others):
        if not isinstance(item.get(field), str):
            raise _invalid(f"the {field} of call {call_id} {'are' if field == 'arguments' else 'is'} no text")
    if item["type"] == MCP_APPROVAL and len(item[name_field]) > LONGEST_CALL_ID:
        raise _invalid(f"it is asked about a tool whose name has {len(item[name_field]):,} characters")
    if arguments_field == "arguments" and not item[arguments_field].strip():
        # How some models call a function without parameters; sent back like this, the API would refuse it.
        return {**item, arguments_field: "{}"}
    return item


def _renamed(call: JsonObject) -> JsonObject:
    if call["type"] == MCP_APPROVAL:
        raise _invalid(f"the approval request {id_of(call)} was answered before")
    return {**call, "call_id": f"call_{uuid.uuid4().hex}"}


def _content(call: JsonObject) -> tuple[Any, ...]:
    return call["type"], tool_of(call), arguments_text(call)


def _invalid(message: str) -> ApplicationError:
    return ApplicationError(message, type="ModelReplyInvalid", non_retryable=True)
