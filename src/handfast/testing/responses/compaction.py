"""Compaction: the request for it, its answer, and the items in which a provider keeps what it compacted."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Sequence
from typing import Final

from handfast.testing._script_steps import Compacted
from handfast.testing.record import Json
from handfast.testing.responses.content import MAX_TEXT
from handfast.testing.responses.refusal import ApiRefusal, missing, unknown
from handfast.testing.responses.values import (
    Check,
    anything,
    array,
    boolean,
    fields,
    integer,
    mapping,
    nullable,
    one_of,
    shape,
    string,
    text,
)

COMPACT: Final = "/v1/responses/compact"
SMALLEST_THRESHOLD: Final = 1000
"""Tokens: the API takes no lower threshold."""

SHARED_PARAMS: Final[dict[str, Check]] = {
    "image": shape({"context_compression": one_of("auto", "enabled", "disabled")}),
    "input": anything,
    "instructions": nullable(text(MAX_TEXT)),
    "model": lambda value, param: string(value, param, minimum=1),
    "previous_response_id": nullable(text()),
    "prompt_cache_key": nullable(text(64)),
    "prompt_cache_options": shape(
        {
            "comparison_response_id": nullable(text()),
            "mode": one_of("implicit", "explicit"),
            "prewarm": boolean,
            "ttl": one_of("30m", "12h"),
        }
    ),
    "prompt_cache_retention": nullable(one_of("in_memory", "24h")),
}
"""Parameters of every request that reads a conversation."""
_PARAMS: Final[dict[str, Check]] = {
    **SHARED_PARAMS,
    "model": nullable(SHARED_PARAMS["model"]),
    "prompt_cache_options": nullable(SHARED_PARAMS["prompt_cache_options"]),
    "service_tier": nullable(one_of("auto", "default", "flex", "priority", "fast")),
}


def check_compact_params(body: Json) -> None:
    """Check everything in a request to compact but its input.

    Raises:
        ApiRefusal: A parameter is missing, unknown or malformed.
    """
    for name in body:
        if name not in _PARAMS:
            raise unknown(name)
    fields(body, "", _PARAMS, ("model",))


def check_context_management(value: object, param: str) -> None:
    """Check the setting that lets the provider compact within a normal response.

    Raises:
        ApiRefusal: An entry is malformed.
    """
    for index, entry in enumerate(array(value, param)):
        place = f"{param}[{index}]"
        known: dict[str, Check] = {
            "type": one_of("compaction"),
            "compact_threshold": nullable(integer(SMALLEST_THRESHOLD)),
        }
        fields(mapping(entry, place), place, known, ("type",))


def build_compaction(step: Compacted, body: Json, items: Sequence[Json], token: str) -> Json:
    """Return the answer to a request to compact: the user's messages as they are, then one compaction item."""
    messages = [
        {**item, "type": "message", "id": f"msg_{token}{index:04x}", "status": "completed", "content": _content(item)}
        for index, item in enumerate(items)
        if item.get("role") == "user"
    ]
    output = [*messages, compaction_item(token)]
    asked, made = sum(len(json.dumps(item)) for item in items) // 4 + 1, len(json.dumps(output)) // 4
    usage = step.usage
    inputs, outputs = (asked, made) if usage is None else (usage.input_tokens, usage.output_tokens)
    return {
        "id": f"resp_{token}",
        "object": "response.compaction",
        "created_at": int(time.time()),
        "output": output,
        "usage": {
            "input_tokens": inputs,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": outputs,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": inputs + outputs,
        },
    }


def compaction_item(token: str, encrypted: str | None = None) -> Json:
    """Return the item in which the provider keeps a conversation, readable to it alone."""
    made_up = base64.b64encode(f"compaction {token}".encode()).decode()
    return {
        "id": f"cmp_{token}",
        "type": "compaction",
        "encrypted_content": made_up if encrypted is None else encrypted,
    }


class Seals:
    """Holds the compaction items that this server has made: nobody else's can be read."""

    def __init__(self) -> None:
        self._made: set[object] = set()

    def note(self, items: Sequence[Json]) -> None:
        """Remember the compaction items among what was put out."""
        self._made.update(item.get("encrypted_content") for item in items if item.get("type") == "compaction")

    def check(self, items: Sequence[Json]) -> None:
        """Refuse compaction items that were made by nobody here, or a request for one that is not the last item.

        Raises:
            ApiRefusal: There is one.
        """
        for place, item in enumerate(items):
            if item.get("type") == "compaction" and item["encrypted_content"] not in self._made:
                message = f"The encrypted content for item {item.get('id')} could not be verified."
                raise ApiRefusal(message, "input", "invalid_encrypted_content")
            if item.get("type") == "compaction_trigger" and place != len(items) - 1:
                raise ApiRefusal("A 'compaction_trigger' must be the final input item.", "input", "invalid_value")


def _content(item: Json) -> object:
    if "content" not in item:
        raise missing("input.content")
    return [{"type": "input_text", "text": item["content"]}] if isinstance(item["content"], str) else item["content"]
