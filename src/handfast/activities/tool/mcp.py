"""Finds the MCP tool that a call is about: as its server lists it by now, which has to be what was shown."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from temporalio import activity
from temporalio.client import WorkflowExecutionStatus, WorkflowHandle, WorkflowQueryFailedError
from temporalio.service import RPCError

from handfast.activities.runtime.redaction import hide
from handfast.activities.tool.body import outcome
from handfast.errors import McpUnavailableError, PayloadInvalidError, UnknownToolError
from handfast.mcp.pool import McpPool
from handfast.mcp.tool import McpTool
from handfast.payloads.runs import RunStatus
from handfast.payloads.tool_call import ToolCall, ToolOutcome

LISTED_S: Final = 1.2
"""Limit of time for a listing of tools: nothing beats meanwhile. Where it has yet to be started that goes on,
and the next start of the call finds it there."""


async def found_tool(call: ToolCall, server: str, pool: McpPool) -> McpTool | ToolOutcome:
    """Return the tool of *call*; the outcome where it must not be called."""
    shown = call.mcp
    if shown is None or shown.server != server:
        return outcome("refused", reason=f"the call is not planned for the MCP server {server}")
    if call.asked is not None and call.asked.held and not pool.holds(server, call.key):
        return _absent(f"the session in which the MCP server {server} asked is not held here")
    try:  # a start that takes longer goes on: the pool shares it with whoever asks next
        tool = await asyncio.wait_for(pool.tool(server, call.tool, about=(call.key, call.request)), LISTED_S)
    except TimeoutError:
        return _absent(f"the MCP server {server} has yet to list its tools")
    except McpUnavailableError as error:
        return _absent(str(error))
    except UnknownToolError:
        gone = f"the MCP server {server} has no tool {call.tool} any more"
        return outcome("error", output=f"Error: {gone}; it was not called")
    hide(pool.secrets_of(server))
    change = tool.change_since(shown)
    # Where nobody is asked about this tool, whatever it says of itself, nobody is asked about a change either.
    if change is not None and (call.request is not None or tool.approval is not False):
        return outcome("changed", reason=change.difference.why).model_copy(update={"change": change})
    return tool.going_on(call.asked, _Waiting(call))


def _absent(reason: str) -> ToolOutcome:
    return outcome("not_begun", reason=reason).model_copy(update={"absent": True})


class _Waiting:
    """Says whether a call still waits for the answer to its server's question."""

    def __init__(self, call: ToolCall) -> None:
        self._call_id = call.call_id
        self._query = f"{call.origin.query.removesuffix('transcript')}status"
        workflow_id = activity.info().workflow_id or ""  # whatever its history: it may go on in a fresh one
        self._run: WorkflowHandle[Any, Any] = activity.client().get_workflow_handle(workflow_id)

    async def __call__(self) -> bool:
        try:
            if (await self._run.describe()).status is not WorkflowExecutionStatus.RUNNING:
                return False
            status = RunStatus.from_wire(await self._run.query(self._query))
        except (RPCError, WorkflowQueryFailedError, PayloadInvalidError):
            return True  # nobody knows
        return any(each.call_id == self._call_id for each in status.calls)
