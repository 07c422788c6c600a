"""Shapes a tool's result or exception so that it can be recorded, whatever it is."""

from __future__ import annotations

import json
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ConfigDict, TypeAdapter

from handfast.activities.runtime.redaction import hidden, hidden_in
from handfast.activities.runtime.user_errors import log_error
from handfast.definitions.tools.content import File, Image, Text, parts_of
from handfast.errors import JsonProfileError
from handfast.payloads.base import json_size
from handfast.payloads.cutting import cut
from handfast.payloads.json_profile import MAX_DEPTH, JsonValue, check_json, scrub, spelled_integers
from handfast.payloads.media import with_references
from handfast.payloads.tool_call import ERROR_TEXT_BYTES, RESULT_BYTES

_ANY: Final[TypeAdapter[Any]] = TypeAdapter(Any, config=ConfigDict(ser_json_inf_nan="constants"))
"""Keeps NaN and infinity, so that they are refused: pydantic alone would turn them into null without a word."""
MOST_MEMBERS: Final = 16
"""Members of an exception group that are told of, at each level."""
DEEPEST_GROUP: Final = 8
PARTS_TOO_LARGE: Final = (
    "Error: the tool ran, but the images and files that it returned take {size:,} bytes, and at most {most:,} can be "
    "given to you; it should return their addresses (url=…) instead"
)


@dataclass(frozen=True)
class Shaped:
    """A tool's result as it can be recorded.

    Attributes:
        output: A text, or content parts.
        json: True where the text is JSON, of a value that was no text.
        size: Bytes before it was cut, None where it was not.
        whole: The text before it was cut, None where it was not.
        media: Images and files that `output` refers to, by SHA-256: they have to be kept.
        problem: Why the result cannot be recorded; then there is no output.
    """

    output: JsonValue = None
    json: bool = False
    size: int | None = None
    whole: str | None = None
    media: Mapping[str, bytes] | None = None
    problem: str | None = None


def bounded_output(value: object, *, by_reference: bool = False) -> Shaped:
    """Turn a tool's result into the output that the model reads.

    A text stays as it is; content parts become what the Responses API takes; everything else becomes JSON. Beyond 256
    KiB a text is cut, and says so with a digest of the whole; parts are refused, as half an image is none, or their
    data go by reference.

    Args:
        value: The tool's return value.
        by_reference: Whoever asks keeps `Shaped.media`.
    """
    if value is None:
        return Shaped(output="")
    parts = parts_of(value)
    if parts is not None:
        size = json_size(parts)
        if size > RESULT_BYTES and by_reference:
            media: dict[str, bytes] = {}
            referring = with_references(parts, media)
            if json_size(referring) <= RESULT_BYTES:
                return Shaped(output=hidden_in(referring), media=media)
        if size > RESULT_BYTES:
            return Shaped(problem=PARTS_TOO_LARGE.format(size=size, most=RESULT_BYTES))
        return Shaped(output=hidden_in(parts))
    if isinstance(value, str):
        return _bounded(scrub(value), json=False)
    try:
        text = json.dumps(plain_json(value), ensure_ascii=False, allow_nan=False)
    except JsonProfileError as error:
        kind = type(value).__name__
        problem = f"Error: the tool ran, but its result ({kind}) cannot be given to you as JSON: {error.problem}"
        return Shaped(problem=problem)
    return _bounded(text, json=True)


def _bounded(text: str, *, json: bool) -> Shaped:
    text = hidden(text)
    shown, size = cut(text, RESULT_BYTES)
    return Shaped(output=shown, json=json and size is None, size=size, whole=None if size is None else text)


def plain_json(value: object) -> JsonValue:
    """Turn any object that pydantic can read into JSON; integers beyond 64 bits become strings of their digits.

    Raises:
        JsonProfileError: It has no JSON, or none that can be recorded.
    """
    try:
        _refuse_unreadable(value, 0)
        plain: JsonValue = spelled_integers(_ANY.dump_python(value, mode="json", warnings="error"))
        check_json(plain)
    except JsonProfileError:
        raise
    except Exception as error:  # noqa: BLE001 - it is an object of the user's: its serializers run here
        log_error(f"writing a {type(value).__name__} as JSON", error)
        raise JsonProfileError(type(error).__name__) from None
    return plain


def bounded_text(text: str) -> str:
    """Cut a text that the model reads in place of an output to 8 KiB, and to characters that can be recorded."""
    return cut(hidden(scrub(text)), ERROR_TEXT_BYTES)[0]


def bounded_error(error: object) -> str:
    """Tell the model of an exception, in 8 KiB at most."""
    return described(error, prefix="Error: ")


def described(error: object, *, prefix: str = "") -> str:
    """Name an exception and what it says, in 8 KiB at most and as text that can be recorded.

    A group's own text names none of its members, so they follow. An exception without a text is told with its cause.
    """
    return cut(f"{prefix}{_described(error, 0)}", ERROR_TEXT_BYTES)[0]


def _described(error: object, depth: int) -> str:
    name = type(error).__name__
    try:
        said = hidden(scrub(str(error)))
    except Exception:  # noqa: BLE001 - an exception whose text cannot be had still has a name
        said = ""
    if not isinstance(error, BaseException):
        return f"{name}: {said}" if said else name
    if isinstance(error, BaseExceptionGroup) and depth < DEEPEST_GROUP:
        members = [_described(each, depth + 1)[:ERROR_TEXT_BYTES] for each in error.exceptions[:MOST_MEMBERS]]
        return f"{name}: {said}: {'; '.join(members)}"
    if not said and error.__cause__ is not None and depth < DEEPEST_GROUP:
        return f"{name} (from {_described(error.__cause__, depth + 1)})"
    if not said:
        said = hidden("".join(traceback.format_exception_only(error)).strip())[:200]
    return f"{name}: {said}"


def _refuse_unreadable(value: object, depth: int) -> None:
    """Refuse a value that JSON has no form for, although pydantic would try.

    An iterator may never end, and reading it is work that the tool left undone; a content part is one for the model
    only where it stands alone or in a list.
    """
    if isinstance(value, Iterator):
        raise JsonProfileError("it is an iterator; return a list")
    if isinstance(value, Image | File | Text):
        raise JsonProfileError("content parts stand alone, or in one list with nothing else but texts")
    if depth >= MAX_DEPTH:
        return
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple | set | frozenset):
        for item in value:
            _refuse_unreadable(item, depth + 1)
