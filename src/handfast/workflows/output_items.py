"""The item that answers a call: each kind of call has its own. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from handfast.payloads.call_items import CUSTOM_CALL, MCP_APPROVAL, id_of
from handfast.payloads.json_profile import JsonObject, JsonValue


def output_item(call: Mapping[str, Any], output: JsonValue) -> JsonObject:
    """Shape the one answer to *call*.

    Args:
        call: The model's item.
        output: For the model: a text or content parts. For an `mcp_approval_request`: True lets the provider call
            its server, a text is the reason why it may not.
    """
    match call["type"]:
        case kind if kind == MCP_APPROVAL:
            answer: JsonObject = {"type": "mcp_approval_response", "approval_request_id": id_of(call)}
            return {**answer, "approve": True} if output is True else {**answer, "approve": False, "reason": output}
        case kind if kind == CUSTOM_CALL:
            return {"type": "custom_tool_call_output", "call_id": id_of(call), "output": output}
    return {"type": "function_call_output", "call_id": id_of(call), "output": output}
