"""Items of the Responses API as a request of Anthropic's Messages API. Pure."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from handfast.models.port import ModelCallError
from handfast.payloads.call_items import PROVIDER_FIELDS
from handfast.payloads.json_profile import JsonObject

NAME: Final = "Anthropic's Messages API"
BLOCK: Final = "block"
"""The field among an item's `PROVIDER_FIELDS` that holds the content block that it was made of, word for word."""
MAX_TOKENS: Final = 16_000
"""Limit of a reply where the agent names none: the API needs one. Above 21,333 its client refuses to go without a
stream or a timeout."""
DIRECT: Final = frozenset(
    {
        *("temperature", "top_p", "top_k", "metadata", "service_tier", "thinking", "stop_sequences", "cache_control"),
        *("betas", "container"),
    }
)
"""Parameters of this API that an agent's settings may hold as they are."""
TRANSLATED: Final = frozenset(
    {"max_output_tokens", "text", "reasoning", "tool_choice", "parallel_tool_calls", "stop", "include"}
)
"""Settings in the words of the OpenAI APIs."""

_FIT_ID: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_IMPLIED: Final = frozenset({"reasoning.encrypted_content"})
_DATA_URL: Final = re.compile(r"data:([^;,]*)(?:;[^,]*)?;base64,(.*)", re.S)
_BUDGETED: Final = re.compile(
    r"claude-(3|opus-4-[015](?!\d)|opus-4[-@]2025|sonnet-4-[05](?!\d)|sonnet-4[-@]2025|haiku-4-5)"
)
"""Models before adaptive thinking: they take a budget of tokens. Newer ones take an effort."""
_BUDGETS: Final = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 24_576, "xhigh": 32_768, "max": 32_768}
_LEAST_BUDGET: Final = 1024


