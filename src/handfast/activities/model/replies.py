"""Checks the calls of a reply: each is of a kind that was offered, and has an id of its own."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from typing import Any, Final

from temporalio.exceptions import ApplicationError

from handfast.activities.model.plans import servers
from handfast.definitions.agents.agent import Agent
from handfast.models.input_items import with_own_ids
from handfast.payloads.call_items import (
    CALLS,
    FUNCTION_CALL,
    ID_FIELD,
    MCP_APPROVAL,
    PROVIDER_IDS,
    arguments_text,
    id_of,
    tool_of,
)
from handfast.payloads.json_profile import JsonObject
from handfast.payloads.model_call import REPLY_BROKEN

LONGEST_NAME: Final = 256
"""Most characters of the name of a called tool that a run keeps. Names that are offered have 64 at most."""
UNANSWERABLE: Final = frozenset(
    {
        "computer_call",
        "local_shell_call",
        "shell_call",
        "apply_patch_call",
    }
)
"""Calls that wait for an answer of a kind that no tool of ours gives."""


def offered_kinds(agent: Agent) -> frozenset[str]:
    """Return the kinds of call that *agent* can answer; function calls always, for the error about unknown tools."""
    own = {FUNCTION_CALL, *(each.call_type for each in agent.offered.values())}
    return frozenset(own | {MCP_APPROVAL} if servers(agent) else own)


def used_ids(items: Sequence[JsonObject]) -> set[str]:
    """Return the ids of the calls among *items*; each may be answered once."""
    return {str(item.get(ID_FIELD[item["type"]])) for item in items if _is_call(item)}


def answerable(
    items: Sequence[JsonObject],
    used: Collection[str] = (),
    offered: Collection[str] = (FUNCTION_CALL,),
    labels: Collection[str] = (),
    client: str = "default",
) -> list[JsonObject]:
    """Give each call an id of its own, and drop calls that repeat another word for word.

    Everything else is kept as it came, so that reasoning goes back with the call that it led to.

    Args:
        items: The reply.
        used: Ids of calls of earlier turns: a call that takes one again gets a new one, as an id may be answered once
            only.
        offered: Kinds of call that the model was offered.
        labels: Hosted MCP servers that it was offered.
        client: The model entry that it came from.

    Raises:
        ApplicationError: The reply has to be asked for again: a call is of a kind that was never offered, or it cannot
            be told what is to be answered.
    """
    seen: dict[str, list[tuple[Any, ...]]] = {}
    kept: list[JsonObject] = []
    for item in items:
        kind = item["type"]
        if kind in UNANSWERABLE or (_is_call(item) and kind not in offered):
            raise _again(f"the model made a {kind}, which it was not offered")
        own = with_own_ids(item, client)
        if not _is_call(own):
            kept.append(own)
            continue
        call = _checked(own, labels)
        call_id, content = id_of(call), _content(call)
        earlier = seen.setdefault(call_id, [])
        if content in earlier:
            if not call_id:
                raise _again("the model made the same call twice without an id")
            drop_last_thoughts(kept)
            continue
        kept.append(call if call_id and not earlier and call_id not in used else _renamed(call))
        earlier.append(content)
    drop_last_thoughts(kept)
    return kept


def says_something(items: Sequence[JsonObject]) -> bool:
    """Return True where a reply holds a word, a call or an image: any other counts as empty."""
    return any(map(_says_something, items))


def _says_something(item: JsonObject) -> bool:
    kind = item.get("type")
    if kind == "image_generation_call":
        return bool(item.get("result"))
    if kind != "message":
        return _is_call(item) or kind in UNANSWERABLE
    parts = item.get("content")
    parts = parts if isinstance(parts, list) else []
    return any(part.get("type") == "refusal" or str(part.get("text", "")).strip() for part in parts)


def drop_last_thoughts(items: list[JsonObject]) -> None:
    """Drop the reasoning that *items* end with: the API refuses one without the item that it led to."""
    while items and items[-1].get("type") == "reasoning":
        items.pop()


def _is_call(item: JsonObject) -> bool:
    return item.get("type") in CALLS


def _checked(call: JsonObject, labels: Collection[str]) -> JsonObject:
    name = call["name"]
    if call["type"] != MCP_APPROVAL:
        return call if len(name) <= LONGEST_NAME else {**call, "name": name[:LONGEST_NAME]}
    label = call.get("server_label")
    if label not in labels:
        raise _again(f"it is asked about the MCP server {str(label)[:64]!r}, which was not offered")
    if not isinstance(call.get("id"), str) or len(name) > LONGEST_NAME:
        raise _again(f"it is asked about a tool of {label} without an id, or with a name of {len(name):,} characters")
    return call


def _renamed(call: JsonObject) -> JsonObject:
    """Give a call an id of the run's own, also in what goes back: the provider's names another one."""
    if call["type"] == MCP_APPROVAL:
        raise _again(f"it is asked twice about {id_of(call)}")
    return {**_without(call, PROVIDER_IDS), "call_id": f"call_{uuid.uuid4().hex}"}


def _without(item: JsonObject, field: str) -> JsonObject:
    return {name: value for name, value in item.items() if name != field}


def _content(call: JsonObject) -> tuple[Any, ...]:
    return call["type"], tool_of(call), arguments_text(call)


def _again(message: str) -> ApplicationError:
    return ApplicationError(message, type=REPLY_BROKEN, non_retryable=True)
