"""What a handoff's filter leaves is made whole: the API refuses a call without its answer, and the other way round."""

from __future__ import annotations

from typing import Any

import pytest

from handfast.payloads.conversation import without_orphans

USER = {"type": "message", "role": "user", "content": "hello"}
THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": []}
PAIRS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "function": (
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": ""},
    ),
    "custom": (
        {"type": "custom_tool_call", "call_id": "c", "name": "f", "input": ""},
        {"type": "custom_tool_call_output", "call_id": "c", "output": ""},
    ),
    "hosted": (
        {"type": "mcp_approval_request", "id": "c", "server_label": "w", "name": "f", "arguments": "{}"},
        {"type": "mcp_approval_response", "approval_request_id": "c", "approve": True},
    ),
}


@pytest.mark.parametrize("kind", PAIRS)
def test_a_call_and_its_answer_stay_or_go_together(kind: str) -> None:
    """Whichever of the two was filtered out, the other goes too, with the thought that led to the call."""
    call, answer = PAIRS[kind]
    assert without_orphans([USER, THOUGHT, call, answer]) == [USER, THOUGHT, call, answer]
    assert without_orphans([USER, THOUGHT, call]) == [USER]
    assert without_orphans([USER, answer]) == [USER]
