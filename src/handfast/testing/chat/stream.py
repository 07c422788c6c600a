"""A completion as the chunks of a stream."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Final

from handfast.testing.record import Json
from handfast.testing.responses.stream import pieces

DONE: Final = b"data: [DONE]\n\n"
THOUGHTS: Final = ("reasoning_content", "reasoning")
"""Fields of a message in which servers put what a model thinks."""


def chunks_of(completion: Json, body: Json) -> Iterator[Json]:
    """Yield *completion* in pieces, as the request asked for them."""
    wants_usage = bool((body.get("stream_options") or {}).get("include_usage"))
    head = {name: completion.get(name) for name in ("id", "created", "model", "service_tier", "system_fingerprint")}
    head["object"] = "chat.completion.chunk"
    last: Json = {"usage": None} if wants_usage else {}
    [choice] = completion["choices"]
    for delta in _deltas(choice["message"]):
        yield {**head, "choices": [_choice(delta)], **last}
    yield {**head, "choices": [_choice({}, choice["finish_reason"])], **last}
    if wants_usage:
        yield {**head, "choices": [], "usage": completion["usage"]}


def head_of(token: str, body: Json) -> Json:
    """Return what the chunks of a reply share before there is one."""
    head = {"id": f"chatcmpl-{token}", "object": "chat.completion.chunk"}
    return {**head, "created": int(time.time()), "model": body["model"]}


def encode_chunk(chunk: Json, *, name: str | None = None) -> bytes:
    """One server-sent event."""
    named = "" if name is None else f"event: {name}\n"
    return f"{named}data: {json.dumps(chunk)}\n\n".encode()


def writes(chunk: Json) -> bool:
    """Tell whether a chunk holds a piece of what the model writes."""
    delta = chunk["choices"][0]["delta"] if chunk["choices"] else {}
    called = [call.get("function") or call.get("custom") or {} for call in delta.get("tool_calls") or ()]
    fields = ("content", "refusal", *THOUGHTS)
    return any(delta.get(name) for name in fields) or any(each.get("arguments") or each.get("input") for each in called)


def _choice(delta: Json, finished: str | None = None) -> Json:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finished}


def _deltas(message: Json) -> Iterator[Json]:
    said = message.get("content")
    yield {"role": "assistant", "content": None if message.get("tool_calls") and not said else "", "refusal": None}
    for name in (*THOUGHTS, "content", "refusal"):
        yield from ({name: piece} for piece in pieces(message.get(name) or ""))
    for index, call in enumerate(message.get("tool_calls") or ()):
        kind = call["type"]
        field = "input" if kind == "custom" else "arguments"
        yield {"tool_calls": [{**call, "index": index, kind: {**call[kind], field: ""}}]}
        for piece in pieces(call[kind][field]):
            yield {"tool_calls": [{"index": index, kind: {field: piece}}]}
