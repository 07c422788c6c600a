"""A response as the events of a stream."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

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
    """Yield the events before the first item: the response is there, was queued perhaps, and is being made."""
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
    """Yield the events of each item with its deltas, then of the whole response."""
    for index, item in enumerate(response["output"]):
        yield {"type": "response.output_item.added", "output_index": index, "item": _begun(item)}
        yield from _inside(item, {"item_id": item.get("id", ""), "output_index": index}, response)
        yield {"type": "response.output_item.done", "output_index": index, "item": item}
    yield {"type": f"response.{response['status']}", "response": response}


_BLANK: Final[Mapping[str, Mapping[str, Any]]] = {
    "message": {"content": []},
    "function_call": {"arguments": ""},
    "custom_tool_call": {"input": ""},
    "reasoning": {"summary": []},
    "code_interpreter_call": {"code": "", "outputs": None},
    "image_generation_call": {"result": None},
    "mcp_call": {"arguments": "", "output": None},
    "mcp_list_tools": {"tools": []},
}
"""Fields of an item that are written while it is told of, and their values before that."""
_HAS_STATUS: Final = frozenset(_BLANK) - {"reasoning", "custom_tool_call", "mcp_list_tools"}


def _begun(item: Json) -> Json:
    """Return the item as it looks before its first delta."""
    kind = str(item.get("type"))
    if kind == "shell_call" and isinstance(item.get("action"), dict):
        return {**item, "status": "in_progress", "action": {**item["action"], "commands": []}}
    if kind == "shell_call_output":
        return {**item, "output": []}
    blank = {name: value for name, value in _BLANK.get(kind, {}).items() if name in item}
    status = {"status": "in_progress"} if kind in _HAS_STATUS else {}
    return {**item, **status, **blank}


def _inside(item: Json, place: Json, response: Json) -> Iterator[Json]:
    """Yield the events of an item while it is made; none for one that is malformed."""
    kind = str(item.get("type"))
    if kind in _CALLS:
        subject, field = _CALLS[kind]
        if isinstance(item.get(field), str):
            yield from _written(subject, item[field], field, place)
    elif kind in ("message", "reasoning"):
        yield from _texts(item, place)
    elif kind in _STEPS:
        yield from _hosted(kind, item, place, response)
    elif kind == "compaction":
        yield {"type": "response.compaction.compacting", **place}
    elif kind.startswith("shell_call"):
        yield from _shell(item, place)


_CALLS: Final[Mapping[str, tuple[str, str]]] = {
    "function_call": ("function_call_arguments", "arguments"),
    "custom_tool_call": ("custom_tool_call_input", "input"),
}
"""Calls: what their events tell of, and the field that holds it."""


def _texts(item: Json, place: Json) -> Iterator[Json]:
    content, summary = item.get("content"), item.get("summary")
    for index, part in enumerate(content if isinstance(content, list) else ()):
        yield from _content_part(part, {**place, "content_index": index})
    for index, part in enumerate(summary if isinstance(summary, list) else ()):
        yield from _summary_part(part, {**place, "summary_index": index})


def _shell(item: Json, place: Json) -> Iterator[Json]:
    """The commands of a shell call, or what they printed."""
    match item:
        case {"action": {"commands": list(commands)}}:
            for index, command in enumerate(commands):
                at = {"output_index": place["output_index"], "command_index": index}
                yield {"type": "response.shell_call_command.added", **at, "command": ""}
                yield from _written("shell_call_command", str(command), "command", at)
        case {"output": list(printed)}:
            for index, part in enumerate(printed):
                yield from _printed(part, {**place, "command_index": index})


_STEPS: Final[Mapping[str, tuple[str, ...]]] = {
    "web_search_call": ("in_progress", "searching"),
    "file_search_call": ("in_progress", "searching"),
    "code_interpreter_call": ("in_progress", "interpreting"),
    "image_generation_call": ("in_progress", "generating"),
    "mcp_call": ("in_progress",),
    "mcp_list_tools": ("in_progress",),
}
"""States that are told of the provider's own work, before the one in which it ends."""
_MAY_FAIL: Final = ("mcp_call", "mcp_list_tools")


