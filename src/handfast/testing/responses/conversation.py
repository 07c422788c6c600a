"""The effective input: what is stored, what is new, and the rules that hold between items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Final

from handfast.testing.record import Json, is_from_model, text_of
from handfast.testing.responses.compaction import Seals
from handfast.testing.responses.content import MAX_TEXT
from handfast.testing.responses.conversations import Conversations, kept_items
from handfast.testing.responses.files import Files
from handfast.testing.responses.items import check_item
from handfast.testing.responses.params import conversation_named
from handfast.testing.responses.refusal import ApiRefusal, wrong_type
from handfast.testing.responses.values import string

_CALLS: Final = {"function_call": "call_id", "custom_tool_call": "call_id", "mcp_approval_request": "id"}
"""Types of items that must be answered, and the field that holds their id."""
_OUTPUTS: Final = {
    "function_call_output": ("function_call", "call_id"),
    "custom_tool_call_output": ("custom_tool_call", "call_id"),
    "mcp_approval_response": ("mcp_approval_request", "approval_request_id"),
}
"""Types of items that answer them, and the field that names the answered one."""


@dataclass
class Store:
    """The responses that a server keeps for `previous_response_id` and for item references, and conversations.

    Attributes:
        strict: Items and what holds between them are checked as OpenAI's server does.
        models: Names of the models that were asked.
    """

    strict: bool = True
    responses: dict[str, Json] = field(default_factory=dict)
    conversations: Conversations = field(default_factory=Conversations)
    files: Files = field(default_factory=Files)
    models: dict[str, None] = field(default_factory=lambda: {"scripted": None})
    _conversations: dict[str, list[Json]] = field(default_factory=dict)
    _inputs: dict[str, list[Json]] = field(default_factory=dict)
    _items: dict[str, Json] = field(default_factory=dict)
    _thought_before: dict[str, str] = field(default_factory=dict)
    _led_to: dict[str, str] = field(default_factory=dict)
    seals: Seals = field(default_factory=Seals)

    def keep(self, response: Json, items: Sequence[Json]) -> None:
        """Store *response* as the answer to *items*."""
        self.responses[response["id"]] = response
        self._conversations[response["id"]] = [*items, *response["output"]]
        self._inputs[response["id"]] = kept_items(items, response["id"].removeprefix("resp_"))
        self._items.update({item["id"]: item for item in response["output"] if isinstance(item.get("id"), str)})
        self._pair(response, is_kept=True)

    def forget(self, response_id: str) -> bool:
        """Drop a response with its items, as a provider does in time; whether it was known."""
        response = self.responses.pop(response_id, None)
        if response is None:
            return False
        self._conversations.pop(response_id, None)
        self._inputs.pop(response_id, None)
        for item in response["output"]:
            self._items.pop(str(item.get("id")), None)
        return True

    def input_of(self, response_id: str) -> list[Json]:
        """The items that a stored response has read."""
        return self._inputs.get(response_id, [])

    def remember(self, response: Json) -> None:
        """Note which reasoning led to which call, also where nothing is stored: the encrypted content says it."""
        self._pair(response, is_kept=False)

    def _pair(self, response: Json, *, is_kept: bool) -> None:
        self.seals.note(response["output"])
        thought: str | None = None
        for item in response["output"]:
            item_id = item.get("id")
            if not isinstance(item_id, str):
                continue
            if item.get("type") == "reasoning":
                thought = item_id
            elif thought is not None:
                self._led_to[thought] = item_id
                if is_kept or item.get("type") in _CALLS:
                    self._thought_before[item_id] = thought
                thought = None

    def effective(self, body: Json) -> list[Json]:
        """Return the effective input of a request.

        Raises:
            ApiRefusal: An item is malformed, something it refers to is unknown, or items do not fit together.
        """
        if body.get("model"):
            self.models[body["model"]] = None
        new = _new_items(body, strict=self.strict)
        if self.strict:
            self.files.check(new)
            new = [self._resolve(item) for item in new]
        previous = body.get("previous_response_id")
        if previous is not None and previous not in self._conversations and self.strict:
            message = f"Previous response with id '{previous}' not found."
            raise ApiRefusal(message, "previous_response_id", "previous_response_not_found")
        earlier = self._conversations.get(previous, []) if previous is not None else []
        conversation = conversation_named(body.get("conversation"))
        if conversation is not None:
            earlier = self.conversations.items(conversation)
        items = [*earlier, *new]
        if previous is None and conversation is None and not (items or body.get("prompt")):
            message = "One of \"input\" or \"previous_response_id\" or 'prompt' or 'conversation' must be provided."
            raise ApiRefusal(message, "input", "missing_required_parameter")
        if self.strict:
            _refuse_duplicate_ids(items)
            self._check_reasoning(items)
            self.seals.check(items)
        _check_pairs(items)
        if self.strict:
            _check_json_word(body, items)
        return items

    def _resolve(self, item: Json) -> Json:
        """Return what a reference stands for; refuse reasoning that is neither stored nor encrypted."""
        item_id = item.get("id")
        reference = item.get("type", "item_reference" if set(item) == {"id"} else None) == "item_reference"
        thought = item.get("type") == "reasoning" and not item.get("encrypted_content")
        if not (reference or thought) or item_id in self._items:
            return self._items[str(item_id)] if reference else item
        message = (
            f"Item with id '{item_id}' not found. Items are not persisted when `store` is set to false. "
            "Try again with `store` set to true, or remove this item from your input."
        )
        raise ApiRefusal(message, "input", status=404)

    def _check_reasoning(self, items: Sequence[Json]) -> None:
        seen: set[object] = set()
        for item, after in zip_longest(items, items[1:]):
            if item.get("type") == "reasoning":
                seen.add(item.get("id"))
                led_to = self._led_to.get(str(item.get("id")))
                if after is None or not is_from_model(after) or (led_to and after.get("id", led_to) != led_to):
                    named = f"Item '{item.get('id')}' of type 'reasoning'"
                    raise ApiRefusal(f"{named} was provided without its required following item.", "input")
            needed = self._thought_before.get(str(item.get("id")))
            if needed is not None and needed not in seen:
                named = f"Item '{item['id']}' of type '{item.get('type')}'"
                raise ApiRefusal(f"{named} was provided without its required 'reasoning' item: '{needed}'.", "input")


def _new_items(body: Json, *, strict: bool) -> list[Json]:
    value = [] if body.get("input") is None else body["input"]
    if isinstance(value, str):
        content = string(value, "input", maximum=MAX_TEXT)
        return [{"type": "message", "role": "user", "content": content}]
    if not isinstance(value, list):
        raise wrong_type("input", "one of an array of objects or string", value)
    return [check_item(item, f"input[{index}]") if strict else dict(item) for index, item in enumerate(value)]


def _refuse_duplicate_ids(items: Sequence[Json]) -> None:
    seen: set[str] = set()
    for item in items:
        item_id = item.get("id")
        if isinstance(item_id, str):
            if item_id in seen:
                remedy = "Remove duplicate items from your input and try again."
                raise ApiRefusal(f"Duplicate item found with id {item_id}. {remedy}", "input")
            seen.add(item_id)


def _check_pairs(items: Sequence[Json]) -> None:
    """Refuse calls without output, outputs without an earlier call, and either of them twice."""
    calls: dict[tuple[str, str], bool] = {}
    for item in items:
        kind = str(item.get("type"))
        if kind in _CALLS:
            call_id = str(item.get(_CALLS[kind]))
            if (kind, call_id) in calls:
                raise ApiRefusal(f"Duplicate function call found with call_id {call_id}.", "input")
            calls[kind, call_id] = False
        elif kind in _OUTPUTS:
            call, named = _OUTPUTS[kind]
            call_id = str(item.get(named))
            answered = calls.get((call, call_id))
            if answered is None:
                message = f"No tool call found for {call.replace('_', ' ')} output with call_id {call_id}."
                raise ApiRefusal(message, "input")
            if answered:
                raise ApiRefusal(f"Duplicate tool output found for call_id {call_id}.", "input")
            calls[call, call_id] = True
    for (kind, call_id), answered in calls.items():
        if not answered:
            raise ApiRefusal(f"No tool output found for {kind.replace('_', ' ')} {call_id}.", "input")


def _check_json_word(body: Json, items: Sequence[Json]) -> None:
    text_format = (body.get("text") or {}).get("format") or {}
    if text_format.get("type") != "json_object":
        return
    texts = [str(body.get("instructions") or ""), *(text_of(item) for item in items)]
    if not any("json" in text.lower() for text in texts):
        message = (
            "Response input messages must contain the word 'json' in some form to use 'text.format' of type "
            "'json_object'."
        )
        raise ApiRefusal(message, "input")
