"""The kinds of item with which a model makes a call, and readers of their fields."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from handfast.payloads.json_profile import JsonObject, reparse_json

FUNCTION_CALL: Final = "function_call"
CUSTOM_CALL: Final = "custom_tool_call"
"""A call whose input is free text: for rules, requests and decisions its arguments are ``{"input": text}``."""
MCP_APPROVAL: Final = "mcp_approval_request"
"""The provider's question before it calls a hosted MCP server; nothing runs on this side."""
ID_FIELD: Final[Mapping[str, str]] = {FUNCTION_CALL: "call_id", CUSTOM_CALL: "call_id", MCP_APPROVAL: "id"}
"""By kind of item the field with the id by which an answer names the call."""
CALLS: Final = frozenset(ID_FIELD)
"""Kinds of item that get an answer of ours before the model is asked again."""
PROVIDER_IDS: Final = "provider_ids"
"""The field of an item that holds ids of the provider's that a run does not carry: they go back in its requests."""

PROVIDER_FIELDS: Final = "provider_fields"
"""The field of an item that holds what its provider wants back with it, by the names of that provider's API."""


def id_of(item: Mapping[str, Any]) -> str:
    """Return the id by which an answer names the call."""
    return str(item[ID_FIELD[item["type"]]])


def answer_ids(call: Mapping[str, Any]) -> JsonObject | None:
    """Return the provider's own id of *call* for the item that answers it; None where the run has no other."""
    ids = call.get(PROVIDER_IDS)
    field = ID_FIELD[call["type"]]
    if not isinstance(ids, dict) or field not in ids:
        return None
    named = "approval_request_id" if call["type"] == MCP_APPROVAL else "call_id"
    return {"client": ids.get("client"), named: ids[field]}


def tool_of(item: Mapping[str, Any]) -> str:
    """Return the tool's name for people; a hosted one bears its server's label."""
    name = str(item["name"])
    return f"{item['server_label']}.{name}" if item["type"] == MCP_APPROVAL else name


def arguments_text(item: Mapping[str, Any]) -> str:
    """Return the arguments as JSON text, which need not be valid: the model wrote it."""
    if item["type"] == CUSTOM_CALL:
        return json.dumps({"input": item["input"]})
    return str(item["arguments"])


def arguments_of(item: Mapping[str, Any]) -> JsonObject:
    """Return the decoded arguments of a call whose text was checked when its reply was planned."""
    arguments: JsonObject = reparse_json(arguments_text(item))
    return arguments