def body_of(
    model: str, instructions: str, items: Sequence[JsonObject], tools: Iterable[JsonObject], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the parameters of one request.

    Raises:
        ModelCallError: ``ModelRefused``: the API has nothing for a part of it.
    """
    head, messages = _messages(items)
    body: dict[str, Any] = {"model": model, "messages": messages, **_settings(model, settings)}
    if body.get("thinking", {}).get("type") == "enabled" and "thinking" not in settings and not _thought(messages):
        del body["thinking"]
    if system := "\n\n".join(part for part in (instructions, *head) if part):
        body["system"] = system
    if offered := [_tool(each) for each in tools]:
        body["tools"] = offered
    else:
        body.pop("tool_choice", None)
    return body


def _thought(messages: Sequence[JsonObject]) -> bool:
    """Return whether the calls of the turn under way were thought of first, as models with a budget must.

    They may be another model's.
    """
    for number in range(len(messages) - 1, -1, -1):
        blocks = messages[number]["content"]
        if messages[number]["role"] == "user":
            if any(block["type"] != "tool_result" for block in blocks):
                return True
        elif number == 0 or any(block["type"] != "tool_result" for block in messages[number - 1]["content"]):
            return str(blocks[0]["type"]).endswith("thinking")
    return True


def refused(what: str) -> ModelCallError:
    """The failure of a request that this API has no words for."""
    return ModelCallError("ModelRefused", f"{NAME} has nothing for {what}; leave it out", retryable=False)


# --- the conversation ---


def _messages(items: Sequence[JsonObject]) -> tuple[list[str], list[JsonObject]]:
    """The instructions at the head of a conversation, and its messages."""
    head = next((place for place, item in enumerate(items) if item.get("role") not in ("system", "developer")), None)
    system = [_said(item.get("content")) for item in items[:head]] if head != 0 else []
    messages: list[JsonObject] = []

    def add(role: str, blocks: list[JsonObject]) -> None:
        if not blocks:
            return
        if messages and messages[-1]["role"] == role:
            messages[-1]["content"] += blocks
        else:
            messages.append({"role": role, "content": blocks})

    for item in items[len(system) :]:
        add(*_blocks(item))
    for message in messages:
        if message["role"] == "user":  # outputs stand first, right behind the calls
            message["content"].sort(key=lambda block: block["type"] != "tool_result")
    return system, messages


def _blocks(item: JsonObject) -> tuple[str, list[JsonObject]]:
    """The role that an item belongs to, and its blocks."""
    fields = item.get(PROVIDER_FIELDS) or {}
    if isinstance(own := fields.get(BLOCK), dict):
        return "assistant", [own]
    match item.get("type", "message"):
        case "message" if item.get("role") == "assistant":
            said = _said(item.get("content"))
            return "assistant", [{"type": "text", "text": said}] if said.strip() else []
        case "message" if item.get("role") == "user":
            return "user", _content(item.get("content"))
        case "message":
            return "user", [{"type": "text", "text": f"<system>\n{_said(item.get('content'))}\n</system>"}]
        case "reasoning":
            return "assistant", []  # of another model: this one takes none without its own signature
        case "function_call":
            called = {"name": item["name"], "input": json.loads(item["arguments"])}
            return "assistant", [{"type": "tool_use", "id": call_id(item["call_id"]), **called}]
        case "function_call_output":
            return "user", [_output(item)]
        case kind:
            raise refused(f"an item of type {kind!r}")


def call_id(theirs: str) -> str:
    """The id of a call as this API takes it, which follows from that of another API."""
    return theirs if _FIT_ID.fullmatch(theirs) else f"call_{hashlib.sha256(theirs.encode()).hexdigest()[:32]}"


def _output(item: JsonObject) -> JsonObject:
    result: JsonObject = {"type": "tool_result", "tool_use_id": call_id(item["call_id"])}
    if content := _content(item.get("output")):
        result["content"] = content
    return result


def _said(content: object) -> str:
    if isinstance(content, str):
        return content
    parts = [part for part in content if isinstance(part, dict)] if isinstance(content, list) else []
    return "".join(str(part.get("text") or part.get("refusal") or "") for part in parts)


def _content(content: object) -> list[JsonObject]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content.strip() else []
    parts = content if isinstance(content, list) else []
    return [block for part in parts if (block := _part(part)) is not None]


def _part(part: JsonObject) -> JsonObject | None:
    match part.get("type"):
        case "input_text" | "output_text" | "text":
            return {"type": "text", "text": part["text"]} if part["text"].strip() else None
        case "input_image":
            if part.get("image_url") is None:
                raise refused("an image by file id")
            return {"type": "image", "source": _source(part["image_url"])}
        case "input_file":
            if part.get("file_id") is not None:
                raise refused("a file by file id")
            url = part.get("file_url") or part.get("file_data") or ""
            title = {"title": part["filename"]} if part.get("filename") else {}
            return {"type": "document", "source": _source(url), **title}
    raise refused(f"a content part of type {part.get('type')!r}")


def _source(url: str) -> JsonObject:
    data = _DATA_URL.fullmatch(url)
    if data is None:
        return {"type": "url", "url": url}
    return {"type": "base64", "media_type": data[1], "data": data[2]}


# --- tools and settings ---


def _tool(tool: JsonObject) -> JsonObject:
    if tool["type"] != "function":
        kind = "custom tool" if tool["type"] == "custom" else "hosted tool"
        raise refused(f"the {kind} {tool.get('name', tool['type'])!r}")
    described = {"description": tool["description"]} if tool.get("description") else {}
    return {"name": tool["name"], **described, "input_schema": tool.get("parameters") or {"type": "object"}}


def _settings(model: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    body: dict[str, Any] = {"max_tokens": settings.get("max_output_tokens") or MAX_TOKENS}
    for name, value in settings.items():
        match name:
            case "max_output_tokens" | "parallel_tool_calls":
                pass
            case "text":
                _format(value, body)
            case "reasoning":
                effort = value.get("effort") if isinstance(value, Mapping) else None
                if effort is not None and "thinking" not in settings:
                    _think(model, effort, body)
            case "tool_choice":
                body["tool_choice"] = _choice(value)
            case "stop":
                body["stop_sequences"] = [value] if isinstance(value, str) else value
            case "include" if set(value) <= _IMPLIED:
                pass
            case _ if name in DIRECT:
                body[name] = value
            case _:
                raise refused(f"the setting {name!r}")
    if settings.get("parallel_tool_calls") is False and body.get("tool_choice", {}).get("type") != "none":
        body["tool_choice"] = {**body.get("tool_choice", {"type": "auto"}), "disable_parallel_tool_use": True}
    return body


def _think(model: str, effort: str, body: dict[str, Any]) -> None:
    if effort == "none":
        body["thinking"] = {"type": "disabled"}
    elif _BUDGETED.search(model.lower()):
        budget = min(_BUDGETS.get(effort, _LEAST_BUDGET), body["max_tokens"] - _LEAST_BUDGET)
        if budget >= _LEAST_BUDGET:
            body["thinking"] = {"type": "enabled", "budget_tokens": budget}
    else:
        body["thinking"] = {"type": "adaptive"}
        body.setdefault("output_config", {})["effort"] = "low" if effort == "minimal" else effort


def _format(value: object, body: dict[str, Any]) -> None:
    shape = value.get("format") if isinstance(value, Mapping) else None
    if not isinstance(shape, Mapping) or shape.get("type") == "text":
        return
    if shape.get("type") != "json_schema":
        raise refused(f"the format {shape.get('type')!r}")
    wanted = {"type": "json_schema", "schema": shape["schema"]}
    body.setdefault("output_config", {})["format"] = wanted


def _choice(value: object) -> JsonObject:
    if isinstance(value, str):
        return {"type": {"required": "any"}.get(value, value)}
    if isinstance(value, Mapping) and value.get("type") == "function":
        return {"type": "tool", "name": value.get("name")}
    raise refused("this tool_choice")
