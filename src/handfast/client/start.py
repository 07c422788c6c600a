"""Starting runs: what is checked before anything is sent, and what a new run is found by."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, Literal

from pydantic import BaseModel
from temporalio.api.common.v1 import Payload
from temporalio.client import Client
from temporalio.common import SearchAttributePair, TypedSearchAttributes, WorkflowIDConflictPolicy
from temporalio.converter import WorkflowSerializationContext
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from handfast.client.run import Run
from handfast.client.stores import Stores
from handfast.errors import PayloadInvalidError, RunExistsError, SearchAttributesMissingError
from handfast.payloads.history import GivenHistory, history_to_wire
from handfast.payloads.json_profile import JsonObject
from handfast.payloads.messages import OnMessage
from handfast.payloads.runs import RunInput, context_to_wire, published_labels
from handfast.temporal.rpc import typed_errors
from handfast.temporal.visibility import AGENT_KEY, LABELS_KEY, PENDING_KEY, STATUS_KEY, about_attributes

logger = logging.getLogger(__name__)

TASK_TIMEOUT: Final = timedelta(seconds=5)
"""How long a worker may take for one workflow task: what a run waits for whose worker was killed in the middle of it. A
replay has to fit in, and one of 4,000 events takes less than two seconds."""
SUMMARY_BYTES: Final = 240
START_BYTES: Final = 1_900_000
"""Most that a start may have, as it is sent: the server takes 2 MiB in one payload."""
ENCODING_ROOM: Final = 900_000
"""What a codec may add in all: only a start that could reach the limit with it is encoded twice."""


class _Unset:
    """Tells "not given" from None."""


UNSET: Final = _Unset()


class Starting:
    """Starts runs.

    Attributes:
        client: Connected.
        task_queue: Where runs are started.
        model_queue: Where their model calls go; None is the same.
        task_timeout: Of their workflow tasks.
    """

    def __init__(
        self,
        client: Client,
        task_queue: str,
        stores: Stores,
        model_queue: str | None = None,
        task_timeout: timedelta = TASK_TIMEOUT,
    ) -> None:
        """Take a client, the task queues of runs and of their model calls, and where the rest of runs is found."""
        self.client = client
        self.task_queue = task_queue
        self.stores = stores
        self.model_queue = model_queue
        self.task_timeout = task_timeout
        self._warned = False

    async def start(
        self,
        agent: str,
        input: str | list[JsonObject],
        *,
        id: str | None = None,
        context: JsonObject | BaseModel | None = None,
        max_turns: int | _Unset | None = UNSET,
        labels: Mapping[str, str] | None = None,
        requested_by: str | None = None,
        history: GivenHistory | None = None,
        stream: bool = False,
        on_message: OnMessage | None = None,
        if_exists: Literal["fail", "attach"] = "fail",
        segment_events: int | None = None,
        model_queue: str | None = None,
    ) -> Run:
        """Start a run.

        Args:
            agent: Its name; an unknown one fails the run at once.
            input: A text, or items as the Responses API takes them.
            id: The workflow id; random by default. At most one run of an id goes on at a time.
            context: The run's own data, as the agent's `context_type` reads it: a JSON object or a pydantic model. It
                is recorded, so no secrets.
            max_turns: Most model replies; None lifts the agent's own limit.
            labels: Up to 20, to find the run by.
            requested_by: Who asked: a claimed name, recorded.
            history: Let the model's provider keep the conversation, so that each request sends only what is new: a
                chain of stored responses, or a conversation. None sends it in full each time.
            stream: Tell what the model writes while it writes it, to whoever watches by `Run.stream`: where the workers
                have a stream of deltas, ``HandfastPlugin(deltas=…)``.
            on_message: What becomes of a message when no model call is to come: it opens a further turn where one is
                left (``"follow_up"``, the default), or is refused.
            if_exists: What to do when a run of this id goes on.
            segment_events: Events of its Temporal history after which it goes on in a fresh one; 2,000 by default.
            model_queue: Task queue of its model calls, whose workers may bound how many there are a second. By default
                the client's `model_queue`, else that of the run.

        Raises:
            PayloadInvalidError: The input is none, or above 1.9 MB, or the context is no JSON; nothing was started.
            RunExistsError: It goes on already, and *if_exists* is "fail".
            ServerUnavailableError: The server is away. NamespaceNotFoundError: It lacks the client's namespace.
        """
        given: dict[str, Any] = {
            "agent": agent,
            "input": input,
            "context": context_to_wire(context),
            "labels": dict(labels or {}),
            "requested_by": requested_by,
            "segment_events": segment_events,
            "history": history_to_wire(history),
            "stream": stream or None,
            "on_message": on_message,
            "model_queue": model_queue or self.model_queue,
        }
        if not isinstance(max_turns, _Unset):
            given["max_turns"] = max_turns
        checked = RunInput.from_wire(given)
        wire = checked.to_start()
        workflow_id = id or f"{agent}-{uuid.uuid4().hex[:12]}"
        await self._check_size(wire, workflow_id)
        with typed_errors(self.client):
            run_id = await self._start(checked, wire, workflow_id, if_exists)
        return Run(self.client, workflow_id, run_id, self.stores)

    # --- inside ---

    async def _start(
        self, given: RunInput, wire: JsonObject, workflow_id: str, if_exists: Literal["fail", "attach"]
    ) -> str | None:
        attributes: TypedSearchAttributes | None = self._attributes(given)
        while True:
            try:
                handle = await self.client.start_workflow(
                    "AgentRun",
                    wire,
                    id=workflow_id,
                    task_queue=self.task_queue,
                    task_timeout=self.task_timeout,
                    id_conflict_policy=(
                        WorkflowIDConflictPolicy.USE_EXISTING
                        if if_exists == "attach"
                        else WorkflowIDConflictPolicy.FAIL
                    ),
                    search_attributes=attributes,
                    static_summary=_summary(given),
                )
            except WorkflowAlreadyStartedError:
                raise RunExistsError(workflow_id) from None
            except RPCError as error:
                if attributes is None or not about_attributes(error):
                    raise
                attributes = None
                self._warn()
                continue
            return handle.result_run_id

    async def _check_size(self, wire: JsonObject, workflow_id: str) -> None:
        """Refuse here what the server would refuse, and say what to do."""
        converter = self.client.data_converter.with_context(
            WorkflowSerializationContext(namespace=self.client.namespace, workflow_id=workflow_id)
        )
        if converter.external_storage is not None:
            return  # the payload itself does not go to the server
        payloads: Sequence[Payload] = converter.payload_converter.to_payloads([wire])
        codec = converter.payload_codec
        if codec is not None and sum(each.ByteSize() for each in payloads) > START_BYTES - ENCODING_ROOM:
            payloads = await codec.encode(payloads)
        size = sum(each.ByteSize() for each in payloads)
        if size > START_BYTES:
            raise PayloadInvalidError(
                "start", [f"{size:,} bytes encoded, {START_BYTES:,} at most; give a reference and a tool that reads it"]
            )

    def _attributes(self, given: RunInput) -> TypedSearchAttributes:
        pairs: list[SearchAttributePair[Any]] = [
            SearchAttributePair(STATUS_KEY, "running"),
            SearchAttributePair(AGENT_KEY, given.agent),
            SearchAttributePair(PENDING_KEY, 0),
        ]
        if given.labels:
            pairs.append(SearchAttributePair(LABELS_KEY, published_labels(given.labels)))
        return TypedSearchAttributes(pairs)

    def _warn(self) -> None:
        if not self._warned:
            self._warned = True
            logger.warning("%s", SearchAttributesMissingError(self.client.namespace))


def _summary(given: RunInput) -> str:
    """One line for Temporal's own page, which takes 400 bytes."""
    text = given.input if isinstance(given.input, str) else f"{len(given.input)} items"
    line = f"{given.agent}: {' '.join(text.split())}".encode("utf-8", "replace")
    return line.decode() if len(line) <= SUMMARY_BYTES else line[:SUMMARY_BYTES].decode(errors="ignore") + "…"
