"""Leaves parts out of a request that its server refuses for them.

An omission is the path of a field in the request: ``prompt_cache_key``, ``reasoning.summary``, ``tools.strict`` (of
every tool), ``input.id`` (of every item), ``include.reasoning.encrypted_content`` (an entry of `include`).
``input.reasoning`` is the reasoning of earlier replies, which the server cannot read any more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from handfast.models.provider_error import ProviderError
from handfast.payloads.conversation import without_orphans
from handfast.payloads.json_profile import JsonObject

MOST: Final = 8
"""Omissions of one request: a server that refuses more does not speak this API."""
ENCRYPTED: Final = "reasoning.encrypted_content"
UNREADABLE: Final = "input.reasoning"

_NEEDED: Final = frozenset(
    {
        *("model", "input", "instructions", "tools", "tool_choice", "prompt", "stream", "background", "conversation"),
        *("previous_response_id", "max_output_tokens", "max_tool_calls", "context_management", "text.format"),
        *("text.format.type", "text.format.name", "text.format.schema"),
    }
)
"""Without these it would be another request, or one that may cost more than was allowed."""
_NEEDED_WITHIN: Final = frozenset(
    {
        *("type", "role", "content", "text", "call_id", "name", "arguments", "output", "input", "summary", "format"),
        *("parameters", "schema", "description", "refusal", "action", "queries", "result"),
        *("approval_request_id", "approve", "image_url", "file_id", "file_data", "file_url"),
        *("server_label", "server_url", "connector_id"),
    }
)
"""Likewise, in an item or a tool."""

_UNKNOWN_CODES: Final = ("unknown", "unsupported", "unrecognized", "unrecognised", "extra_forbidden", "not_supported")
_UNKNOWN_WORDS: Final = re.compile(
    r"\b(unknown|unrecogni[sz]ed|unsupported|unexpected|extra)\b"
    r"|\bnot (be )?(supported|permitted|allowed|recognized|known)\b"
    r"|\bdoes not (support|accept|know)\b|\bonly (supported|available|allowed)\b",
    re.I,
)
_WRONG_VALUE: Final = re.compile(r"\b(invalid|unsupported) value\b", re.I)
_THOUGHTS: Final = re.compile(
    r"encrypted.content.*(verif|decrypt|pars|issued|item_id|match|invalid|belong)|required .?reasoning.? item"
    r"|'reasoning' was provided without|item with id .?rs_|thinking.*signature|signature.*thinking",
    re.I | re.S,
)
_OF_A_REQUEST: Final = (400, 404, 406, 422, None)
"""Statuses of a request that its server does not take; None inside a 200."""
_VALUE_OF_AN_ID: Final = ("invalid_value", "string_above_max_length", "invalid_id", "empty_string")


def omission_for(said: ProviderError, body: Mapping[str, Any]) -> str | None:
    """Read a refusal: what the same request can be made without; None where nothing would help.

    Args:
        said: Why the server refused it.
        body: The request.
    """
    if said.status not in _OF_A_REQUEST:
        return None
    path = _path(said.param)
    if path[:1] == ("input",) and len(path) > 1 and _names_reasoning(said.param, body):
        return UNREADABLE
    if said.code == "invalid_encrypted_content" or _THOUGHTS.search(said.message):
        return UNREADABLE if _thoughts(body) else None
    if (entry := _entry_of_include(said, body)) is not None:
        return entry
    if path == ("input", "id") and (said.code in _VALUE_OF_AN_ID or is_unknown(said)):
        return _if_there("input.id", body)
    if not is_unknown(said):
        return None
    if path:
        return next(
            (found for end in range(len(path), 0, -1) if (found := _if_there(".".join(path[:end]), body))), None
        )
    return next((name for name in _optional(body) if _names(said.message, name)), None)


def without(body: Mapping[str, Any], omission: str) -> JsonObject:
    """Return a request without what *omission* names."""
    if omission == UNREADABLE:
        items = list(body["input"])
        return {**body, "input": without_reasoning(items, [item for item in items if item.get("type") == "reasoning"])}
    head, _, rest = omission.partition(".")
    if head == "include" and rest:
        left = [name for name in body.get("include", ()) if name != rest]
        return {**body, "include": left} if left else _less(body, ("include",))
    less: JsonObject = _less(body, tuple(omission.split(".")))
    return less


def without_reasoning(items: list[JsonObject], left_out: list[JsonObject]) -> list[JsonObject]:
    """Return *items* without some of their reasoning, and without the ids by which a server would miss it."""
    gone = {id(item) for item in left_out}
    return without_orphans([item for item in items if id(item) not in gone], items)


# --- what a refusal names ---


def _path(param: str | None) -> tuple[str, ...]:
    """The path of a parameter without the places in lists: ``input[2].id``, ``body.tools.0.strict``."""
    parts = re.split(r"[.\[\]]+", param or "")
    return tuple(part for part in parts if part and not part.isdecimal() and part != "body")


def is_unknown(said: ProviderError) -> bool:
    """Return whether the server does not know a parameter at all; a value that it refuses is the agent's mistake."""
    code = (said.code or "").lower()
    if ("value" in code or _WRONG_VALUE.search(said.message)) and _path(said.param) != ("reasoning", "summary"):
        return False
    return any(part in code for part in _UNKNOWN_CODES) or bool(_UNKNOWN_WORDS.search(said.message))


