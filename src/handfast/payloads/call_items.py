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
CALLS: Final = frozenset({FUNCTION_CALL, CUSTOM_CALL, MCP_APPROVAL})
"""Kinds of item that get an answer of ours before the model is asked again."""


def id_of(item: Mapping[str, Any]) -> str:
    """Return the id by which an answer names the call."""
    return str(item["id"] if item["type"] == MCP_APPROVAL else item["call_id"])


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
