"""The response object: a scripted reply in the shape of the API."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator, Sequence
from typing import Final

from handfast.testing._script_outputs import (
    Call,
    Compaction,
    CustomCall,
    Hosted,
    McpApproval,
    Output,
    Raw,
    Reasoning,
    Refusal,
    Text,
)
from handfast.testing._script_steps import Reply, Usage
from handfast.testing.record import Json
from handfast.testing.responses.compaction import compaction_item
from handfast.testing.responses.hosted import ID_PREFIXES
from handfast.testing.responses.params import conversation_named

_DEFAULTS: Final[Json] = {
    "background": False,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "safety_identifier": None,
    "service_tier": "default",
    "store": True,
    "temperature": 1.0,
    "text": {},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}
"""Fields of a request that the API echoes, with their values where the request has none or null."""


def build_response(reply: Reply, body: Json, items: Sequence[Json], token: str, *, encrypted: bool) -> Json:
    """Return the whole response to a request.

    Args:
        reply: The scripted reply.
        body: The request.
        items: Its effective input, from which free call ids and the default usage are derived.
        token: What the ids of the response and its items end with.
        encrypted: Reasoning comes with encrypted content.
    """
    call_ids = free_call_ids(items, reply.outputs)
    item_status = "completed" if reply.status == "completed" else "incomplete"
    output = [_item(part, f"{token}{index:04x}", call_ids, item_status) for index, part in enumerate(reply.outputs)]
    if not encrypted:
        output = [_not_encrypted(item) for item in output]
    now = int(time.time())
    echoed = {name: value if body.get(name) is None else body[name] for name, value in _DEFAULTS.items()}
    return {
        **echoed,
        "id": f"resp_{token}",
        "object": "response",
        "created_at": now,
        "completed_at": now if reply.status == "completed" else None,
        "status": reply.status,
        "error": _error(reply),
        "incomplete_details": _incomplete(reply),
        "model": body.get("model", "of-the-prompt"),
        **_conversation(body),
        "output": output,
        "reasoning": {"effort": None, "summary": None, **(body.get("reasoning") or {})},
        "text": {"format": {"type": "text"}, "verbosity": "medium", **(body.get("text") or {})},
        "tools": [_echoed_tool(tool) for tool in echoed["tools"]],
        "usage": _usage(reply.usage or _estimate(body, items, output)),
    }


def _conversation(body: Json) -> Json:
    named = conversation_named(body.get("conversation"))
    return {} if named is None else {"conversation": {"id": named}}


def _echoed_tool(tool: Json) -> Json:
    return {"strict": None, "parameters": None, **tool} if tool["type"] == "function" else tool


def _error(reply: Reply) -> Json | None:
    if reply.status != "failed":
        return None
    return {"code": "server_error", "message": "The model failed to generate a response."}


def _incomplete(reply: Reply) -> Json | None:
    if reply.status != "incomplete":
        return None
    return {"reason": reply.incomplete_reason or "max_output_tokens"}


def free_call_ids(items: Sequence[Json], outputs: Sequence[Output]) -> Iterator[str]:
    scripted = {part.call_id for part in outputs if isinstance(part, Call | CustomCall)}
    used = {item.get("call_id") for item in items} | scripted
    number = 0
    while True:
        number += 1
        if f"call_{number}" not in used:
            yield f"call_{number}"


def _item(part: Output, token: str, call_ids: Iterator[str], status: str) -> Json:
    match part:
        case Text():
            content = {"type": "output_text", "text": part.text, "annotations": [], "logprobs": []}
            return _message(token, content, status)
        case Refusal():
            return _message(token, {"type": "refusal", "refusal": part.text}, status)
        case Call():
            return {
                "id": f"fc_{token}",
                "type": "function_call",
                "status": status,
                "arguments": part.arguments_text,
                "call_id": next(call_ids) if part.call_id is None else part.call_id,
                "name": part.name,
            }
        case CustomCall():
            return {
                "id": f"ctc_{token}",
                "type": "custom_tool_call",
                "status": status,
                "call_id": next(call_ids) if part.call_id is None else part.call_id,
                "name": part.name,
                "input": part.input,
            }
        case McpApproval():
            return {
                "id": f"mcpr_{token}" if part.id is None else part.id,
                "type": "mcp_approval_request",
                "server_label": part.server_label,
                "name": part.name,
                "arguments": part.arguments_text,
            }
        case Hosted():
            return {"id": f"{ID_PREFIXES[part.item['type']]}_{token}", **part.item}
        case Reasoning():
            summary = [{"type": "summary_text", "text": part.summary}] if part.summary else []
            item: Json = {"id": f"rs_{token}", "type": "reasoning", "summary": summary}
            made_up = base64.b64encode(f"reasoning {token}".encode()).decode()
            encrypted = made_up if part.encrypted is None else part.encrypted
            return {**item, "encrypted_content": encrypted} if encrypted else item
        case Compaction():
            return compaction_item(token, part.encrypted)
        case Raw():
            return dict(part.item)


def _not_encrypted(item: Json) -> Json:
    """Leave out the encrypted content that nobody asked for."""
    return item if item.get("type") != "reasoning" else {k: v for k, v in item.items() if k != "encrypted_content"}


def _message(token: str, content: Json, status: str) -> Json:
    return {
        "id": f"msg_{token}",
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": [content],
    }


def input_tokens(body: Json, items: Sequence[Json]) -> int:
    """Estimate the tokens of a request: about a quarter of its characters."""
    asked = len(str(body.get("instructions") or "")) + sum(len(json.dumps(item)) for item in items)
    return asked // 4 + 1


def _estimate(body: Json, items: Sequence[Json], output: Sequence[Json]) -> Usage:
    return Usage(input_tokens=input_tokens(body, items), output_tokens=len(json.dumps(output)) // 4)


def _usage(usage: Usage) -> Json:
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }
