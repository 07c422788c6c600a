"""What the model says where no real one is asked. Its reports quote the tools' real outputs."""

from __future__ import annotations

import json
from typing import Final

from desk import follow_up
from holdfast.testing import Reply, Script, call, text
from holdfast.testing.responses_server import RecordedRequest
from holdfast.testing.script import Step

TICKET: Final = "Clean up temp_files, run a thermal diagnostic, clean winsxs_cache."


def scripted() -> Script:
    """A model that knows one ticket, and the follow-up of it."""
    return Script.of(_next)


def _next(request: RecordedRequest) -> Step:
    is_follow_up = request.instructions == follow_up.instructions
    if request.turns == 0 and is_follow_up:
        return Reply(call("run_diagnostic", {"check_name": "disk"}))
    if request.turns == 0:
        return Reply(
            call("run_cleanup", {"target": "temp_files"}),
            call("run_diagnostic", {"check_name": "thermal"}),
            call("run_cleanup", {"target": "winsxs_cache"}),
        )
    return Reply(text(_closing_note(request) if is_follow_up else _report(request)))


def _report(request: RecordedRequest) -> str:
    outputs = request.tool_outputs
    lines = [
        f"- {item['name']}({', '.join(map(str, json.loads(item['arguments']).values()))}): {outputs[item['call_id']]}"
        for item in request.items
        if item.get("type") == "function_call"
    ]
    return "\n".join(["This is what became of your ticket:", *lines])


def _closing_note(request: RecordedRequest) -> str:
    [output] = request.tool_outputs.values()
    try:
        targets = json.loads(output)["targets"]
    except (ValueError, KeyError):
        return f"The disk could not be checked: {output}"
    held = ", ".join(f"{name} holds {size['files']} files ({size['bytes']} bytes)" for name, size in targets.items())
    return f"Checked again after the work: {held}."
