"""Write output: one JSON document for programs, plain lines for people."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import datetime
from typing import Any

from handfast.payloads.base import Payload


def say(line: str) -> None:
    """Write one line for people to stdout, at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def warn(line: str) -> None:
    """Write one line to stderr: an error, or what a person should know beside the output."""
    sys.stderr.write(f"handfast: {one_line(line)}\n")
    sys.stderr.flush()


def write_json(value: object) -> None:
    """Write *the* JSON document of a command: payloads as on the wire, dataclasses by their fields."""
    say(json.dumps(plain(value), indent=2))


def plain(value: object) -> Any:
    """Turn payloads and dataclasses into plain JSON types."""
    if isinstance(value, Payload):
        return value.to_wire()
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(item) for item in value]
    return value


def visible(text: str) -> str:
    """Write out every character that a terminal would not show as itself.

    Arguments and answers come from a model: an escape sequence or a change of direction among them must not be able
    to paint over what a person is about to approve.
    """
    return "".join(char if char.isprintable() or char in "\n\t" else _escaped(char) for char in text)


def one_line(text: str) -> str:
    """Put a text on one line, with every character that a terminal would not show written out."""
    return visible(" ".join(text.split()))


def json_text(value: object, *, indent: int | None = None) -> str:
    """Show a JSON value to a person: its own letters, nothing invisible."""
    return visible(json.dumps(value, ensure_ascii=False, indent=indent))


def _escaped(char: str) -> str:
    code = ord(char)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
