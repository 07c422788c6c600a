"""Finds out whether a run was reset: then what was asked before may have been answered, and have run, once already."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from temporalio import activity
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import GetWorkflowExecutionHistoryRequest
from temporalio.service import RPCError

from holdfast.payloads.tool_call import ToolCall

ANSWER_WITHIN: Final = timedelta(seconds=1.5)
"""Less than the heartbeat timeout: nothing beats yet."""
MOST_KEPT: Final = 10_000


class LineageUnknownError(Exception):
    """The server did not say."""


class Lineage:
    """Asks the server once per run."""

    def __init__(self) -> None:
        self._reset: dict[str, bool] = {}

    async def was_reset(self, call: ToolCall) -> bool:
        """Whether the run of the activity under way is a reset one, and *call* was asked about before that.

        The server is asked only where the run is another than the one in which the model made the call: it went on in
        a fresh history meanwhile, or was reset.

        Raises:
            LineageUnknownError: That is not known.
        """
        info = activity.info()
        run_id = info.workflow_run_id
        if call.asked_in is None or run_id is None or call.asked_in == run_id:
            return False
        if run_id not in self._reset:
            if len(self._reset) >= MOST_KEPT:
                self._reset.clear()
            execution = WorkflowExecution(workflow_id=info.workflow_id or "", run_id=run_id)
            asked = GetWorkflowExecutionHistoryRequest(
                namespace=info.namespace, execution=execution, maximum_page_size=1
            )
            try:
                service = activity.client().workflow_service
                answer = await service.get_workflow_execution_history(asked, timeout=ANSWER_WITHIN)
                started = answer.history.events[0].workflow_execution_started_event_attributes
            except (RPCError, IndexError) as error:
                raise LineageUnknownError(f"the server did not say whether the run was reset ({error})") from None
            self._reset[run_id] = started.original_execution_run_id not in ("", run_id)
        return self._reset[run_id]