def _names_reasoning(param: str | None, body: Mapping[str, Any]) -> bool:
    place = re.search(r"input[.\[]+(\d+)", param or "")
    items = body.get("input")
    if place is None or not isinstance(items, list) or int(place.group(1)) >= len(items):
        return False
    return bool(items[int(place.group(1))].get("type") == "reasoning") and _thoughts(body)


def _thoughts(body: Mapping[str, Any]) -> bool:
    """Return whether reasoning can be left out: with a history that the provider keeps, an item stands for others."""
    kept = body.get("previous_response_id") or body.get("conversation")
    items = body.get("input")
    return not kept and isinstance(items, list) and any(item.get("type") == "reasoning" for item in items)


def _entry_of_include(said: ProviderError, body: Mapping[str, Any]) -> str | None:
    include = body.get("include") or ()
    if not include:
        return None
    about = re.match(r"(?:body\.)?include(?:[.\[]+(\d+))?", said.param or "")
    if about is not None and about.group(1) is not None and int(about.group(1)) < len(include):
        return f"include.{include[int(about.group(1))]}"
    named = next((name for name in include if name in said.message), None)
    if named is not None:
        return f"include.{named}"
    meant = re.search(r"encrypted.content|\binclude[.\[]\d", said.message, re.I) or _names(said.message, "include")
    if about is None and not meant:
        return None
    return f"include.{ENCRYPTED}" if ENCRYPTED in include else "include"


def _names(message: str, name: str) -> bool:
    """Return whether *message* names a parameter: in quotes or brackets, or after a colon."""
    word = re.escape(name)
    return re.search(rf"[\"'`\[]{word}[\"'`\],]|:\s*{word}\b", message) is not None


# --- what a request holds ---


def _optional(body: Mapping[str, Any]) -> Iterator[str]:
    """Paths of what could be left out, those within others first: a message may name both."""
    for name, value in body.items():
        if isinstance(value, dict) and name not in _NEEDED:
            yield from (path for inner in value if (path := f"{name}.{inner}") not in _NEEDED)
    for head in ("tools", "input"):
        fields = {field for each in body.get(head) or () if isinstance(each, dict) for field in each}
        yield from (f"{head}.{field}" for field in sorted(fields - _NEEDED_WITHIN) if len(field) > 2)
    yield from (name for name in body if name not in _NEEDED)


def _if_there(path: str, body: Mapping[str, Any]) -> str | None:
    """The path, where the request holds it and can do without."""
    parts = path.split(".")
    if path in _NEEDED or (parts[0] in ("input", "tools") and parts[-1] in _NEEDED_WITHIN):
        return None
    if parts[0] == "text" and "text" in parts[1:]:
        return None
    return path if _holds(body, tuple(parts)) else None


def _holds(value: Any, path: tuple[str, ...]) -> bool:
    if isinstance(value, list):
        return any(_holds(each, path) for each in value)
    if not isinstance(value, Mapping) or path[0] not in value:
        return False
    return len(path) == 1 or _holds(value[path[0]], path[1:])


def _less(value: Any, path: tuple[str, ...]) -> Any:
    """Return *value* without the field at *path*, in each element of the lists on the way."""
    if isinstance(value, list):
        return [_less(each, path) for each in value]
    if not isinstance(value, Mapping) or path[0] not in value:
        return value
    if len(path) == 1:
        return {name: each for name, each in value.items() if name != path[0]}
    less = _less(value[path[0]], path[1:])
    if less == {} and value[path[0]] != {}:
        return {name: each for name, each in value.items() if name != path[0]}
    return {**value, path[0]: less}