def _hosted(kind: str, item: Json, place: Json, response: Json) -> Iterator[Json]:
    """Yield the events of a call that the provider runs: its states, with what it writes or makes between them."""
    first, *others = _STEPS[kind]
    yield {"type": f"response.{kind}.{first}", **place}
    if kind == "code_interpreter_call":
        yield from _written("code_interpreter_call_code", str(item.get("code") or ""), "code", place)
    elif kind == "mcp_call":
        yield from _written("mcp_call_arguments", str(item.get("arguments") or ""), "arguments", place)
    for state in others:
        yield {"type": f"response.{kind}.{state}", **place}
    if kind == "image_generation_call":
        yield from _partial_images(item, place, response)
    failed = kind in _MAY_FAIL and item.get("error") is not None
    yield {"type": f"response.{kind}.{'failed' if failed else 'completed'}", **place}


def _partial_images(item: Json, place: Json, response: Json) -> Iterator[Json]:
    """So many of them as the request asks for; each is the whole image here."""
    tools = [tool for tool in response.get("tools") or () if tool.get("type") == "image_generation"]
    facts = {name: item[name] for name in ("background", "output_format", "quality", "size") if item.get(name)}
    for index in range(int(tools[0].get("partial_images") or 0) if tools else 0):
        image = {"partial_image_b64": str(item.get("result") or ""), "partial_image_index": index}
        yield {"type": "response.image_generation_call.partial_image", **place, **image, **facts}


def _written(subject: str, whole: str, field: str, place: Json) -> Iterator[Json]:
    """A text in pieces, then whole."""
    for delta in pieces(whole):
        yield {"type": f"response.{subject}.delta", **place, "delta": delta}
    yield {"type": f"response.{subject}.done", **place, field: whole}


def _printed(part: Json, place: Json) -> Iterator[Json]:
    kind = "response.shell_call_output_content"
    for name in ("stdout", "stderr"):
        for delta in pieces(str(part.get(name, ""))):
            yield {"type": f"{kind}.delta", **place, "delta": {name: delta}}
    yield {"type": f"{kind}.done", **place, "output": [part]}


_PART_FIELDS: Final[Mapping[str, tuple[str, str]]] = {
    "refusal": ("refusal", "response.refusal"),
    "reasoning_text": ("text", "response.reasoning_text"),
}
"""The field of a part that holds its text, and the events that tell of it."""


def _content_part(part: Json, place: Json) -> Iterator[Json]:
    if part.get("type") == "output_audio":
        yield from _audio(part)
        return
    key, kind = _PART_FIELDS.get(str(part.get("type")), ("text", "response.output_text"))
    extra: Json = {"logprobs": []} if kind == "response.output_text" else {}
    annotations = part.get("annotations")
    annotations = annotations if isinstance(annotations, list) else []
    text = str(part.get(key, ""))
    blank = {key: "", **({"annotations": []} if annotations else {})}
    yield {"type": "response.content_part.added", **place, "part": {**part, **blank}}
    for delta in pieces(text):
        yield {"type": f"{kind}.delta", **place, "delta": delta, **extra}
    for index, annotation in enumerate(annotations):
        noted = {"annotation_index": index, "annotation": annotation}
        yield {"type": "response.output_text.annotation.added", **place, **noted}
    yield {"type": f"{kind}.done", **place, key: text, **extra}
    yield {"type": "response.content_part.done", **place, "part": part}


def _audio(part: Json) -> Iterator[Json]:
    """Speech, which is told without its place."""
    for subject, field in (("audio", "data"), ("audio.transcript", "transcript")):
        for delta in pieces(str(part.get(field, ""))):
            yield {"type": f"response.{subject}.delta", "delta": delta}
        yield {"type": f"response.{subject}.done"}


def _summary_part(said: Json | str, place: Json) -> Iterator[Json]:
    part = {"type": "summary_text", "text": said} if isinstance(said, str) else said
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
