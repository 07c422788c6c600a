"""The arguments of a call, where they came with the activity or stand in the transcript."""

from __future__ import annotations

from typing import Protocol

from handfast.activities.runtime import Runtime
from handfast.payloads.call_items import arguments_text
from handfast.payloads.json_profile import JsonObject, parse_json
from handfast.payloads.model_call import Origin
from handfast.payloads.tool_call import ArgumentsAt


class AboutCall(Protocol):
    """A payload that tells of one call."""

    @property
    def origin(self) -> Origin: ...
    @property
    def arguments(self) -> JsonObject | None: ...
    @property
    def at(self) -> ArgumentsAt | None: ...


async def arguments_of(runtime: Runtime, asked: AboutCall) -> JsonObject:
    """Return the arguments that *asked* is about; they were checked when the reply was planned."""
    if asked.arguments is not None or asked.at is None:
        return asked.arguments or {}
    items = await runtime.blocks.block(asked.origin, asked.at.block)
    parsed = parse_json(arguments_text(items[asked.at.index]))
    return parsed if isinstance(parsed, dict) else {}
