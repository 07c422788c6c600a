"""A reply of Anthropic's Messages API as items of the Responses API, in one piece or as a stream. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, Literal

from handfast.errors import JsonProfileError
from handfast.models.claude.request import BLOCK
from handfast.models.output_items import ItemUnreadableError, read_items
from handfast.models.port import ModelAnswer, ModelDelta, OnDelta
from handfast.models.provider_error import text
from handfast.models.reading import broken, token_count
from handfast.payloads.call_items import PROVIDER_FIELDS
from handfast.payloads.json_profile import JsonObject, check_json, scrub, scrub_json
from handfast.payloads.usage import Usage

_CUT: Final = {
    "max_tokens": "max_output_tokens",
    "model_context_window_exceeded": "the context window is full",
    "pause_turn": "the provider paused the turn",
}
_PIECES: Final[Mapping[str, tuple[str, Literal["text", "reasoning", "arguments"] | None]]] = {
    "text_delta": ("text", "text"),
    "thinking_delta": ("thinking", "reasoning"),
    "signature_delta": ("signature", None),
    "input_json_delta": ("input", "arguments"),
}
"""By kind of delta the field of its block that it writes, and the kind of piece that is told of it."""
_DECLINED: Final = "The model declined to answer."


def read_message(message: Mapping[str, Any]) -> ModelAnswer:
    """Read a message, as decoded JSON.

    Raises:
        ModelCallError: A part of it cannot be recorded, or it is none.
    """
    usage = usage_of(message.get("usage"))
    blocks = message.get("content")
    if not isinstance(blocks, list) or not all(isinstance(block, dict) for block in blocks):
        raise broken("the model's reply has no content", usage)
    items = [item for block in blocks if (item := _item(block)) is not None]
    stopped = message.get("stop_reason")
    if stopped == "refusal":
        items.append(_refusal(message.get("stop_details")))
    try:
        recorded = read_items(scrub_json(items))
        check_json(recorded)
    except ItemUnreadableError as error:
        raise broken(f"the model's reply {error}", usage) from None
    except (JsonProfileError, ValueError, RecursionError):
        raise broken("the model's reply cannot be recorded as JSON", usage) from None
    id = message.get("id")
    return ModelAnswer(
        items=recorded,
        usage=usage,
        response_id=text(id) if isinstance(id, str) else None,
        incomplete=_CUT.get(stopped) if isinstance(stopped, str) else None,
    )


def usage_of(raw: object) -> Usage:
    """Read what a reply has cost: the API counts apart what was read from its cache, and what was put there."""
    told = raw if isinstance(raw, dict) else {}
    cached = token_count(told, "cache_read_input_tokens")
    inputs = token_count(told, "input_tokens") + cached + token_count(told, "cache_creation_input_tokens")
    outputs = token_count(told, "output_tokens")
    return Usage(
        requests=1,
        input_tokens=inputs,
        cached_input_tokens=cached,
        output_tokens=outputs,
        reasoning_tokens=token_count(told.get("output_tokens_details"), "thinking_tokens"),
        total_tokens=inputs + outputs,
    )


def _item(block: JsonObject) -> JsonObject | None:
    """The item that a block is; what has to come back word for word keeps the block itself."""
    match block.get("type"):
        case "text":
            said = str(block.get("text") or "")
            part = {"type": "output_text", "text": said, "annotations": []}
            message = {"type": "message", "role": "assistant", "status": "completed", "content": [part]}
            return message if said.strip() else None
        case "thinking":
            thought = str(block.get("thinking") or "")
            shown = [{"type": "reasoning_text", "text": thought}] if thought else []
            return {"type": "reasoning", "summary": [], "content": shown, PROVIDER_FIELDS: {BLOCK: _bare(block)}}
        case "tool_use":
            arguments = block.get("input")
            return {
                "type": "function_call",
                "call_id": block.get("id"),
                "name": block.get("name"),
                "arguments": arguments if isinstance(arguments, str) else json.dumps(arguments),
            }
        case str():  # thoughts that are encrypted, and what the provider ran itself
            return {"type": "reasoning", "summary": [], PROVIDER_FIELDS: {BLOCK: _bare(block)}}
        case _:
            return None


def _bare(block: JsonObject) -> JsonObject:
    """The block without what the provider's client has filled in."""
    return {name: value for name, value in block.items() if value is not None}


def _refusal(details: object) -> JsonObject:
    told = details.get("explanation") if isinstance(details, dict) else None
    content = [{"type": "refusal", "refusal": str(told or _DECLINED)}]
    return {"type": "message", "role": "assistant", "status": "completed", "content": content}


class StreamedMessage:
    """The reply that the events of one stream have told so far.

    Attributes:
        begun: Something of it has come.
        done: The message is whole.
    """

    def __init__(self, on_delta: OnDelta) -> None:
        self.begun = self.done = False
        self._on_delta = on_delta
        self._message: JsonObject = {}
        self._usage: JsonObject = {}
        self._blocks: dict[int, JsonObject] = {}
        self._written: dict[tuple[int, str], list[str]] = {}

    def take(self, event: Mapping[str, Any]) -> None:
        """Take one event, as decoded JSON."""
        self.begun = True
        index = event.get("index")
        match event.get("type"):
            case "message_start" if isinstance(message := event.get("message"), dict):
                self._message = message
                self._count(message.get("usage"))
            case "content_block_start" if isinstance(index, int) and isinstance(event.get("content_block"), dict):
                self._blocks[index] = dict(event["content_block"])
            case "content_block_delta" if isinstance(index, int) and isinstance(event.get("delta"), dict):
                self._delta(index, event["delta"])
            case "message_delta":
                ended = event.get("delta")
                self._message |= {k: v for k, v in ended.items() if v is not None} if isinstance(ended, dict) else {}
                self._count(event.get("usage"))
            case "message_stop":
                self.done = True

    def answer(self) -> ModelAnswer:
        """Return the reply.

        Raises:
            ModelCallError: A part of it cannot be recorded.
        """
        for (index, field), pieces in self._written.items():
            written = "".join(pieces)
            if field != "input":
                self._blocks[index][field] = f"{self._blocks[index].get(field) or ''}{written}"
                continue
            try:
                self._blocks[index][field] = json.loads(written or "{}")
            except (ValueError, RecursionError):
                self._blocks[index][field] = written  # as the model wrote it: it is told that it is no JSON
        blocks = [self._blocks[index] for index in sorted(self._blocks)]
        return read_message({**self._message, "content": blocks, "usage": self._usage})

    def _count(self, usage: object) -> None:
        if isinstance(usage, dict):
            self._usage |= {name: value for name, value in usage.items() if value is not None}

    def _delta(self, index: int, delta: JsonObject) -> None:
        field, kind = _PIECES.get(str(delta.get("type")), ("", None))
        block = self._blocks.setdefault(index, {})
        piece = delta.get("partial_json" if field == "input" else field)
        if not isinstance(piece, str) or not piece:
            return
        self._written.setdefault((index, field), []).append(piece)
        if kind is not None:
            call = block.get("id") if kind == "arguments" else None
            self._on_delta(ModelDelta(kind, index, scrub(piece), scrub(call) if isinstance(call, str) else None))
