"""`AgentRun`: one agent run as a workflow of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from handfast.payloads.json_profile import JsonObject
from handfast.payloads.runs import RunInput, RunPhase, RunResult
from handfast.workflows.handlers.decode import read_carry, read_start
from handfast.workflows.host import AgentHost

EXPECTED = 'AgentRun takes one object: {"agent": name, "input": text or items, …}'


@workflow.defn(name="AgentRun", sandboxed=False)
class AgentRun:
    """One agent run, from a request to a final answer.

    Takes ``*args`` and validates by hand: a start whose arguments do not fit would otherwise stop it for ever.
    """

    @workflow.init
    def __init__(self, *args: object) -> None:
        """Register the handlers before the first message; *args* are judged in `run`."""
        carry = read_carry(args)
        self._continues = carry is not None
        self._host = AgentHost(None if carry is None else carry.to_wire(), prefix="")
        self._host.refuse_other_signals()

    @workflow.run
    async def run(self, *args: object) -> JsonObject:
        """Run the agent.

        Raises:
            ApplicationError: ``StartInvalid`` for wrong arguments, or whatever ended the run.
        """
        try:
            running = self._host.resume() if self._continues else self._begin(args)
        except ApplicationError:
            self._host.close("failed")
            raise
        # No `finally`: a worker that shuts down leaves its cached runs to the garbage collector, which would run it in
        # whatever workflow is under way by then, and publish there.
        try:
            result = await self._host.run_to_end(asyncio.create_task(running))
        except asyncio.CancelledError:
            await self._end("cancelled")
            raise
        except ApplicationError:
            await self._end("failed")
            raise
        await self._end("completed")
        return result.to_wire()

    def _begin(self, args: Sequence[object]) -> Coroutine[Any, Any, RunResult]:
        return self._host.run_input(read_start(args, EXPECTED, RunInput))

    async def _end(self, how: RunPhase) -> None:
        self._host.close(how)
        await workflow.wait_condition(workflow.all_handlers_finished)
        await self._host.flush_notifications()
        await self._host.archive()
