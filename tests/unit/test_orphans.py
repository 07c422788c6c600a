"""What a handoff's filter may leave of a conversation: nothing that the API would refuse."""

from __future__ import annotations

from typing import Any

import pytest

from handfast.payloads.conversation import without_orphans

SAID = {"type": "message", "role": "assistant", "content": []}
THOUGHT = {"type": "reasoning", "id": "r1", "summary": []}
CALL = {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "look", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "c1", "output": "seen"}
CUSTOM = {"type": "custom_tool_call", "id": "ctc_1", "call_id": "c2", "name": "query", "input": "all"}
NAMELESS = {name: value for name, value in CUSTOM.items() if name != "id"}
CUSTOM_OUTPUT = {"type": "custom_tool_call_output", "call_id": "c2", "output": "rows"}
ASKED = {"type": "mcp_approval_request", "id": "m1", "server_label": "s", "name": "n", "arguments": "{}"}
ANSWERED = {"type": "mcp_approval_response", "approval_request_id": "m1", "approve": True}
WHOLE = [SAID, THOUGHT, CALL, CUSTOM, ASKED, OUTPUT, CUSTOM_OUTPUT, ANSWERED]


@pytest.mark.parametrize(
    ("items", "kept"),
    [
        pytest.param(WHOLE, WHOLE, id="whole"),
        pytest.param([SAID, OUTPUT, CUSTOM_OUTPUT, ANSWERED], [SAID], id="answers-alone"),
        pytest.param([SAID, THOUGHT, CALL], [SAID], id="call-with-its-reasoning"),
        pytest.param([THOUGHT, CALL, CUSTOM, CUSTOM_OUTPUT], [THOUGHT, NAMELESS, CUSTOM_OUTPUT], id="one-of-two"),
        pytest.param([ASKED, SAID, THOUGHT], [SAID], id="reasoning-at-the-end"),
    ],
)
def test_orphans_are_left_out(items: list[dict[str, Any]], kept: list[dict[str, Any]]) -> None:
    """Calls without answer, answers without call, and reasoning that led to nothing are dropped; the rest stays."""
    assert without_orphans(items) == kept
