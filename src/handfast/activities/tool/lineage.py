"""Finds out if a run was reset: then a call may have been approved, and have run, once already."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from temporalio import activity
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import GetWorkflowExecutionHistoryRequest
from temporalio.service import RPCError, RPCStatusCode

from handfast.payloads.tool_call import ToolCall

ANSWER_WITHIN: Final = timedelta(seconds=1.5)
"""Time limit of the server: less than the heartbeat timeout, as no heartbeat is sent yet."""
MOST_KEPT: Final = 10_000


class LineageUnknownError(Exception):
    """The server did not say."""


@dataclass(frozen=True)
class _Begun:
    """The beginning of a run.

    Attributes:
        reset: As another one that was reset.
        before: The run whose history it goes on from.
    """

    reset: bool
    before: str


class Lineage:
    """Asks the server once per run."""

    def __init__(self) -> None:
        self._begun: dict[str, _Begun] = {}

    async def was_reset(self, call: ToolCall) -> bool:
        """Return True where *call* was asked about in a run that was reset since.

        The server is asked only where the run is another than the one in which the model made the call: it went on in
        fresh histories meanwhile, or was reset, or both, one after the other. So all that lie between are looked at. Of
        one that the server no longer keeps nothing is known, nor of those before it.

        Raises:
            LineageUnknownError: That is not known.
        """
        info = activity.info()
        run_id = info.workflow_run_id or ""
        if call.asked_in is None:
            return False
        try:
            async with asyncio.timeout(ANSWER_WITHIN.total_seconds()):
                while run_id not in ("", call.asked_in):
                    begun = await self._how_begun(info.namespace, info.workflow_id or "", run_id)
                    if begun.reset:
                        return True
                    run_id = begun.before
        except (TimeoutError, RPCError, IndexError) as error:
            if isinstance(error, RPCError) and error.status is RPCStatusCode.NOT_FOUND:
                return False
            raise LineageUnknownError(f"the server did not say whether the run was reset ({error})") from None
        return False

    async def _how_begun(self, namespace: str, workflow_id: str, run_id: str) -> _Begun:
        """Read the beginning of a run and keep it: a long chain may take several attempts."""
        if run_id in self._begun:
            return self._begun[run_id]
        if len(self._begun) >= MOST_KEPT:
            self._begun.clear()
        execution = WorkflowExecution(workflow_id=workflow_id, run_id=run_id)
        asked = GetWorkflowExecutionHistoryRequest(namespace=namespace, execution=execution, maximum_page_size=1)
        service = activity.client().workflow_service
        answer = await service.get_workflow_execution_history(asked, timeout=ANSWER_WITHIN)
        started = answer.history.events[0].workflow_execution_started_event_attributes
        reset = started.original_execution_run_id not in ("", run_id)
        begun = self._begun[run_id] = _Begun(reset, started.continued_execution_run_id)
        return begun
