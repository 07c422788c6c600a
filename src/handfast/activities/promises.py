"""What was planned for a call, and its worker may lack: an older one, or a later deploy. Neither loosens the plan."""

from __future__ import annotations

from typing import Any

from temporalio import activity

from handfast.activities.tool_body import outcome
from handfast.payloads.tool_call import ToolCall, ToolOutcome
from handfast.tools import Tool


def is_once(call: ToolCall, tool: Tool[..., Any]) -> bool:
    """Whether the body may be entered once at most: as planned, or as the tool says by now."""
    return "at_most_once" in (call.effect, tool.effect)


def unkept(call: ToolCall, tool: Tool[..., Any]) -> ToolOutcome | None:
    """How a call ends whose output nobody here would look at; None where somebody does, or need not."""
    if not call.output_guarded or tool.output_guardrails:
        return None
    why = "output guardrails are not there on this worker"
    if activity.info().attempt > 1:
        return outcome("unknown", reason=f"an earlier attempt may have run, and the tool's {why}")
    return outcome("error", output=f"Error: this call of {call.tool} was not run: its {why}")


def unprovable(call: ToolCall) -> ToolOutcome | None:
    """How a call ends on a worker without keys; None where nothing has to be proven."""
    return outcome("not_begun", reason="this worker has no keys to verify a decision with") if call.signed else None
