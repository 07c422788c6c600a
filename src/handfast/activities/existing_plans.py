"""Plans calls of activities that exist already."""

from __future__ import annotations

import json

from handfast.activity_tools import ActivityTool
from handfast.doubt import plan_of, policy_of
from handfast.payloads.json_profile import JsonObject
from handfast.payloads.model_call import ApprovalPlan, ExistingActivity, PlannedCall
from handfast.payloads.tool_call import EXISTING_ARGUMENT_BYTES


def too_large(tool: ActivityTool, arguments: JsonObject) -> str | None:
    """Why *arguments* cannot be sent, for the model; None where they can. Another's activity cannot fetch a block."""
    size = len(json.dumps(arguments))
    if size <= EXISTING_ARGUMENT_BYTES:
        return None
    return (
        f"Error: the arguments of {tool.name} take {size:,} bytes, and at most {EXISTING_ARGUMENT_BYTES:,} can be sent"
    )


def plan_existing(index: int, tool: ActivityTool, approval: ApprovalPlan | None, *, worded: bool | None) -> PlannedCall:
    """Say what the workflow has to know to start the activity itself."""
    beat = tool.heartbeat_timeout
    return PlannedCall(
        index=index,
        kind="run" if approval is None else "ask",
        approval=approval,
        effect=None if tool.effect == "at_most_once" else tool.effect,
        on_unknown=policy_of(tool.on_unknown),
        doubt=plan_of(tool.on_unknown),
        verified=True if tool.verify is not None else None,
        on_error=None if tool.on_error == "tell_model" else tool.on_error,
        timeout_s=tool.timeout.total_seconds(),
        worded=worded,
        task_queue=tool.task_queue,
        activity=ExistingActivity(
            type=tool.activity,
            argument=tool.takes_argument,
            heartbeat_s=None if beat is None else beat.total_seconds(),
            start_within_s=tool.start_within.total_seconds(),
            key_field=tool.key_field,
        ),
    )
