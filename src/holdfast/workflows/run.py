"""`AgentRun`: one agent run as a workflow of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from holdfast.errors import PayloadInvalidError
from holdfast.payloads.json_profile import JsonObject
from holdfast.payloads.runs import RunInput, RunPhase
from holdfast.payloads.undecodable import Undecodable
from holdfast.workflows.host import AgentHost

EXPECTED = 'AgentRun takes one object: {"agent": name, "input": text or items, …}'


@workflow.defn(name="AgentRun", sandboxed=False)
class AgentRun:
    """One agent run, from a request to a final answer.

    Takes ``*args`` and validates by hand: a start whose arguments do not fit would otherwise stop it for ever.
    """

    @workflow.init
    def __init__(self, *args: object) -> None:
        """Register the handlers before the first message; *args* are judged in `run`."""
        self._host = AgentHost(prefix="")

    @workflow.run
    async def run(self, *args: object) -> JsonObject:
        """Run the agent.

        Raises:
            ApplicationError: ``StartInvalid`` for wrong arguments, or whatever ended the run.
        """
        given = read_start(args)
        ending: RunPhase = "failed"
        try:
            result = await self._host.run_input(given)
            ending = "completed"
        except asyncio.CancelledError:
            ending = "cancelled"
            raise
        finally:
            self._host.close(ending)
            await workflow.wait_condition(workflow.all_handlers_finished)
        return result.to_wire()


def read_start(args: Sequence[object]) -> RunInput:
    """Read the one start argument.

    Raises:
        ApplicationError: ``StartInvalid``, saying what was expected.
    """
    if len(args) != 1:
        raise _invalid(f"{EXPECTED}; got {len(args)} arguments")
    if isinstance(args[0], Undecodable):
        raise _invalid(f"{EXPECTED}; the argument could not be decoded: {args[0].problem}")
    try:
        return RunInput.from_wire(args[0])
    except PayloadInvalidError as error:
        raise _invalid(f"{EXPECTED}; {'; '.join(error.problems)}") from None


def _invalid(message: str) -> ApplicationError:
    return ApplicationError(message, type="StartInvalid", non_retryable=True)
