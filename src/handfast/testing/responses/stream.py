"""A response as the events of a stream."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

from handfast.testing.record import Json

_MAX_DELTAS: Final = 64
_MIN_DELTA: Final = 12


def encode_event(number: int, event: Json, *, named: bool = True) -> bytes:
    """Encode one server-sent event; with its name in a line of its own where *named*."""
    name = f"event: {event['type']}\n" if named else ""
    return f"{name}data: {json.dumps({**event, 'sequence_number': number})}\n\n".encode()


def is_delta(event: Json) -> bool:
    """Tell whether an event is a delta."""
    return str(event["type"]).endswith(".delta")


def encode_verbatim(event: Json | str) -> bytes:
    """An event of a script as it is written: JSON with its type, or the lines of an event."""
    if isinstance(event, str):
        return f"{event}\n\n".encode(errors="surrogatepass")
    kind = f"event: {event['type']}\n" if isinstance(event.get("type"), str) else ""
    return f"{kind}data: {json.dumps(event)}\n\n".encode()


def error_event(code: str | None, message: str, param: str | None = None) -> Json:
    """Make the event by which the API ends a stream that it cannot go on with."""
    return {"type": "error", "code": code, "message": message, "param": param}


def failed_event(response: Json) -> Json:
    """Make the last event of a response that failed."""
    return {"type": "response.failed", "response": response}


def first_events(response: Json, *, queued: bool = False) -> Iterator[Json]:
    """What is told before the first item: the response is there, was queued perhaps, and is being made."""
    begun = {**response, "status": "in_progress", "completed_at": None, "output": [], "usage": None}
    begun |= {"error": None, "incomplete_details": None}
    if queued:
        waiting = {**begun, "status": "queued"}
        yield {"type": "response.created", "response": waiting}
        yield {"type": "response.queued", "response": waiting}
    else:
        yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}


def later_events(response: Json) -> Iterator[Json]:
    """What follows: each item with its deltas, then the whole response."""
    for index, item in enumerate(response["output"]):
        yield {"type": "response.output_item.added", "output_index": index, "item": _begun(item)}
        yield from _inside(item, {"item_id": item.get("id", ""), "output_index": index})
        yield {"type": "response.output_item.done", "output_index": index, "item": item}
    yield {"type": f"response.{response['status']}", "response": response}


def _begun(item: Json) -> Json:
    """Return the item as it looks before its first delta."""
    match item.get("type"):
        case "message":
            return {**item, "status": "in_progress", "content": []}
        case "function_call":
            return {**item, "status": "in_progress", "arguments": ""}
        case "reasoning":
            return {**item, "summary": []}
        case _:
            return item


def _inside(item: Json, place: Json) -> Iterator[Json]:
    match item.get("type"), item:
        case "message", {"content": list(parts)}:
            for index, part in enumerate(parts):
                yield from _content_part(part, {**place, "content_index": index})
        case "function_call", {"arguments": str(arguments)}:
            kind = "response.function_call_arguments"
            for delta in pieces(arguments):
                yield {"type": f"{kind}.delta", **place, "delta": delta}
            yield {"type": f"{kind}.done", **place, "arguments": arguments, "name": item.get("name")}
        case "reasoning", {"summary": list(parts)}:
            for index, part in enumerate(parts):
                yield from _summary_part(part, {**place, "summary_index": index})


def _content_part(part: Json, place: Json) -> Iterator[Json]:
    key = "refusal" if part.get("type") == "refusal" else "text"
    kind = "response.refusal" if key == "refusal" else "response.output_text"
    extra: Json = {} if key == "refusal" else {"logprobs": []}
    text = str(part.get(key, ""))
    yield {"type": "response.content_part.added", **place, "part": {**part, key: ""}}
    for delta in pieces(text):
        yield {"type": f"{kind}.delta", **place, "delta": delta, **extra}
    yield {"type": f"{kind}.done", **place, key: text, **extra}
    yield {"type": "response.content_part.done", **place, "part": part}


def _summary_part(part: Json, place: Json) -> Iterator[Json]:
    text = str(part.get("text", ""))
    yield {"type": "response.reasoning_summary_part.added", **place, "part": {**part, "text": ""}}
    for delta in pieces(text):
        yield {"type": "response.reasoning_summary_text.delta", **place, "delta": delta}
    yield {"type": "response.reasoning_summary_text.done", **place, "text": text}
    yield {"type": "response.reasoning_summary_part.done", **place, "part": part}


def pieces(text: str) -> Iterator[str]:
    """Cut *text* into a few deltas, however long it is."""
    size = max(_MIN_DELTA, -(-len(text) // _MAX_DELTAS))
    return (text[start : start + size] for start in range(0, len(text), size))
