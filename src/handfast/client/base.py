"""A run by its id: what of the server and of its worker can be reached through it."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable
from datetime import timedelta
from typing import Any, Final

from temporalio.client import (
    Client,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowHandle,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from handfast.client.stores import Stores
from handfast.encryption.converter import of_workflow
from handfast.errors import REFUSALS, RefusalError, RunEndedError, UpdateLimitError
from handfast.history.chain import chain_of, current
from handfast.payloads.json_profile import JsonObject
from handfast.payloads.runs import OWN_WORKFLOWS, RunPhase
from handfast.temporal.rpc import is_failed, is_not_ready, is_update_limit, typed_errors
from handfast.temporal.updates import patiently, turn

ANSWER_WITHIN: Final = timedelta(seconds=5)
"""How long a worker may take to answer."""
NO_WORKER: Final = frozenset(
    {RPCStatusCode.CANCELLED, RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.FAILED_PRECONDITION}
)
"""What a query meets where no worker polls: our deadline, the server's, or that nobody polled for a while."""
ENDED: Final[dict[WorkflowExecutionStatus, RunPhase]] = {
    WorkflowExecutionStatus.COMPLETED: "completed",
    WorkflowExecutionStatus.FAILED: "failed",
    WorkflowExecutionStatus.TIMED_OUT: "failed",
    WorkflowExecutionStatus.TERMINATED: "failed",
    WorkflowExecutionStatus.CANCELED: "cancelled",
}


class Reach:
    """The way to one run, and the errors that are met on it.

    Attributes:
        id: The workflow id.
    """

    def __init__(
        self, client: Client, workflow_id: str, run_id: str | None = None, stores: Stores | None = None
    ) -> None:
        """Name a run; nothing is asked of the server before the first method is awaited.

        Args:
            client: Connected.
            workflow_id: The run's.
            run_id: Of its first history; None takes the newest run of that id.
            stores: Where to find what the server does not have, or no longer has.
        """
        self.id = workflow_id
        self._client = client
        self._stores = stores or Stores()
        self._first = run_id
        self._handle: WorkflowHandle[Any, Any] = client.get_workflow_handle(workflow_id)
        self._converter = of_workflow(client, workflow_id)

    async def _events(self, *, wait: bool) -> AsyncIterator[Any]:
        with typed_errors(self._client, self.id):
            description = await self._describe()
            async for _, event in chain_of(self._client, self.id, description.run_id, wait=wait):
                yield event

    async def _describe(self) -> WorkflowExecutionDescription:
        with typed_errors(self._client, self.id):
            description = await current(self._client, self.id, self._first)
        # What goes on is reached in whichever history it is by then. Another run may bear the id of one that has ended:
        # what is said to this one must not reach that.
        goes_on = description.status is WorkflowExecutionStatus.RUNNING
        run_id = None if goes_on else description.run_id
        self._handle = self._client.get_workflow_handle(self.id, run_id=run_id)
        return description

    def _prefix(self, description: WorkflowExecutionDescription) -> str:
        return "" if description.workflow_type in OWN_WORKFLOWS else "handfast."

    async def _query(
        self,
        description: WorkflowExecutionDescription,
        name: str,
        *args: JsonObject,
        within: timedelta | None = None,
    ) -> Any:
        full = f"{self._prefix(description)}{name}"
        return await self._handle.query(full, args=args, rpc_timeout=within or ANSWER_WITHIN)

    async def _update(self, name: str, arg: JsonObject) -> object:
        """Send an update that only a worker can answer.

        Raises:
            UpdateLimitError: The run's history takes no further one.
        """
        description = await self._describe()
        if description.status is not WorkflowExecutionStatus.RUNNING:
            raise self._ended(description)
        full, update_id = f"{self._prefix(description)}{name}", str(uuid.uuid4())
        with typed_errors(self._client, self.id):
            try:
                answer = await self._answer(full, arg, update_id)
            except RPCError as error:
                if error.status is RPCStatusCode.NOT_FOUND:  # it ended in between
                    raise self._ended(await self._describe()) from error
                if is_update_limit(error):
                    raise UpdateLimitError(self.id) from error
                if not (is_not_ready(error) or is_failed(error)):
                    raise
                answer = None
        if answer is None:
            raise TimeoutError(f"no worker of {self.id} answered; look at its status, then try again")
        return answer

    async def _try_update(self, name: str, arg: JsonObject, update_id: str) -> Any:
        """Send an update that a signal can stand in for; None where only that is left."""
        try:
            return await self._answer(name, arg, update_id)
        except RPCError as error:
            if is_update_limit(error) or is_not_ready(error) or is_failed(error):
                return None
            raise

    async def _answer(self, name: str, arg: JsonObject, update_id: str) -> Any:
        """Send an update under one id, so that it counts once; None where no worker answers it in time."""

        def send() -> Awaitable[Any]:
            return answered(self._handle.execute_update(name, arg, id=update_id, rpc_timeout=ANSWER_WITHIN))

        async with turn(self.id) as mine:
            return await patiently(send) if mine else None

    async def _update_or_signal(self, name: str, arg: JsonObject, update_id: str) -> Any:
        """Send an update, or, where no worker answers it, the signal of the same name; None where that is left.

        Raises:
            RefusalError: One of its subclasses, from the worker; `RunEndedError` where the server says so.
            RunNotFoundError: The server does not know the run.
        """
        description = await self._describe()
        with typed_errors(self._client, self.id):
            while True:
                full = f"{self._prefix(description)}{name}"
                try:
                    answer = await self._try_update(full, arg, update_id)
                    if answer is None:
                        await patiently(lambda named=full: self._handle.signal(named, arg))  # type: ignore[misc]
                except RPCError as error:
                    if error.status is not RPCStatusCode.NOT_FOUND:
                        raise
                    former, description = description.run_id, await self._describe()
                    if description.status is WorkflowExecutionStatus.RUNNING and description.run_id != former:
                        continue  # it went on in a fresh history in between
                    raise self._ended(description) from error
                return answer

    def _ended(self, description: WorkflowExecutionDescription) -> RunEndedError:
        state = ENDED.get(description.status, "ended") if description.status else "ended"
        return RunEndedError(f"{self.id} has ended ({state}); nothing of it waits any longer", run=self.id, state=state)


async def answered(updating: Awaitable[Any]) -> Any:
    """What an update answers, which is never null; None where no worker did in time.

    Raises:
        RefusalError: The worker refused it; one of its subclasses.
        asyncio.CancelledError: The caller was cancelled.
    """
    try:
        return await updating
    except WorkflowUpdateFailedError as error:
        raise refusal_of(error.cause) from error
    except WorkflowUpdateRPCTimeoutOrCancelledError as error:
        if isinstance(error.__cause__, asyncio.CancelledError):
            raise error.__cause__ from None  # the caller's own cancellation: nothing more is sent
        return None


def refusal_of(cause: BaseException | None) -> Exception:
    """The refusal that an update's failure stands for."""
    if isinstance(cause, ApplicationError) and cause.type in REFUSALS:
        facts = cause.details[0] if cause.details else {}
        return REFUSALS[cause.type](cause.message, **(facts if isinstance(facts, dict) else {}))
    return RefusalError(str(cause))
