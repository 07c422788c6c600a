"""Conversations at the provider: made, read and mended over the same client as the model calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

import httpx2
import openai

from handfast.models.port import ModelCallError
from handfast.models.provider_error import text
from handfast.models.reading import parsed
from handfast.models.vendor_errors import failure_of
from handfast.payloads.json_profile import JsonObject

PAGE: Final = 100
"""Items of one page: the most that the API lists."""
ADDED_AT_ONCE: Final = 20


class ResponsesConversations:
    """The Conversations API. What it answers is read as plain JSON."""

    def __init__(self, client: openai.AsyncOpenAI) -> None:
        self._client = client

    async def create(self) -> str:
        """Make an empty conversation; return its id."""
        return _id_of(await self._send("POST", "/conversations", body={}))

    async def last_item(self, conversation: str) -> str | None:
        """Id of the newest item; None where there is none."""
        page = await self._send("GET", _items(conversation), {"limit": 1, "order": "desc"})
        return next((_id_of(item) for item in _data(page)), None)

    async def items_after(self, conversation: str, item: str | None) -> list[JsonObject]:
        """Everything after *item*, oldest first; all of it where that is None."""
        found: list[JsonObject] = []
        more = True
        while more:
            after = _id_of(found[-1]) if found else item
            asked = {"limit": PAGE, "order": "asc", **({} if after is None else {"after": after})}
            page = await self._send("GET", _items(conversation), asked)
            new = _data(page)
            found += new
            more = page.get("has_more") is True and bool(new)
        return found

    async def delete_item(self, conversation: str, item: str) -> None:
        """Delete one item; one that is gone already is no failure."""
        try:
            await self._send("DELETE", f"{_items(conversation)}/{quote(item, safe='')}")
        except ModelCallError as error:
            if error.kind != "HistoryLost":
                raise

    async def add_items(self, conversation: str, items: Sequence[JsonObject]) -> str | None:
        """Append items; return the id of the last one."""
        last: str | None = None
        for start in range(0, len(items), ADDED_AT_ONCE):
            body = {"items": list(items[start : start + ADDED_AT_ONCE])}
            for item in _data(await self._send("POST", _items(conversation), body=body)):
                last = _id_of(item)
        return last

    async def _send(
        self, method: str, path: str, query: Mapping[str, object] | None = None, body: object = None
    ) -> JsonObject:
        options: Any = {"params": dict(query)} if query else {}
        try:
            match method:
                case "GET":
                    response = await self._client.get(path, cast_to=httpx2.Response, options=options)
                case "POST":
                    response = await self._client.post(path, cast_to=httpx2.Response, body=body)
                case _:
                    response = await self._client.delete(path, cast_to=httpx2.Response)
        except openai.NotFoundError as error:
            raise ModelCallError(
                "HistoryLost", f"the provider answered 404: {text(error.message)}", retryable=False
            ) from error
        except Exception as error:
            raise failure_of(error) from error
        try:
            answer = parsed(response.content)
        except ModelCallError:
            raise _unreadable() from None
        if not isinstance(answer, dict):
            raise _unreadable()
        return answer


def _items(conversation: str) -> str:
    return f"/conversations/{quote(conversation, safe='')}/items"


def _data(page: JsonObject) -> list[JsonObject]:
    data = page.get("data")
    if not isinstance(data, list) or not all(isinstance(item, dict) for item in data):
        raise _unreadable()
    return data


def _id_of(value: JsonObject) -> str:
    found = value.get("id")
    if not isinstance(found, str) or not found:
        raise _unreadable()
    return text(found)


def _unreadable() -> ModelCallError:
    return ModelCallError("ModelUnavailable", "what the provider said of a conversation cannot be read", retryable=True)
