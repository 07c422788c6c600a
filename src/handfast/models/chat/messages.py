"""Items of the Responses API as messages of the Chat Completions API. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from handfast.models.chat.form import Reasoning
from handfast.models.chat.reply import EXTRA, PARTS, REASONING
from handfast.models.port import ModelCallError
from handfast.payloads.call_items import PROVIDER_FIELDS
from handfast.payloads.json_profile import JsonObject

NAME: Final = "Chat Completions"
FILLED: Final = frozenset({"messages", "model", "tools", "response_format", "stream_options", "n", "functions"})
"""Parameters of a completion that are filled from what an agent is, or that nothing could be made of."""
TRANSLATED: Final = frozenset({"max_output_tokens", "text", "reasoning", "include"})
"""Settings in the words of the Responses API alone."""
_IMPLIED: Final = frozenset({"message.output_text.logprobs", "reasoning.encrypted_content"})
_INSTRUCTING: Final = ("system", "developer")
"""Roles that mean the same: a server that knows one of them may refuse the other."""
_ANSWERS: Final = ("function_call_output", "custom_tool_call_output")


def messages_of(
    items: Sequence[JsonObject],
    *,
    instructions: str = "",
    role: str = "system",
    reasoning: Reasoning = "keep",
    short_ids: bool = False,
) -> list[JsonObject]:
    """Translate a conversation.

    What one reply said, thought and called becomes one assistant message, as the API wants it; outputs of its calls
    follow as tool messages, one each. Images and files in an output follow in a user message, as a tool message takes
    text alone.

    Args:
        items: The conversation in the shape of the Responses API.
        instructions: The first message.
        role: The role of instructions, also of those within the conversation.
        reasoning: Which of the model's own reasoning is sent again, in the field that it came in.
        short_ids: Calls have ids of nine letters and digits, which every server takes.

    Raises:
        ModelCallError: ``ModelRefused``: the API has nothing for an item, as for hosted tools.
    """
    messages: list[JsonObject] = [{"role": role, "content": instructions}] if instructions else []
    since = _last_said(items) if reasoning == "turn" else -1
    reply = _Reply(_short_id if short_ids else str)
    shown: list[JsonObject] = []

    def close() -> None:
        messages.extend(reply.take())
        messages.extend(shown)
        shown.clear()

    for place, item in enumerate(items):
        kind = item.get("type", "message")
        if kind == "reasoning":
            if shown or reply.answered:
                close()
            if reasoning != "drop" and place > since:
                reply.think(item)
        elif kind == "message" and item.get("role") == "assistant":
            if shown or reply.answered or reply.calls:
                close()
            reply.say(item)
        elif kind in ("function_call", "custom_tool_call"):
            if shown or reply.answered:
                close()
            reply.call(item)
        elif kind in _ANSWERS:
            text, further = _output(item.get("output"))
            reply.answer(item["call_id"], text)
            if further:
                about = {"type": "text", "text": f"What call {item['call_id']} returned beside its text:"}
                shown.append({"role": "user", "content": [about, *further]})
        elif kind == "message":
            close()
            speaker = role if item["role"] in _INSTRUCTING else item["role"]
            messages.append({"role": speaker, "content": _content(item.get("content"))})
        else:
            raise refused(f"an item of type {kind!r}")
    close()
    return messages


class _Reply:
    """One assistant message in the making, and the outputs of its calls."""

    def __init__(self, id_of: Callable[[str], str]) -> None:
        self._id_of = id_of
        self._clear()

    def _clear(self) -> None:
        self._thoughts: JsonObject = {}
        self._texts: list[str] = []
        self._refusals: list[str] = []
        self.calls: list[JsonObject] = []
        self.answered: list[JsonObject] = []

    def think(self, item: JsonObject) -> None:
        told = item.get(PROVIDER_FIELDS) or {}
        for name in PARTS:
            if told.get(name):
                self._thoughts[name] = [*self._thoughts.get(name, ()), *told[name]]
        if told.get(EXTRA):
            self._thoughts[EXTRA] = told[EXTRA]
        name = told.get("field", REASONING[0])
        parts = [*_dicts(item.get("content")), *_dicts(item.get("summary"))]
        text = "\n\n".join(part["text"] for part in parts if isinstance(part.get("text"), str))
        if text and name is not None and not any(part in told for part in PARTS):
            self._thoughts[name] = "\n\n".join(filter(None, (self._thoughts.get(name), text)))

    def say(self, item: JsonObject) -> None:
        content = item.get("content")
        if isinstance(content, str):
            self._texts.append(content)
        for part in _dicts(content):
            if isinstance(part.get("refusal"), str):
                self._refusals.append(part["refusal"])
            elif isinstance(part.get("text"), str):
                self._texts.append(part["text"])

    def call(self, item: JsonObject) -> None:
        if item["type"] == "custom_tool_call":
            called: JsonObject = {"type": "custom", "custom": {"name": item["name"], "input": item["input"]}}
        else:
            # Servers decode what they get back, and a call without parameters may have been written as nothing.
            arguments = item["arguments"] if item["arguments"].strip() else "{}"
            called = {"type": "function", "function": {"name": item["name"], "arguments": arguments}}
        if extra := (item.get(PROVIDER_FIELDS) or {}).get(EXTRA):
            called[EXTRA] = extra
        self.calls.append({"id": self._id_of(item["call_id"]), **called})

    def answer(self, call_id: str, text: str) -> None:
        self.answered.append({"role": "tool", "tool_call_id": self._id_of(call_id), "content": text})

    def take(self) -> list[JsonObject]:
        """Return the messages so far, and begin anew."""
        message: JsonObject = {"role": "assistant"}
        if self._texts or not self.calls:
            message["content"] = "".join(self._texts) or (None if self._refusals else "")
        else:
            message["content"] = None  # some servers refuse a message of calls whose content is ""
        if self._refusals:
            message["refusal"] = "".join(self._refusals)
        message |= self._thoughts
        if self.calls:
            message["tool_calls"] = self.calls
        said = self._texts or self._refusals or self._thoughts or self.calls
        messages = [message] if said else []
        messages += self.answered
        self._clear()
        return messages


def _short_id(theirs: str) -> str:
    if re.fullmatch("[a-zA-Z0-9]{9}", theirs):
        return theirs
    return hashlib.sha256(theirs.encode()).hexdigest()[:9]


def tools_of(tools: Iterable[JsonObject], *, strict: bool) -> list[JsonObject]:
    """Translate tool definitions.

    Args:
        tools: In the shape of the Responses API.
        strict: Whether the server knows ``strict``; it is left out otherwise.

    Raises:
        ModelCallError: ``ModelRefused``: a tool that the provider runs itself, which this API has none of.
    """
    return [_tool(each, strict=strict) for each in tools]


def _tool(tool: JsonObject, *, strict: bool) -> JsonObject:
    if tool["type"] == "function":
        names = ("name", "description", "parameters", *(("strict",) if strict else ()))
        return {"type": "function", "function": {name: tool[name] for name in names if tool.get(name) is not None}}
    if tool["type"] == "custom":
        custom: JsonObject = {name: tool[name] for name in ("name", "description") if tool.get(name) is not None}
        shape = tool.get("format")
        if shape is not None:
            grammar = {"definition": shape.get("definition"), "syntax": shape.get("syntax")}
            custom["format"] = shape if shape["type"] == "text" else {"type": "grammar", "grammar": grammar}
        return {"type": "custom", "custom": custom}
    raise refused(f"the hosted tool {tool['type']!r}")


def settings_of(settings: Mapping[str, Any], *, max_tokens: str, tools: bool) -> dict[str, Any]:
    """Translate settings of a request; those that both APIs have, and unknown ones, stay as they are.

    Args:
        settings: As an agent has them, in the words of the Responses API.
        max_tokens: The server's name for the limit of a reply.
        tools: Whether the request has tools: without any, the API refuses what is about them.
    """
    body: dict[str, Any] = {}
    for name, value in settings.items():
        match name:
            case "max_output_tokens":
                body[max_tokens] = value
            case "text":
                body |= _text(value)
            case "reasoning":
                if isinstance(value, Mapping) and value.get("effort") is not None:
                    body["reasoning_effort"] = value["effort"]
            case "top_logprobs":
                body |= {"logprobs": True, "top_logprobs": value}
            case "tool_choice" | "parallel_tool_calls":
                if tools:
                    body[name] = _choice(value)
            case "include" if set(value) <= _IMPLIED:
                pass  # asked for otherwise, or sent anyway
            case "truncation" | "include" | "context_management" | "max_tool_calls" | "prompt":
                raise refused(f"the setting {name!r}")
            case _:
                body[name] = value
    return body


def _text(value: object) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        return {}
    body: dict[str, Any] = {}
    shape = value.get("format")
    if isinstance(shape, Mapping):
        described = {name: each for name, each in shape.items() if name != "type"}
        is_schema = shape.get("type") == "json_schema"
        body["response_format"] = {"type": "json_schema", "json_schema": described} if is_schema else dict(shape)
    if value.get("verbosity") is not None:
        body["verbosity"] = value["verbosity"]
    return body


def _choice(value: object) -> object:
    if not isinstance(value, Mapping):
        return value
    if value.get("type") in ("function", "custom"):
        return {"type": value["type"], value["type"]: {"name": value.get("name")}}
    if value.get("type") == "allowed_tools":
        tools = [_choice(each) for each in value.get("tools", ())]
        return {"type": "allowed_tools", "allowed_tools": {"mode": value.get("mode"), "tools": tools}}
    return dict(value)


def _content(content: object) -> str | list[JsonObject]:
    if isinstance(content, str):
        return content
    parts = [_part(part) for part in _dicts(content)]
    texts = [part["text"] for part in parts if part["type"] == "text"]
    return "".join(texts) if len(texts) == len(parts) <= 1 else parts


def _part(part: JsonObject) -> JsonObject:
    match part.get("type"):
        case "input_text" | "output_text" | "text":
            return {"type": "text", "text": part["text"]}
        case "input_image":
            if part.get("image_url") is None:
                raise refused("an image by file id")
            detail = part.get("detail")
            shown = {"url": part["image_url"], **({} if detail in (None, "original") else {"detail": detail})}
            return {"type": "image_url", "image_url": shown}
        case "input_file":
            if part.get("file_url") is not None:
                raise refused("a file by URL")
            names = ("file_data", "file_id", "filename")
            return {"type": "file", "file": {name: part[name] for name in names if part.get(name) is not None}}
        case "input_audio":
            return {"type": "input_audio", "input_audio": part["input_audio"]}
    raise refused(f"a content part of type {part.get('type')!r}")


def _output(output: object) -> tuple[str, list[JsonObject]]:
    """The text of a call's output, and the parts that a tool message cannot hold."""
    if isinstance(output, str):
        return output, []
    parts = [_part(part) for part in _dicts(output)]
    texts = [part["text"] for part in parts if part["type"] == "text"]
    further = [part for part in parts if part["type"] != "text"]
    return "\n".join(texts) or ("(see the next message)" if further else ""), further


def _last_said(items: Sequence[JsonObject]) -> int:
    said = [place for place, item in enumerate(items) if item.get("role") in ("user", "system", "developer")]
    return said[-1] if said else -1


def _dicts(value: object) -> list[JsonObject]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def refused(what: str) -> ModelCallError:
    """The failure of a request that this API has no words for."""
    text = f"{NAME} has nothing for {what}; use ResponsesModel with a server of the Responses API, or leave it out"
    return ModelCallError("ModelRefused", text, retryable=False)
