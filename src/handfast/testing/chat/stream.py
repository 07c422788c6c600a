"""A completion as the chunks of a stream."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

from handfast.testing.record import Json
from handfast.testing.responses.stream import pieces

DONE: Final = b"data: [DONE]\n\n"


def encode_chunks(completion: Json, body: Json) -> Iterator[bytes]:
    """Yield *completion* as server-sent events, as the request asked for them."""
    wants_usage = bool((body.get("stream_options") or {}).get("include_usage"))
    head = {name: completion[name] for name in ("id", "created", "model", "service_tier", "system_fingerprint")}
    head["object"] = "chat.completion.chunk"
    last: Json = {"usage": None} if wants_usage else {}
    [choice] = completion["choices"]
    for delta in _deltas(choice["message"]):
        yield encode_chunk({**head, "choices": [_choice(delta)], **last})
    yield encode_chunk({**head, "choices": [_choice({}, choice["finish_reason"])], **last})
    if wants_usage:
        yield encode_chunk({**head, "choices": [], "usage": completion["usage"]})
    yield DONE


def encode_chunk(chunk: Json) -> bytes:
    """One server-sent event."""
    return f"data: {json.dumps(chunk)}\n\n".encode()


def writes(event: bytes) -> bool:
    """Tell whether an encoded event holds a piece of what the model writes."""
    if event == DONE:
        return False
    choices = json.loads(event.removeprefix(b"data: ")).get("choices")
    delta = choices[0]["delta"] if choices else {}
    called = [call.get("function") or call.get("custom") or {} for call in delta.get("tool_calls") or ()]
    fields = ("content", "refusal", "reasoning_content")
    return any(delta.get(name) for name in fields) or any(each.get("arguments") or each.get("input") for each in called)


def _choice(delta: Json, finished: str | None = None) -> Json:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finished}


def _deltas(message: Json) -> Iterator[Json]:
    said, thought = message.get("content"), message.get("reasoning_content")
    yield {"role": "assistant", "content": None if message.get("tool_calls") and not said else "", "refusal": None}
    for name, text in (("reasoning_content", thought), ("content", said), ("refusal", message.get("refusal"))):
        yield from ({name: piece} for piece in pieces(text or ""))
    for index, call in enumerate(message.get("tool_calls") or ()):
        kind = call["type"]
        field = "input" if kind == "custom" else "arguments"
        yield {"tool_calls": [{**call, "index": index, kind: {**call[kind], field: ""}}]}
        for piece in pieces(call[kind][field]):
            yield {"tool_calls": [{"index": index, kind: {field: piece}}]}
