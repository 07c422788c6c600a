"""A reply of the Chat Completions API as items of the Responses API, in one piece or as a stream. Pure."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from handfast.errors import JsonProfileError
from handfast.models.port import ModelAnswer, ModelDelta, OnDelta
from handfast.models.provider_error import error_of, text
from handfast.models.reading import broken, parsed, usage_of, wrong_api
from handfast.models.streaming import Event
from handfast.models.vendor_errors import failure
from handfast.payloads.call_items import PROVIDER_FIELDS
from handfast.payloads.json_profile import JsonObject, check_json, scrub, scrub_json
from handfast.payloads.usage import Usage

REASONING: Final = ("reasoning_content", "reasoning")
"""Fields in which servers put what a model thinks: DeepSeek and llama.cpp the first, OpenRouter, Ollama, vLLM and Groq
the second."""
PARTS: Final = ("reasoning_details", "thinking_blocks")
"""Parts of what a model thinks, some signed or encrypted, that OpenRouter and LiteLLM want back as they came."""
EXTRA: Final = "extra_content"
"""The field of a message or call in which Gemini and any-llm send what they want back unchanged."""
_RESPONSE_CAME: Final = ("Chat Completions", "a Responses object", "ResponsesModel")
_WRITTEN: Final = ("text", "summary", "data", "thinking")
_INCOMPLETE: Final = {"length": "max_output_tokens", "content_filter": "content_filter"}


def read_completion(body: object, headers: Mapping[str, str] | None = None) -> ModelAnswer:
    """Read a ``chat.completion`` object.

    Args:
        body: What came, decoded.
        headers: Of the answer: a failure within it may say there how long to wait.

    Raises:
        ModelCallError: It is none, or says that the provider failed.
    """
    if not isinstance(body, dict):
        raise broken("the model's reply is no object", Usage(requests=1))
    usage = _usage_of(body.get("usage"))
    _raise_error(body, usage, headers)
    if body.get("object") == "response" or isinstance(body.get("output"), list):
        raise wrong_api(*_RESPONSE_CAME)
    choices = body.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        raise broken("the model's reply has no choice with a message", usage)
    reply = ChatReply()
    reply.take(message)
    return reply.answer(choice.get("finish_reason"), usage, body.get("id"))


def _raise_error(body: Mapping[str, Any], usage: Usage, headers: Mapping[str, str] | None) -> None:
    """Raise what *body* says of a failure, as some servers do inside a 200: alone, or beside what came before it."""
    choices = body.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    told = body if body.get("error") or (body.get("detail") and not choices) else choice
    if told.get("error") or told.get("detail") or choice.get("finish_reason") == "error":
        raise failure(error_of(told, headers=headers), usage)


def _usage_of(raw: object) -> Usage:
    return usage_of(raw, read="prompt_tokens", written="completion_tokens")


@dataclass
class _Item:
    """An item in the making."""

    kind: str
    texts: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    id: str | None = None
    name: str = ""
    fields: JsonObject = field(default_factory=dict)

    def whole(self) -> JsonObject:
        """Return the item; what a provider wants back unchanged, as a signature of what was thought, comes along."""
        return {**self._shape(), **({PROVIDER_FIELDS: self.fields} if self.fields else {})}

    def _shape(self) -> JsonObject:
        said = "".join(self.texts)
        match self.kind:
            case "reasoning":
                return {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": said}]}
            case "function_call" | "custom_tool_call":
                field_of = "arguments" if self.kind == "function_call" else "input"
                return {"type": self.kind, "call_id": self.id, "name": self.name, field_of: said}
        content: list[JsonObject] = []
        if said:
            content.append({"type": "output_text", "text": said, "annotations": []})
        if self.refusals:
            content.append({"type": "refusal", "refusal": "".join(self.refusals)})
        return {"type": "message", "role": "assistant", "status": "completed", "content": content}


class ChatReply:
    """The items of one reply, from a message or from the deltas of a stream, in the order of their first piece."""

    def __init__(self, on_delta: OnDelta | None = None) -> None:
        self._items: list[_Item] = []
        self._calls: dict[object, int] = {}
        self._on_delta = on_delta

    def take(self, delta: Mapping[str, Any]) -> None:
        """Take a message, or a further piece of one."""
        for name in REASONING:
            if thought := _text_of(delta.get(name)):
                self._think(thought, name)
                break
        for name in PARTS:
            if isinstance(parts := delta.get(name), list) and parts:
                self._keep_parts(name, parts)
        if isinstance(extra := delta.get(EXTRA), dict) and extra:
            last = self._last_thought()
            place = self._open("reasoning") if last is None else last
            _merge(self._items[place].fields.setdefault(EXTRA, {}), extra)
        if thought := _thinking_in(delta.get("content")):
            self._think(thought, None)
        if said := _text_of(delta.get("content")):
            self._write(self._open("message"), "text", said)
        if refusal := _text_of(delta.get("refusal")):
            place = self._open("message")
            self._items[place].refusals.append(refusal)
            self._tell(place, "text", refusal)
        calls = delta.get("tool_calls")
        for order, call in enumerate(calls if isinstance(calls, list) else []):
            if isinstance(call, dict):
                self._call(call, order)
        if isinstance(legacy := delta.get("function_call"), dict):
            self._call({"function": legacy}, 0)

    def answer(self, finished: object, usage: Usage, response_id: object) -> ModelAnswer:
        """Return the reply.

        Args:
            finished: ``finish_reason`` of the choice.

        Raises:
            ModelCallError: A part of it cannot be recorded.
        """
        for each in self._items:
            if each.kind in ("function_call", "custom_tool_call") and not each.id:
                each.id = f"call_{uuid.uuid4().hex}"
        items = [each.whole() for each in self._items]
        items = [each for each in items if each["type"] != "message" or each["content"]]
        try:
            recorded = scrub_json(items)
            check_json(recorded)
        except (JsonProfileError, ValueError, RecursionError):
            raise broken("the model's reply cannot be recorded as JSON", usage) from None
        return ModelAnswer(
            items=recorded,
            usage=usage,
            response_id=text(response_id) if isinstance(response_id, str) else None,
            incomplete=_INCOMPLETE.get(finished) if isinstance(finished, str) else None,
        )

    def _call(self, call: Mapping[str, Any], order: int) -> None:
        shape = call.get("function") if isinstance(call.get("function"), dict) else call.get("custom")
        told = shape if isinstance(shape, dict) else {}
        known = call.get("id") if isinstance(call.get("id"), str) and call.get("id") else None
        index = call.get("index")
        key: object = index if isinstance(index, int) else (known or order)
        place = self._calls.get(key)
        # A server that gives every call the index 0 tells them apart by their ids.
        if place is not None and known is not None and self._items[place].id not in (None, known):
            place = None
        if place is None:
            kind = "custom_tool_call" if isinstance(call.get("custom"), dict) else "function_call"
            self._items.append(_Item(kind, id=known))
            place = self._calls[key] = len(self._items) - 1
        item = self._items[place]
        item.id = item.id or known
        if isinstance(extra := call.get(EXTRA), dict):
            _merge(item.fields.setdefault(EXTRA, {}), extra)
        if isinstance(name := told.get("name"), str) and not item.name:
            item.name = name
        written = told.get("input") if item.kind == "custom_tool_call" else told.get("arguments")
        piece = written if isinstance(written, str) else "" if written is None else json.dumps(written)
        if piece:
            self._write(place, "arguments", piece)

    def _think(self, thought: str, name: str | None) -> None:
        """Write a piece of what the model thinks; one that came as part of the content has no field to go back in."""
        place = self._open("reasoning")
        if name != REASONING[0]:
            self._items[place].fields["field"] = name
        self._write(place, "reasoning", thought)

    def _keep_parts(self, name: str, parts: Sequence[object]) -> None:
        """Keep parts of what the model thinks; a signature may come after the model has begun to speak."""
        for part in parts:
            if not isinstance(part, dict):
                continue
            last = self._last_thought()
            kept = [] if last is None else self._items[last].fields.get(name, [])
            if kept and _goes_on(kept[-1], part):
                _grow(kept[-1], part)
            else:
                self._items[self._open("reasoning")].fields.setdefault(name, []).append(dict(part))

    def _last_thought(self) -> int | None:
        return next((n for n in reversed(range(len(self._items))) if self._items[n].kind == "reasoning"), None)

    def _open(self, kind: str) -> int:
        """The last item where it is of that kind, else a new one; a message is one, however it is interrupted."""
        for place, item in enumerate(self._items):
            if item.kind == kind and (kind == "message" or place == len(self._items) - 1):
                return place
        self._items.append(_Item(kind))
        return len(self._items) - 1

    def _write(self, place: int, kind: Any, piece: str) -> None:
        self._items[place].texts.append(piece)
        self._tell(place, kind, piece)

    def _tell(self, place: int, kind: Any, piece: str) -> None:
        if self._on_delta is not None:
            call = self._items[place].id if kind == "arguments" else None
            self._on_delta(ModelDelta(kind, place, scrub(piece), None if call is None else scrub(call)))


class StreamedCompletion:
    """The reply that the chunks of one stream have told so far.

    Attributes:
        begun: A chunk has come.
        done: The server has said that nothing follows.
        headers: Of the stream.
    """

    def __init__(self, on_delta: OnDelta) -> None:
        self._reply = ChatReply(on_delta)
        self._usage: object = None
        self._id: object = None
        self._finished: object = None
        self.begun = self.done = False
        self.headers: Mapping[str, str] = {}

    def take(self, came: Event) -> None:
        """Take one event of the stream.

        Raises:
            ModelCallError: It cannot be read, or says that the provider failed.
        """
        if came.data == b"[DONE]":
            self.done = True
            return
        chunk = parsed(came.data)
        if not isinstance(chunk, dict):
            raise broken("an event of the model's stream is no object", Usage(requests=1))
        self.take_chunk(chunk)

    def take_chunk(self, chunk: Mapping[str, Any]) -> None:
        """Take one chunk that is decoded already.

        Raises:
            ModelCallError: It says that the provider failed.
        """
        self.begun = True
        if isinstance(kind := chunk.get("type"), str) and kind.startswith("response."):
            raise wrong_api(*_RESPONSE_CAME)
        _raise_error(chunk, _usage_of(self._usage), self.headers)
        self._id = self._id or chunk.get("id")
        self._usage = chunk.get("usage") or self._usage
        choices = chunk.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        if not isinstance(choice, dict):
            return
        piece = choice.get("delta") or choice.get("message")
        if isinstance(piece, dict):
            self._reply.take(piece)
        self._finished = choice.get("finish_reason") or self._finished

    @property
    def finished(self) -> bool:
        """True once the reply is whole: only its usage may follow."""
        return self._finished is not None

    def answer(self) -> ModelAnswer:
        """Return the reply.

        Raises:
            ModelCallError: A part of it cannot be recorded.
        """
        return self._reply.answer(self._finished, _usage_of(self._usage), self._id)


def _grow(last: JsonObject, part: JsonObject) -> None:
    grown = {name: f"{last[name]}{part[name]}" for name in _WRITTEN if last.get(name) and part.get(name)}
    last.update({**{name: value for name, value in part.items() if value not in (None, "")}, **grown})


def _goes_on(last: JsonObject, part: JsonObject) -> bool:
    """Return whether a part is a further piece of the last one: OpenRouter's share their index, LiteLLM's end with the
    signature."""
    if part.get("type") != last.get("type"):
        return False
    if part.get("index") is None:
        return part.get("type") == "thinking" and last.get("index") is None and not last.get("signature")
    return bool(part["index"] == last.get("index"))


def _thinking_in(content: object) -> str:
    """Thoughts among the parts of a content, as Mistral writes them."""
    parts = content if isinstance(content, list) else []
    return "".join(_text_of(part.get("thinking")) for part in parts if isinstance(part, dict))


def _merge(into: JsonObject, more: Mapping[str, Any]) -> None:
    for name, value in more.items():
        if isinstance(value, dict) and isinstance(into.get(name), dict):
            _merge(into[name], value)
        else:
            into[name] = value


def _text_of(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return _text_of(value.get("content"))
    if isinstance(value, list):  # parts, as some servers write them
        return "".join(part["text"] for part in value if isinstance(part, dict) and isinstance(part.get("text"), str))
    return ""
