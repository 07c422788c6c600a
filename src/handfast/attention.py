"""Runs that need attention, across all that go on: found by the server, no worker is asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from temporalio.client import WorkflowExecution, WorkflowExecutionDescription
from temporalio.service import RPCError, RPCStatusCode

from handfast._rpc import typed_errors
from handfast.lists import Lists, of_agents
from handfast.trouble import Polled, Trouble, trouble_of

AT_A_TIME: Final = 20
"""Runs that the server is asked about at a time."""


class Attention(Lists):
    """What an operator should look at."""

    async def attention(self, *, limit: int | None = None) -> AsyncIterator[Trouble]:
        """Yield the runs that do not get on by themselves, each with what to do about it.

        The server is asked about each run that goes on, twenty at a time: its own mark for failing workflow tasks
        (``TemporalReportedProblems``) comes only after several attempts, half a minute in.

        Args:
            limit: Most runs that are asked about, the newest ones; None is all that go on.

        Raises:
            SearchAttributesMissingError: The namespace lacks our search attributes.
            ServerUnavailableError: The server is away. NamespaceNotFoundError: It lacks the client's namespace.
        """
        polled = Polled(self.client)
        batch: list[WorkflowExecution] = []
        async for execution in self._list(f"{of_agents()} AND ExecutionStatus = 'Running'", limit):
            batch.append(execution)
            if len(batch) == AT_A_TIME:
                for trouble in await self._look(batch, polled):
                    yield trouble
                batch = []
        for trouble in await self._look(batch, polled):
            yield trouble

    # --- inside ---

    async def _look(self, batch: list[WorkflowExecution], polled: Polled) -> list[Trouble]:
        async def look(execution: WorkflowExecution) -> Trouble | None:
            described = await self._described(execution.id)
            return None if described is None else await trouble_of(self.client, described, polled)

        with typed_errors(self.client):
            found = await asyncio.gather(*map(look, batch))
        return [trouble for trouble in found if trouble is not None]

    async def _described(self, run: str) -> WorkflowExecutionDescription | None:
        try:
            return await self.client.get_workflow_handle(run).describe()
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            return None  # it ended and is gone
