"""The parts of messages and of tool outputs."""

from __future__ import annotations

import re
from typing import Final

from handfast.testing.record import Json
from handfast.testing.responses.refusal import ApiRefusal, missing, wrong_type, wrong_value
from handfast.testing.responses.values import (
    Check,
    Shape,
    anything,
    array,
    decimal,
    each,
    fields,
    integer,
    mapping,
    nullable,
    one_of,
    shape,
    string,
    tagged,
    text,
)

MAX_TEXT: Final = 10_485_760
"""Longest text of one message or tool output, in characters."""

_ADDRESS: Final = re.compile(r"https?://[^\s/]+\S*", re.I)
_INLINE: Final = re.compile(r"data:[\w.+-]+/[\w.+-]+;base64,[A-Za-z0-9+/=\s]+")
_TEXT: Final = text(MAX_TEXT)
_ANY_TEXT: Final = nullable(text())
_BREAKPOINT: Final = nullable(shape({"mode": one_of("explicit"), "ttl": one_of("30m", "12h")}, ("mode",)))
_LOGPROB: Final[dict[str, Check]] = {"token": text(), "bytes": each(integer(0, 255)), "logprob": decimal()}


def address(value: object, param: str, *, inline: bool = False) -> None:
    """Accept the address of a file, and with *inline* a file in base64, too."""
    given = string(value, param, minimum=1)
    if not (_ADDRESS.fullmatch(given) or (inline and _INLINE.fullmatch(given))):
        message = f"Invalid '{param}'. Expected a valid URL, but got a value with an invalid format."
        raise ApiRefusal(message, param, "invalid_value")


def image_address(value: object, param: str) -> None:
    """Accept the address of an image, or an image in base64."""
    address(value, param, inline=True)


def _file_data(value: object, param: str) -> None:
    given = string(value, param, minimum=1)
    if not _INLINE.fullmatch(given):
        message = f"Invalid '{param}'. Expected a base64-encoded data URL (e.g. 'data:application/pdf;base64,aW1n')."
        raise ApiRefusal(message, param, "invalid_value")


def file_id(value: object, param: str) -> None:
    """Accept the id of a file; whether there is one of that id is looked up later."""
    string(value, param, minimum=1, maximum=64)


def image_place(part: Json, param: str) -> None:
    """Refuse an image that is nowhere."""
    if not any(part.get(name) for name in ("image_url", "file_id")):
        raise missing(f"{param}.image_url")


def _file_place(part: Json, param: str) -> None:
    if not any(part.get(name) for name in ("file_data", "file_id", "file_url")):
        raise missing(f"{param}.file_data")


INPUT_PARTS: Final[dict[str, Shape]] = {
    "input_text": ({"text": _TEXT, "prompt_cache_breakpoint": _BREAKPOINT}, ("text",)),
    "input_image": (
        {
            "detail": nullable(one_of("low", "high", "auto", "original")),
            "file_id": nullable(file_id),
            "image_url": nullable(image_address),
            "prompt_cache_breakpoint": _BREAKPOINT,
        },
        (),
    ),
    "input_file": (
        {
            "detail": one_of("auto", "low", "high"),
            "file_data": nullable(_file_data),
            "file_id": nullable(file_id),
            "file_url": nullable(address),
            "filename": _ANY_TEXT,
            "prompt_cache_breakpoint": _BREAKPOINT,
        },
        (),
    ),
}
_ANNOTATIONS: Final = tagged(
    {
        "file_citation": (
            {"file_id": text(), "filename": text(), "index": integer()},
            ("file_id", "filename", "index"),
        ),
        "url_citation": (
            {"end_index": integer(), "start_index": integer(), "title": text(), "url": text()},
            ("end_index", "start_index", "title", "url"),
        ),
        "container_file_citation": (
            {
                **dict.fromkeys(("container_id", "file_id", "filename"), text()),
                **dict.fromkeys(("end_index", "start_index"), integer()),
            },
            ("container_id", "file_id", "filename", "end_index", "start_index"),
        ),
        "file_path": ({"file_id": text(), "index": integer()}, ("file_id", "index")),
    }
)
_LOGPROBS: Final = each(
    shape({**_LOGPROB, "top_logprobs": each(shape(_LOGPROB, tuple(_LOGPROB)))}, (*_LOGPROB, "top_logprobs"))
)
_AUDIO: Final = shape({"data": text(), "format": one_of("mp3", "wav")}, ("data", "format"))
MESSAGE_PARTS: Final[dict[str, Shape]] = {**INPUT_PARTS, "input_audio": ({"input_audio": _AUDIO}, ("input_audio",))}
ASSISTANT_PARTS: Final[dict[str, Shape]] = {
    "output_text": ({"text": _TEXT, "annotations": each(_ANNOTATIONS), "logprobs": _LOGPROBS}, ("text",)),
    "refusal": ({"refusal": _TEXT}, ("refusal",)),
}
_PLACES: Final = {"input_image": image_place, "input_file": _file_place}


def parts(kinds: dict[str, Shape]) -> Check:
    """Return a check for content: a string, or an array of the given parts."""

    def check(value: object, param: str) -> None:
        if isinstance(value, str):
            string(value, param, maximum=MAX_TEXT)
            return
        for index, entry in enumerate(array(value, param, "one of an array of objects or string")):
            check_part(entry, f"{param}[{index}]", kinds)

    return check


def check_part(value: object, param: str, kinds: dict[str, Shape]) -> None:
    """Check one part.

    Raises:
        ApiRefusal: It is none of *kinds*, lacks something, has too much, or holds nothing.
    """
    part = mapping(value, param)
    if "type" not in part:
        raise missing(f"{param}.type")
    kind = part["type"]
    if not isinstance(kind, str):
        raise wrong_type(f"{param}.type", "a string", kind)
    if kind not in kinds:
        raise wrong_value(param, kind, kinds)
    known, required = kinds[kind]
    fields(part, param, {"type": anything, **known}, required)
    if kind in _PLACES:
        _PLACES[kind](part, param)
