"""Start workflows: check the input before it is sent, and set what a new run is found by."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, Literal

from temporalio.api.common.v1 import Payload
from temporalio.client import Client
from temporalio.common import SearchAttributePair, TypedSearchAttributes, WorkflowIDConflictPolicy
from temporalio.converter import WorkflowSerializationContext
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from handfast.definitions.agents.agent import Agent
from handfast.definitions.agents.registry import output_types
from handfast.definitions.schema.output_type import OutputType, built
from handfast.errors import PayloadInvalidError, RunExistsError, SearchAttributesMissingError
from handfast.payloads.json_profile import JsonObject, scrub
from handfast.payloads.media import with_references
from handfast.payloads.runs import RunInput, published_labels
from handfast.payloads.sessions import SessionInput
from handfast.storage.artifacts import ArtifactStore, keep_media, place_of_run
from handfast.temporal.rpc import typed_errors
from handfast.temporal.search_attributes import AGENT, LABELS, PENDING, STATUS, about_attributes
from handfast.workflows.agent_ref import AgentRef

logger = logging.getLogger(__name__)

TASK_TIMEOUT: Final = timedelta(seconds=5)
"""Time limit of one workflow task: a run whose worker was killed in the middle of one waits as long. A
replay has to fit in, and one of 4,000 events takes less than two seconds."""
SUMMARY_BYTES: Final = 240
ID_BYTES: Final = 1000
"""Longest workflow id that the server takes by default."""
START_BYTES: Final = 1_900_000
"""Most that a start may have, as it is sent: the server takes 2 MiB in one payload."""
ENCODING_ROOM: Final = 900_000
"""Room for a codec: only a start that could reach the limit with it is encoded twice."""


def agent_name(agent: str | Agent | AgentRef[Any]) -> str:
    """Return the name of an agent, however it is given: runs refer to it by name alone."""
    return agent if isinstance(agent, str) else agent.name


def readers_of(agent: str | Agent | AgentRef[Any]) -> Mapping[str, OutputType]:
    """Return the types of the answers by the name of the agent that gives them, as far as *agent* tells them.

    Raises:
        DefinitionError: An `AgentRef` has an output type that is no type.
    """
    if isinstance(agent, Agent):
        return output_types(agent)
    if isinstance(agent, AgentRef) and agent.output_type is not None:
        return {agent.name: built(agent.output_type, f"AgentRef {agent.name!r}")}
    return {}


def check_id(workflow_id: str, kind: str = "run") -> None:
    """Refuse an id that the server does not take.

    Raises:
        PayloadInvalidError: It is empty, too long, or no text that can be sent.
    """
    size = len(workflow_id.encode("utf-8", "surrogatepass"))
    if not 0 < size <= ID_BYTES or scrub(workflow_id) != workflow_id:
        raise PayloadInvalidError(kind, [f"id: a text of 1 to {ID_BYTES:,} bytes is needed"])


class Starter:
    """Starts the workflows of one client: on which task queue, with which search attributes.

    Attributes:
        client: Connected.
        task_queue: The queue on which they are started.
        task_timeout: Timeout of their workflow tasks.
    """

    def __init__(
        self, client: Client, task_queue: str, task_timeout: timedelta, artifacts: ArtifactStore | None = None
    ) -> None:
        self.client = client
        self.task_queue = task_queue
        self.task_timeout = task_timeout
        self._artifacts = artifacts
        self._warned = False

    async def start(self, given: RunInput, workflow_id: str, if_exists: Literal["fail", "attach"]) -> str | None:
        """Start a run; return the run id of its first history.

        Raises:
            PayloadInvalidError: The input is too large.
            RunExistsError: It goes on already, and *if_exists* is "fail".
        """
        wire = await self.fitting(given.to_start(), workflow_id)
        with typed_errors(self.client):
            return await self._start(given, wire, workflow_id, if_exists)

    async def _start(
        self, given: RunInput, wire: JsonObject, workflow_id: str, if_exists: Literal["fail", "attach"]
    ) -> str | None:
        attributes: TypedSearchAttributes | None = attributes_of(given)
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
                self.warn()
                continue
            return handle.result_run_id

    async def fitting(self, wire: JsonObject, workflow_id: str) -> JsonObject:
        """Return *wire*, with references in place of images and files where it would be too large with them.

        Raises:
            PayloadInvalidError: It is too large all the same, or nobody keeps images and files here.
            ArtifactError: The store did not take one.
        """
        try:
            await self.check_size(wire, workflow_id)
        except PayloadInvalidError:
            data: dict[str, bytes] = {}
            fields = [name for name in ("input", "import_items") if isinstance(wire.get(name), list)]
            referring = {**wire, **{name: with_references(wire[name], data) for name in fields}}
            if not data:
                raise
            if self._artifacts is None:
                size = sum(map(len, data.values()))
                problem = f"{size:,} bytes of images and files; keep them beside the history with artifacts=…"
                raise PayloadInvalidError("start", [f"{problem}, or give their addresses"]) from None
            await self.check_size(referring, workflow_id)
            await keep_media(place_of_run(self._artifacts, self.client.namespace, workflow_id), data)
            return referring
        return wire

    async def check_size(self, wire: JsonObject, workflow_id: str) -> None:
        """Refuse here what the server would refuse, and say what to do.

        Raises:
            PayloadInvalidError: The input is too large.
        """
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

    def warn(self) -> None:
        """Say once that the namespace lacks our search attributes."""
        if not self._warned:
            self._warned = True
            logger.warning("%s", SearchAttributesMissingError(self.client.namespace))


def attributes_of(given: RunInput | SessionInput) -> TypedSearchAttributes:
    """Make the search attributes with which a run or session begins."""
    pairs: list[SearchAttributePair[Any]] = [
        SearchAttributePair(STATUS, "running"),
        SearchAttributePair(AGENT, given.agent),
        SearchAttributePair(PENDING, 0),
    ]
    if given.labels:
        pairs.append(SearchAttributePair(LABELS, published_labels(given.labels)))
    return TypedSearchAttributes(pairs)


def _summary(given: RunInput) -> str:
    """Summarize the input in one line for Temporal's own page, which takes 400 bytes."""
    text = given.input if isinstance(given.input, str) else f"{len(given.input)} items"
    line = f"{given.agent}: {' '.join(text.split())}".encode("utf-8", "replace")
    return line.decode() if len(line) <= SUMMARY_BYTES else line[:SUMMARY_BYTES].decode(errors="ignore") + "…"
