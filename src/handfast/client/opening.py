"""Open a session by its first message: one call to the server that creates it, or finds it."""

from __future__ import annotations

from collections.abc import Awaitable
from contextlib import suppress
from typing import Any, Final

from temporalio.client import (
    WithStartWorkflowOperation,
)
from temporalio.common import TypedSearchAttributes, WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from handfast.client.handle import ANSWER_WITHIN, answered
from handfast.client.start import Starter, attributes_of
from handfast.errors import SessionClosedError
from handfast.payloads.json_profile import JsonObject
from handfast.payloads.sessions import SessionInput
from handfast.temporal.rpc import is_failed, is_not_ready, is_update_limit, typed_errors
from handfast.temporal.search_attributes import about_attributes
from handfast.temporal.turns import in_turn, patiently

WORKFLOW: Final = "AgentSession"


class Opening:
    """Sends messages to a session that may have to be created for them."""

    def __init__(self, starter: Starter, session_id: str, given: SessionInput) -> None:
        """Keep the input with which the session would begin.

        Args:
            starter: Creates it where it is missing.
            session_id: The workflow id.
            given: Its input.
        """
        self._starter = starter
        self._client = starter.client
        self._id = session_id
        self._wire = given.to_start()
        self._attributes: TypedSearchAttributes | None = attributes_of(given)

    async def check(self) -> None:
        """Refuse what would leave an empty session behind.

        Raises:
            PayloadInvalidError: Its input is above 1.9 MB.
        """
        self._wire = await self._starter.fitting(self._wire, self._id)

    async def update(self, message: JsonObject, update_id: str) -> Any:
        """Send a message by update, and create the session for it; None where no worker answers.

        Raises:
            RefusalError: The session refuses it. SessionClosedError: It has ended.
        """

        def send() -> Awaitable[Any]:
            return self._try_update(message, update_id)

        with typed_errors(self._client, self._id):
            try:
                return await in_turn(self._id, send)
            except RPCError as error:
                if is_update_limit(error) or is_not_ready(error) or is_failed(error):
                    return None
                raise

    async def _try_update(self, message: JsonObject, update_id: str) -> Any:
        while True:
            operation: WithStartWorkflowOperation[Any, Any] = WithStartWorkflowOperation(
                WORKFLOW, self._wire, **self._start()
            )
            updating = self._client.execute_update_with_start_workflow(
                "send", message, start_workflow_operation=operation, id=update_id, rpc_timeout=ANSWER_WITHIN
            )
            try:
                return await answered(updating)
            except WorkflowAlreadyStartedError:
                with suppress(WorkflowAlreadyStartedError):
                    await operation.workflow_handle()  # else asyncio logs an error that nobody has looked at
                raise closed(self._id) from None
            except RPCError as error:
                if not self._lacks_attributes(error):
                    raise

    async def signal(self, message: JsonObject) -> None:
        """Leave a message with the server, which creates the session for it: it is read when a worker returns.

        Raises:
            SessionClosedError: It has ended.
        """

        def start() -> Awaitable[Any]:
            return self._client.start_workflow(
                WORKFLOW, self._wire, **self._start(), start_signal="send", start_signal_args=[message]
            )

        while True:
            try:
                with typed_errors(self._client, self._id):
                    await patiently(start)
            except WorkflowAlreadyStartedError:
                raise closed(self._id) from None
            except RPCError as error:
                if self._lacks_attributes(error):
                    continue
                raise
            return

    def _start(self) -> dict[str, Any]:
        return {
            "id": self._id,
            "task_queue": self._starter.task_queue,
            "task_timeout": self._starter.task_timeout,
            "id_reuse_policy": WorkflowIDReusePolicy.REJECT_DUPLICATE,
            "id_conflict_policy": WorkflowIDConflictPolicy.USE_EXISTING,
            "search_attributes": self._attributes,
        }

    def _lacks_attributes(self, error: RPCError) -> bool:
        """Learn from an error that the namespace lacks our search attributes: the session is created without them."""
        if self._attributes is None or not about_attributes(error):
            return False
        self._attributes = None
        self._starter.warn()
        return True


def closed(session_id: str) -> SessionClosedError:
    """Make the refusal of a message to a session that has ended."""
    return SessionClosedError(
        f"the session {session_id} is closed, and takes no more messages; begin another one", session=session_id
    )
