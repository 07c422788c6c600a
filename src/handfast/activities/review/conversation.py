"""The parts of a conversation that a reviewer is shown."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final, get_args

from handfast.payloads.call_items import CALLS, arguments_text, id_of, tool_of
from handfast.payloads.json_profile import JsonObject, scrub
from handfast.payloads.review_call import ReviewMessage

MOST_MESSAGES: Final = 12
"""Parts that are shown: the first one, and the last ones."""
MESSAGE_CHARACTERS: Final = 1_000
_ROLES: Final = frozenset(get_args(ReviewMessage.model_fields["role"].annotation)) - {"tool"}


def shown(items: Iterable[JsonObject], call_id: str | None) -> list[ReviewMessage]:
    """Return the first and the last parts of a conversation, each by its start.

    They are recorded with what the reviewer said, so they are few and short.

    Args:
        items: The conversation, as far as it is known here.
        call_id: The call that is judged, which is shown by itself.
    """
    told = [message for item in items if (message := _told(item, call_id)) is not None]
    return told if len(told) <= MOST_MESSAGES else [told[0], *told[1 - MOST_MESSAGES :]]


def _told(item: JsonObject, call_id: str | None) -> ReviewMessage | None:
    kind = item.get("type", "message")
    if kind == "message" and item.get("role") in _ROLES:
        return _message(str(item["role"]), _text(item.get("content")))
    if kind in CALLS and id_of(item) != call_id:
        return _message("assistant", f"calls {tool_of(item)} with {arguments_text(item)}")
    if str(kind).endswith("_output"):
        return _message("tool", _text(item.get("output")))
    return None  # thoughts, and what the provider's own tools did


def _message(role: Any, text: str) -> ReviewMessage | None:
    if not text:
        return None
    start = scrub(text[:MESSAGE_CHARACTERS])
    return ReviewMessage(role=role, text=start if len(text) <= MESSAGE_CHARACTERS else f"{start}…")


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, Sequence):
        return "" if content is None else json.dumps(content, ensure_ascii=False)
    return "\n".join(filter(None, map(_part, content)))


def _part(part: object) -> str:
    if not isinstance(part, dict):
        return ""
    for name in ("text", "refusal"):
        if isinstance(part.get(name), str):
            return str(part[name])
    return f"[{part.get('type', 'content')}]"
