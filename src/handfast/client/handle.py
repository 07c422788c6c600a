"""One workflow of ours by its id: describe it, query it, send it updates and signals."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final

from temporalio.api.history.v1 import HistoryEvent
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
from handfast.temporal.turns import in_turn, patiently, query_in_turn

ANSWER_WITHIN: Final = timedelta(seconds=5)
"""Limit of time for a worker's answer."""
AT_A_TIME: Final = 20
"""Calls to the server that are under way at a time where a client asks about many runs, starts or decides many."""
NO_WORKER: Final = frozenset(
    {RPCStatusCode.CANCELLED, RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.FAILED_PRECONDITION}
)
"""Answers to a query where no worker polls: our deadline, the server's, or that nobody polled for a while."""
PHASE_AT_END: Final[dict[WorkflowExecutionStatus, RunPhase]] = {
    WorkflowExecutionStatus.COMPLETED: "completed",
    WorkflowExecutionStatus.FAILED: "failed",
    WorkflowExecutionStatus.TIMED_OUT: "failed",
    WorkflowExecutionStatus.TERMINATED: "failed",
    WorkflowExecutionStatus.CANCELED: "cancelled",
}
"""Phase of a run by the status of its execution; what is not in it goes on."""


class Handle:
    """Describes one run or session, queries it, sends it updates and signals; raises our own errors.

    Attributes:
        id: The workflow id.
        client: Connected.
        stores: Places of what the server does not have, or no longer has.
        converter: Decodes the run's payloads; what cannot be decoded is a sentinel.
        first: Run id of its first history; None means the newest run of that id.
        workflow: Temporal's handle: of the history in which the run ended, or of whichever it goes on in.
        described: Run id of the history that was described last; None before.
    """

    def __init__(
        self, client: Client, workflow_id: str, run_id: str | None = None, stores: Stores | None = None
    ) -> None:
        """Name a run; nothing is asked of the server before the first method is awaited.

        Args:
            client: Connected.
            workflow_id: The run's.
            run_id: Run id of its first history; None means the newest run of that id.
            stores: Places of what the server does not have, or no longer has.
        """
        self.id = workflow_id
        self.client = client
        self.stores = stores or Stores()
        self.first = run_id
        self.workflow: WorkflowHandle[Any, Any] = client.get_workflow_handle(workflow_id)
        self.converter = of_workflow(client, workflow_id)
        self.described: str | None = None

    async def describe(self) -> WorkflowExecutionDescription:
        """Describe the history in which the run goes on, or the one in which it ended.

        Raises:
            RunNotFoundError: The server does not know the run.
        """
        with typed_errors(self.client, self.id):
            description = await current(self.client, self.id, self.first)
        # A run that goes on is reached in whichever history it is by then. Another run may bear the id of one that has
        # ended: a message to the one must not reach the other.
        goes_on = description.status is WorkflowExecutionStatus.RUNNING
        run_id = None if goes_on else description.run_id
        self.workflow = self.client.get_workflow_handle(self.id, run_id=run_id)
        self.described = description.run_id
        return description

    async def events(self, *, wait: bool) -> AsyncIterator[HistoryEvent]:
        """Yield the events of the history that goes on, and of those that follow it.

        Args:
            wait: Go on with events as they come, by long poll, until the run ends.
        """
        with typed_errors(self.client, self.id):
            description = await self.describe()
            async for _, event in chain_of(self.client, self.id, description.run_id, wait=wait):
                yield event

    def prefix(self, description: WorkflowExecutionDescription) -> str:
        """Return what our handlers' names begin with in this workflow: a user's own has other handlers too."""
        return "" if description.workflow_type in OWN_WORKFLOWS else "handfast."

    async def query(
        self,
        description: WorkflowExecutionDescription,
        name: str,
        *args: JsonObject,
        within: timedelta | None = None,
    ) -> Any:
        """Query the run; the SDK's errors pass, see `needs_worker`.

        Args:
            description: The run's.
            name: Of the query.
            args: Its arguments.
            within: For a query that is not worth a wait: it takes no turn.
        """
        full = f"{self.prefix(description)}{name}"

        def ask(within: timedelta) -> Awaitable[Any]:
            return self.workflow.query(full, args=args, rpc_timeout=within)

        return await (query_in_turn(self.id, ask, ANSWER_WITHIN) if within is None else ask(within))

    @contextmanager
    def needs_worker(self) -> Iterator[None]:
        """Turn the server's errors inside into ours; a query that no worker answered is a timeout.

        Raises:
            TimeoutError: No worker answered.
        """
        with typed_errors(self.client, self.id):
            try:
                yield
            except RPCError as error:
                if error.status not in NO_WORKER:
                    raise
                raise TimeoutError(f"no worker of {self.id} answered; ask again when one is back") from error

    async def update(self, name: str, arg: JsonObject) -> object:
        """Send an update that only a worker can answer.

        Raises:
            RefusalError: The worker refuses it; `RunEndedError` where the run has ended.
            TimeoutError: No worker answered.
            UpdateLimitError: The run's history takes no further one.
        """
        description = await self.describe()
        if description.status is not WorkflowExecutionStatus.RUNNING:
            raise self.ended(description)
        full, update_id = f"{self.prefix(description)}{name}", str(uuid.uuid4())
        with typed_errors(self.client, self.id):
            try:
                answer = await self._answer(full, arg, update_id, while_answered=ANSWER_WITHIN)
            except RPCError as error:
                if error.status is RPCStatusCode.NOT_FOUND:  # it ended in between
                    raise self.ended(await self.describe()) from error
                if is_update_limit(error):
                    raise UpdateLimitError(self.id) from error
                if not (is_not_ready(error) or is_failed(error)):
                    raise
                answer = None
        if answer is None:
            raise TimeoutError(f"no worker of {self.id} answered; look at its status, then try again")
        return answer

    async def _try_update(self, name: str, arg: JsonObject, update_id: str) -> Any:
        try:
            return await self._answer(name, arg, update_id)
        except RPCError as error:
            # The server refuses an update at once where the run's workflow task fails: the signal is stored then, as it
            # is where no worker runs.
            if is_update_limit(error) or is_not_ready(error) or is_failed(error):
                return None
            raise

    async def _answer(
        self, name: str, arg: JsonObject, update_id: str, *, while_answered: timedelta | None = None
    ) -> Any:
        """Send an update under one id, so that it counts once; None where no worker answers it in time."""

        def send() -> Awaitable[Any]:
            return answered(self.workflow.execute_update(name, arg, id=update_id, rpc_timeout=ANSWER_WITHIN))

        return await in_turn(self.id, send, while_answered=while_answered)

    async def update_or_signal(self, name: str, arg: JsonObject, update_id: str) -> Any:
        """Send an update, or, where no worker answers it, the signal of the same name; None after a signal.

        Raises:
            RefusalError: One of its subclasses, from the worker; `RunEndedError` where the server says so.
            RunNotFoundError: The server does not know the run.
        """
        description = await self.describe()
        with typed_errors(self.client, self.id):
            while True:
                full = f"{self.prefix(description)}{name}"
                try:
                    answer = await self._try_update(full, arg, update_id)
                    if answer is None:
                        await patiently(lambda named=full: self.workflow.signal(named, arg))  # type: ignore[misc]
                except RPCError as error:
                    if error.status is not RPCStatusCode.NOT_FOUND:
                        raise
                    former, description = description.run_id, await self.describe()
                    if description.status is WorkflowExecutionStatus.RUNNING and description.run_id != former:
                        continue  # it went on in a fresh history in between
                    raise self.ended(description) from error
                return answer

    def ended(self, description: WorkflowExecutionDescription) -> RunEndedError:
        """Make the refusal of a message to a run that has ended."""
        state = PHASE_AT_END.get(description.status, "ended") if description.status else "ended"
        return RunEndedError(f"{self.id} has ended ({state}); nothing of it waits any longer", run=self.id, state=state)


async def answered(updating: Awaitable[Any]) -> Any:
    """Wait for an update's answer, which is never null; None where no worker answered in time.

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
    """Read the refusal out of an update's failure."""
    if isinstance(cause, ApplicationError) and cause.type in REFUSALS:
        facts = cause.details[0] if cause.details else {}
        return REFUSALS[cause.type](cause.message, **(facts if isinstance(facts, dict) else {}))
    return RefusalError(str(cause))
