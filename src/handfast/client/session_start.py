"""How a session is opened by its first message: one call to the server that creates it, or finds it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final

from temporalio.client import (
    Client,
    WithStartWorkflowOperation,
)
from temporalio.common import TypedSearchAttributes, WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from handfast.client.base import ANSWER_WITHIN, answered
from handfast.errors import SessionClosedError
from handfast.payloads.json_profile import JsonObject
from handfast.temporal.rpc import is_update_limit, typed_errors
from handfast.temporal.visibility import about_attributes

WORKFLOW: Final = "AgentSession"


class Opening:
    """Sends messages to a session that may have to be created for them."""

    def __init__(
        self,
        client: Client,
        task_queue: str,
        session_id: str,
        wire: JsonObject,
        *,
        attributes: TypedSearchAttributes,
        task_timeout: timedelta,
        check: Callable[[JsonObject, str], Awaitable[None]],
        warn: Callable[[], None],
    ) -> None:
        """Remember how it would begin.

        Args:
            client: Connected.
            task_queue: Where it would be created.
            session_id: The workflow id.
            wire: What it begins with, as it is sent.
            attributes: The search attributes that it begins with, where the namespace has them.
            task_timeout: Of its workflow tasks.
            check: Refuses what the server would refuse to begin with.
            warn: Is told where the attributes are missing.
        """
        self._client = client
        self._task_queue = task_queue
        self._id = session_id
        self._wire = wire
        self._attributes: TypedSearchAttributes | None = attributes
        self._task_timeout = task_timeout
        self._check = check
        self._warn = warn

    async def check(self) -> None:
        """Refuse what would leave an empty session behind.

        Raises:
            PayloadInvalidError: What it begins with is above 1.9 MB.
        """
        await self._check(self._wire, self._id)

    async def update(self, message: JsonObject, update_id: str) -> Any:
        """Send a message by update, and create the session for it; None where no worker answers.

        Raises:
            RefusalError: The session refuses it. SessionClosedError: It has ended.
        """
        while True:
            operation: WithStartWorkflowOperation[Any, Any] = WithStartWorkflowOperation(
                WORKFLOW, self._wire, **self._start()
            )
            updating = self._client.execute_update_with_start_workflow(
                "send", message, start_workflow_operation=operation, id=update_id, rpc_timeout=ANSWER_WITHIN
            )
            try:
                with typed_errors(self._client, self._id):
                    return await answered(updating)
            except WorkflowAlreadyStartedError:
                with suppress(WorkflowAlreadyStartedError):
                    await operation.workflow_handle()  # else asyncio logs an error that nobody has looked at
                raise closed(self._id) from None
            except RPCError as error:
                if self._lacks_attributes(error):
                    continue
                if is_update_limit(error):
                    return None
                raise

    async def signal(self, message: JsonObject) -> None:
        """Leave a message with the server, which creates the session for it: it is read when a worker returns.

        Raises:
            SessionClosedError: It has ended.
        """
        while True:
            try:
                with typed_errors(self._client, self._id):
                    await self._client.start_workflow(
                        WORKFLOW, self._wire, **self._start(), start_signal="send", start_signal_args=[message]
                    )
            except WorkflowAlreadyStartedError:
                raise closed(self._id) from None
            except RPCError as error:
                if self._lacks_attributes(error):
                    continue
                raise
            return

    def _start(self) -> dict[str, Any]:
        """How it is created, where it does not exist."""
        return {
            "id": self._id,
            "task_queue": self._task_queue,
            "task_timeout": self._task_timeout,
            "id_reuse_policy": WorkflowIDReusePolicy.REJECT_DUPLICATE,
            "id_conflict_policy": WorkflowIDConflictPolicy.USE_EXISTING,
            "search_attributes": self._attributes,
        }

    def _lacks_attributes(self, error: RPCError) -> bool:
        """Whether the namespace lacks our search attributes: the session is then created without."""
        if self._attributes is None or not about_attributes(error):
            return False
        self._attributes = None
        self._warn()
        return True


def closed(session_id: str) -> SessionClosedError:
    """The refusal of a message to a session that has ended."""
    return SessionClosedError(
        f"the session {session_id} is closed, and takes no more messages; begin another one", session=session_id
    )
