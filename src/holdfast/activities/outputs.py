"""Shapes what a tool returned or raised, so that it can be recorded whatever it is."""

from __future__ import annotations

import hashlib
import json
import traceback
from collections.abc import Iterator
from typing import Any, Final

from pydantic import ConfigDict, TypeAdapter

from holdfast.errors import JsonProfileError
from holdfast.payloads.json_profile import MAX_DEPTH, check_json, scrub
from holdfast.payloads.tool_call import ERROR_TEXT_BYTES, RESULT_BYTES

_ANY: Final[TypeAdapter[Any]] = TypeAdapter(Any, config=ConfigDict(ser_json_inf_nan="constants"))
"""Keeps NaN and infinity, so that they are refused: pydantic alone would turn them into null without a word."""


def bounded_output(value: object) -> tuple[str | None, int | None, str | None]:
    """Turn a tool's result into the text that the model reads.

    A text stays as it is; everything else becomes JSON. Beyond 256 KiB it is cut, and says so with a digest of the
    whole.

    Returns:
        The output, its size before it was cut (None where it was not), and the problem where it is no output at all.
    """
    if value is None:
        return "", None, None
    if isinstance(value, str):
        text = scrub(value)
    else:
        try:
            _refuse_iterators(value, 0)
            plain = _ANY.dump_python(value, mode="json", warnings="error")
            check_json(plain)
            text = json.dumps(plain, ensure_ascii=False, allow_nan=False)
        except Exception as error:  # noqa: BLE001 - the result is an object of the user's: its code runs here
            why = error.problem if isinstance(error, JsonProfileError) else type(error).__name__
            return (
                None,
                None,
                (f"Error: the tool ran, but its result ({type(value).__name__}) cannot be given to you as JSON: {why}"),
            )
    return *_cut(text, RESULT_BYTES), None


def bounded_error(error: object) -> str:
    """Tell the model of an exception, in 8 KiB at most."""
    return described(error, prefix="Error: ")


def described(error: object, *, prefix: str = "") -> str:
    """Name an exception and what it says, in 8 KiB at most and as text that can be recorded."""
    name = type(error).__name__
    try:
        said = scrub(str(error))
    except Exception:  # noqa: BLE001 - an exception whose text cannot be had still has a name
        said = ""
    if not said and isinstance(error, BaseException):
        said = "".join(traceback.format_exception_only(error)).strip()[:200]
    return _cut(f"{prefix}{name}: {said}" if said else f"{prefix}{name}", ERROR_TEXT_BYTES)[0]


def _refuse_iterators(value: object, depth: int) -> None:
    """Refuse what can be read only once: it may never end, and reading it is work that the tool left undone."""
    if isinstance(value, Iterator):
        raise JsonProfileError("it is an iterator; return a list")
    if depth >= MAX_DEPTH:
        return
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple | set | frozenset):
        for item in value:
            _refuse_iterators(item, depth + 1)


def _cut(text: str, limit: int) -> tuple[str, int | None]:
    data = text.encode()
    if len(data) <= limit:
        return text, None
    note = f"\n[cut: {len(data):,} bytes in all, sha256 {hashlib.sha256(data).hexdigest()}]"
    return data[: limit - len(note)].decode(errors="ignore") + note, len(data)
