"""`AgentSession`: a conversation as a workflow, from its first message until it is closed."""

from __future__ import annotations

import asyncio

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from handfast.payloads.json_profile import JsonObject
from handfast.payloads.runs import RunPhase
from handfast.payloads.sessions import SessionInput
from handfast.workflows.handlers.decode import read_carry, read_start
from handfast.workflows.host import AgentHost

EXPECTED = 'AgentSession takes one object: {"agent": name, "import_items"?: items, …}'


@workflow.defn(name="AgentSession", sandboxed=False)
class AgentSession:
    """A conversation with an agent: every message that is sent to it gets a turn.

    Takes ``*args`` and validates by hand: a start whose arguments do not fit would otherwise stop it for ever.
    """

    @workflow.init
    def __init__(self, *args: object) -> None:
        """Register the handlers before the first message; *args* are judged in `run`."""
        carry = read_carry(args)
        self._continues = carry is not None
        self._host = AgentHost(None if carry is None else carry.to_wire(), prefix="")
        self._conversation = self._host.converse()
        self._host.refuse_other_signals()

    @workflow.run
    async def run(self, *args: object) -> JsonObject:
        """Answer messages until the session is closed.

        Raises:
            ApplicationError: ``StartInvalid`` for wrong arguments; ``ConversationTooLarge``.
        """
        try:
            if not self._continues:
                self._conversation.begin(read_start(args, EXPECTED, SessionInput))
        except ApplicationError:
            self._host.close("failed")
            raise
        # No `finally`: see `AgentRun.run`.
        try:
            result = await self._host.run_to_end(asyncio.create_task(self._conversation.run()))
        except ApplicationError:
            await self._end("failed")
            raise
        except asyncio.CancelledError:
            self._conversation.abandon()
            await self._end("cancelled")
            raise
        await self._end("completed")
        return result.to_wire()

    async def _end(self, how: RunPhase) -> None:
        self._host.close(how)
        await workflow.wait_condition(workflow.all_handlers_finished)
        await self._host.flush_notifications()
        await self._host.archive()
