"""Conversations that the server keeps: their items, and the lock while a response is made on one."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from handfast.testing.record import Json
from handfast.testing.responses.hosted import ID_PREFIXES
from handfast.testing.responses.items import check_item
from handfast.testing.responses.params import check_metadata
from handfast.testing.responses.refusal import ApiRefusal, wrong_value
from handfast.testing.responses.values import array, fields, integer, nullable

LOCKED: Final = "Another process is currently operating on this conversation. Please retry in a few seconds."
MOST_ADDED: Final = 20
"""Items that one request may add."""
_ID_PREFIXES: Final[Mapping[str, str]] = {
    "message": "msg",
    "function_call": "fc",
    "function_call_output": "fco",
    "custom_tool_call": "ctc",
    "custom_tool_call_output": "ctco",
    "reasoning": "rs",
    **ID_PREFIXES,
}


@dataclass
class _Conversation:
    shown: Json
    items: list[Json] = field(default_factory=list)
    is_locked: bool = False


class Conversations:
    """Conversations by id."""

    def __init__(self) -> None:
        self._known: dict[str, _Conversation] = {}

    def create(self, body: Json, token: str) -> Json:
        """Make one, with the items that it begins with.

        Raises:
            ApiRefusal: The request is malformed.
        """
        fields(body, "", {"items": nullable(_added), "metadata": nullable(check_metadata)})
        shown: Json = {
            "id": f"conv_{token}",
            "object": "conversation",
            "created_at": int(time.time()),
            "metadata": body.get("metadata") or {},
        }
        made = self._known[shown["id"]] = _Conversation(shown)
        made.items = kept_items(body.get("items") or [], token)
        return shown

    def show(self, conversation_id: str) -> Json:
        """The conversation itself, without its items."""
        return self._named(conversation_id).shown

    def delete(self, conversation_id: str) -> Json:
        """Forget it."""
        self._named(conversation_id)
        del self._known[conversation_id]
        return {"id": conversation_id, "object": "conversation.deleted", "deleted": True}

    def forget(self, conversation_id: str) -> bool:
        """Drop it without a request; whether it was known."""
        return self._known.pop(conversation_id, None) is not None

    def items(self, conversation_id: str) -> list[Json]:
        """Return the items that a response on it reads before its own input.

        Raises:
            ApiRefusal: It is unknown, or another response is being made on it.
        """
        named = self._named(conversation_id, "conversation")
        _refuse_locked(named)
        return list(named.items)

    def lock(self, conversation_id: str) -> None:
        """Take it for one response, until `unlock`."""
        self._named(conversation_id).is_locked = True

    def unlock(self, conversation_id: str) -> None:
        """Let others have it."""
        if conversation_id in self._known:
            self._known[conversation_id].is_locked = False

    def grow(self, conversation_id: str, effective: Sequence[Json], response: Json) -> None:
        """Add what a response read (beyond what was there) and put out, unless it was deleted meanwhile."""
        named = self._known.get(conversation_id)
        if named is not None:
            new = [*effective[len(named.items) :], *response["output"]]
            named.items += kept_items(new, response["id"].removeprefix("resp_"))

    def add(self, conversation_id: str, body: Json, token: str) -> Json:
        """Add items by request."""
        named = self._named(conversation_id)
        fields(body, "", {"items": _added}, ("items",))
        _refuse_locked(named)
        added = kept_items(body["items"], token)
        named.items += added
        return _page(added, has_more=False)

    def listed(self, conversation_id: str, query: Mapping[str, str]) -> Json:
        """A page of its items."""
        return listed(self._named(conversation_id).items, query)

    def item(self, conversation_id: str, item_id: str) -> Json:
        """One item."""
        found = [item for item in self._named(conversation_id).items if item["id"] == item_id]
        if not found:
            raise _no_item(item_id)
        return found[0]

    def drop(self, conversation_id: str, item_id: str) -> Json:
        """Delete one item; the conversation itself is the answer."""
        named = self._named(conversation_id)
        _refuse_locked(named)
        named.items.remove(self.item(conversation_id, item_id))
        return named.shown

    def _named(self, conversation_id: str, param: str | None = None) -> _Conversation:
        if conversation_id not in self._known:
            raise ApiRefusal(f"Conversation with id '{conversation_id}' not found.", param, status=404)
        return self._known[conversation_id]


def _refuse_locked(named: _Conversation) -> None:
    if named.is_locked:
        raise ApiRefusal(LOCKED, "conversation", "conversation_locked")


def _no_item(item_id: str) -> ApiRefusal:
    return ApiRefusal(f"Item with id '{item_id}' not found.", status=404)


def _added(value: object, param: str) -> None:
    items = array(value, param)
    if len(items) > MOST_ADDED:
        message = f"Invalid '{param}': array too long. Expected an array with maximum length {MOST_ADDED}, "
        raise ApiRefusal(f"{message}but got {len(items)} instead.", param, "array_above_max_length")
    for index, item in enumerate(items):
        check_item(item, f"{param}[{index}]")


def _limit(value: str) -> int:
    number: object = int(value) if value.isdecimal() else value
    integer(1, 100)(number, "limit")
    return int(value)


def kept_items(items: Sequence[Json], token: str) -> list[Json]:
    """Return items as the API keeps them: each with an id and its type, and messages in parts."""
    kept: list[Json] = []
    for index, item in enumerate(items):
        kind = str(item.get("type", "message"))
        made_up = f"{_ID_PREFIXES.get(kind, 'item')}_{token}{index:04x}i"
        said = _message(item) if kind == "message" else item
        kept.append({**said, "type": kind, "id": item.get("id") or made_up})
    return kept


def _message(item: Json) -> Json:
    content = item.get("content")
    if isinstance(content, str) and item.get("role") == "assistant":
        content = [{"type": "output_text", "text": content, "annotations": [], "logprobs": []}]
    elif isinstance(content, str):
        content = [{"type": "input_text", "text": content}]
    return {**item, "content": content, "status": item.get("status") or "completed"}


def listed(items: Sequence[Json], query: Mapping[str, str]) -> Json:
    """Return a page of *items*, the newest first unless `order` says otherwise.

    Raises:
        ApiRefusal: The query is malformed, or names an item that is not among them.
    """
    order = query.get("order", "desc")
    if order not in ("asc", "desc"):
        raise wrong_value("order", order, ("asc", "desc"))
    limit = _limit(query.get("limit", "20"))
    found = list(items) if order == "asc" else list(items)[::-1]
    after = query.get("after")
    if after is not None:
        ids = [item["id"] for item in found]
        if after not in ids:
            raise _no_item(after)
        found = found[ids.index(after) + 1 :]
    return _page(found[:limit], has_more=len(found) > limit)


def _page(items: Sequence[Json], *, has_more: bool) -> Json:
    return {
        "object": "list",
        "data": list(items),
        "first_id": items[0]["id"] if items else None,
        "last_id": items[-1]["id"] if items else None,
        "has_more": has_more,
    }
