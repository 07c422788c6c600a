"""`Handfast`: start runs, find them, and decide what they ask."""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel
from temporalio.client import Client

from handfast.client import lists, many, records
from handfast.client.handle import AT_A_TIME
from handfast.client.lists import OpenRequest, RunInfo
from handfast.client.many import Decided, Started
from handfast.client.opening import Opening
from handfast.client.records import Erased
from handfast.client.run import Run
from handfast.client.session import Session
from handfast.client.start import TASK_TIMEOUT, Starter, agent_name, check_id, readers_of
from handfast.client.stores import Stores
from handfast.client.trouble import Trouble
from handfast.connection import DEFAULT_TASK_QUEUE, connect
from handfast.definitions.agents.agent import Agent
from handfast.definitions.schema.arguments import UNSET, Unset, checked_methods
from handfast.deltas.local import nearby_hub
from handfast.deltas.stream import DeltaStream, delta_stream
from handfast.encryption.codec import keyring_of
from handfast.encryption.converter import tolerant
from handfast.encryption.keyring import EncryptionAt
from handfast.payloads.history import GivenHistory, history_to_wire
from handfast.payloads.json_profile import JsonObject
from handfast.payloads.messages import OnMessage
from handfast.payloads.requests import Verdict
from handfast.payloads.runs import AnswerT_co, RunInput, RunPhase, context_to_wire
from handfast.payloads.sessions import OnBusy, SessionInput
from handfast.signing.key_files import signer_at
from handfast.storage.archive import archive_at
from handfast.storage.artifacts import ArtifactsAt, store_by_default, store_named
from handfast.storage.sealed_store import sealed_store
from handfast.workflows.agent_ref import AgentRef

if TYPE_CHECKING:
    from handfast.signing.signer import Signer

__all__ = ["Handfast"]


@checked_methods
class Handfast:
    """Start runs and sessions, find them, and decide what they ask: from any process, and mostly without a worker.

    Attributes:
        client: Temporal's, connected.
        task_queue: The queue on which runs are started.
        stores: Places of what the server does not have, or no longer has.
        model_queue: Queue of the model calls of runs that are started here; None is the same as *task_queue*.
        task_timeout: Timeout of the workflow tasks of runs that are started here.
    """

    def __init__(
        self,
        client: Client,
        *,
        task_queue: str | None = None,
        archive: str | os.PathLike[str] | None = None,
        artifacts: ArtifactsAt = None,
        deltas: str | DeltaStream | None = None,
        model_queue: str | None = None,
        task_timeout: timedelta = TASK_TIMEOUT,
        signer: Signer | str | os.PathLike[str] | None = None,
    ) -> None:
        """Use an existing client.

        Args:
            client: Connected; its converter and codec are used as they are.
            task_queue: Queue on which runs are started: ``HANDFAST_TASK_QUEUE``, else ``agents``.
            archive: Place in which the workers archive histories, as `HandfastPlugin` has it; ``HANDFAST_ARCHIVE`` by
                default.
            artifacts: Place of their large outputs, likewise: needed to erase them, and to read long conversations.
                The default is theirs, in the folder where this is made.
            deltas: Stream from which `Run.stream` reads deltas, likewise; ``HANDFAST_DELTAS`` by default.
            model_queue: Task queue of the model calls of the runs that are started; ``HANDFAST_MODEL_QUEUE`` by
                default, else the task queue itself.
            task_timeout: Time limit of one workflow task of a run that is started here. A run whose
                worker is killed in the middle of one waits as long; a replay of its history has to fit in.
            signer: Signs every decision: a `Signer`, or the path of its key; ``HANDFAST_SIGNING_KEY`` by default.
                Without any, decisions are not signed.

        Raises:
            DefinitionError: One of the places is none, or the key cannot be read.
        """
        queue = task_queue or os.environ.get("HANDFAST_TASK_QUEUE") or DEFAULT_TASK_QUEUE
        told = deltas or os.environ.get("HANDFAST_DELTAS") or None
        if told is not None:
            delta_stream(told, "Handfast")
        self.client = client
        self.task_queue = queue
        self.stores = Stores(
            archive_at(archive),
            sealed_store(
                store_by_default(store_named(artifacts), client.service_client.config.target_host), keyring_of(client)
            ),
            told,
            signer_at(signer),
        )
        self.model_queue = model_queue or os.environ.get("HANDFAST_MODEL_QUEUE") or None
        self.task_timeout = task_timeout
        self._starter = Starter(client, queue, task_timeout, self.stores.artifacts)

    @classmethod
    async def connect(
        cls,
        address: str | None = None,
        *,
        profile: str | None = None,
        namespace: str | None = None,
        task_queue: str | None = None,
        archive: str | os.PathLike[str] | None = None,
        artifacts: ArtifactsAt = None,
        deltas: str | DeltaStream | None = None,
        model_queue: str | None = None,
        signer: Signer | str | os.PathLike[str] | None = None,
        encryption: EncryptionAt = None,
    ) -> Handfast:
        """Connect as the environment says: ``TEMPORAL_ADDRESS``, a profile, mTLS, an API key, or the embedded server.

        Args:
            address: HOST:PORT.
            profile: A profile of Temporal's configuration file.
            namespace: By default as the environment says.
            task_queue: As for `Handfast` itself, like the following.
            archive: As there.
            artifacts: As there.
            deltas: As there.
            model_queue: As there.
            signer: As there.
            encryption: The workers' `Keyring`, or the file that holds it: needed to start, read and decide encrypted
                runs. By default the file that ``HANDFAST_ENCRYPTION_KEYS`` names; False for none.

        Raises:
            ServerUnavailableError: Nobody answers there.
            DefinitionError: One of the places is none, or *encryption* names no key ring.
        """
        client = await connect(
            address, profile=profile, namespace=namespace, data_converter=tolerant(None), encryption=encryption
        )
        if deltas is None and not os.environ.get("HANDFAST_DELTAS"):
            deltas = nearby_hub(client.service_client.config.target_host)
        return cls(
            client,
            task_queue=task_queue,
            archive=archive,
            artifacts=artifacts,
            deltas=deltas,
            model_queue=model_queue,
            signer=signer,
        )

    # --- starting ---

    async def start(
        self,
        agent: str | Agent[AnswerT_co] | AgentRef[AnswerT_co],
        input: str | list[JsonObject],
        *,
        id: str | None = None,
        context: JsonObject | BaseModel | None = None,
        max_turns: int | Unset | None = UNSET,
        labels: Mapping[str, str] | None = None,
        requested_by: str | None = None,
        history: GivenHistory | None = None,
        stream: bool = False,
        on_message: OnMessage | None = None,
        if_exists: Literal["fail", "attach"] = "fail",
        segment_events: int | None = None,
        model_queue: str | None = None,
        model: str | None = None,
        model_settings: Mapping[str, Any] | None = None,
    ) -> Run[AnswerT_co]:
        """Start a run.

        Args:
            agent: Its name, or the agent, whose name is taken; an unknown one fails the run at once.
            input: A text, or items as the Responses API takes them.
            id: The workflow id; random by default. At most one run of an id goes on at a time.
            context: The run's own data, as the agent's `context_type` reads it: a JSON object or a pydantic model. It
                is recorded, so no secrets.
            max_turns: Most model replies; None lifts the agent's own limit.
            labels: Up to 20, to find the run by.
            requested_by: The person who asks: a claimed name, recorded.
            history: Let the model's provider keep the conversation, so that each request sends only what is new: a
                chain of stored responses, or a conversation. None sends it in full each time.
            stream: Tell what the model writes while it writes it, to whoever watches by `Run.stream`: where the workers
                have a stream of deltas, ``HandfastPlugin(deltas=…)``.
            on_message: What becomes of a message when no model call is to come: it opens a further turn where one is
                left (``"follow_up"``, the default), or is refused.
            if_exists: ``"fail"`` or ``"attach"`` where a run of this id goes on.
            segment_events: Events of its Temporal history after which it goes on in a fresh one; 2,000 by default.
            model_queue: Task queue of its model calls, whose workers may bound how many there are a second. By default
                the client's `model_queue`, else that of the run.
            model: Name of the model for every agent of the run, in place of their own.
            model_settings: Settings that go before those of every agent of the run, as `Agent` takes them; None takes
                one away. They are recorded, so no secrets.

        Raises:
            PayloadInvalidError: The input is none, or above 1.9 MB, or the context is no JSON; nothing was started.
            RunExistsError: It goes on already, and *if_exists* is "fail".
            ServerUnavailableError: The server is away. NamespaceNotFoundError: It lacks the client's namespace.
        """
        name = agent_name(agent)
        given: dict[str, Any] = {
            "agent": name,
            "input": input,
            "context": context_to_wire(context),
            "labels": dict(labels or {}),
            "requested_by": requested_by,
            "segment_events": segment_events,
            "history": history_to_wire(history),
            "stream": stream or None,
            "on_message": on_message,
            "model_queue": model_queue or self.model_queue,
            "model": model,
            "model_settings": None if model_settings is None else dict(model_settings),
        }
        if not isinstance(max_turns, Unset):
            given["max_turns"] = max_turns
        checked = RunInput.from_wire(given)
        workflow_id = f"{name}-{uuid.uuid4().hex[:12]}" if id is None else id
        check_id(workflow_id)
        run_id = await self._starter.start(checked, workflow_id, if_exists)
        return Run(self.client, workflow_id, run_id, self.stores, readers_of(agent))

    async def start_many(
        self,
        items: Iterable[Mapping[str, Any]],
        *,
        concurrency: int = AT_A_TIME,
        if_exists: Literal["fail", "attach"] = "attach",
        on_result: Callable[[Started], None] | None = None,
    ) -> list[Started]:
        """Start many runs; one that fails stops no other.

        Give each an id: then the same call again attaches to what goes on by then instead of starting it twice.

        Args:
            items: The arguments of `start`, by name.
            concurrency: Most starts under way at a time.
            if_exists: Where an item says nothing of it: what to do when a run of its id goes on.
            on_result: Called with each result as it comes, in whatever order.

        Returns:
            One result for each item, in their order.

        Raises:
            TypeError: An item has an argument that `start` does not take, or lacks one; nothing was started.
            ValueError: *concurrency* is below 1.
        """
        return await many.start_many(
            self.start, items, concurrency=concurrency, if_exists=if_exists, on_result=on_result
        )

    def session(
        self,
        id: str,
        *,
        agent: str | Agent[AnswerT_co] | AgentRef[AnswerT_co] | None = None,
        import_items: Sequence[JsonObject] = (),
        context: JsonObject | BaseModel | None = None,
        max_turns: int | Unset | None = UNSET,
        labels: Mapping[str, str] | None = None,
        requested_by: str | None = None,
        max_session_turns: int | None = None,
        max_session_tokens: int | None = None,
        max_session_cost: Decimal | float | str | None = None,
        history: GivenHistory | None = None,
        on_message: OnBusy = "queue",
        stream: bool = False,
        segment_events: int | None = None,
        model_queue: str | None = None,
        model: str | None = None,
        model_settings: Mapping[str, Any] | None = None,
    ) -> Session[AnswerT_co]:
        """Name a conversation. With an *agent* its first message creates it, and everything else says how it begins;
        where it goes on already, none of that matters.

        Args:
            id: The workflow id: one conversation has it, for ever.
            agent: The agent that answers, or its name. None: the session has to exist.
            import_items: The conversation so far, as the Responses API takes it.
            context: As `start` takes it.
            max_turns: Most model replies for one message; None lifts the agent's own limit.
            labels: Up to 20, to find the session by.
            requested_by: The person who asks for it: a claimed name, recorded.
            max_session_turns: Most model replies of the whole session; None is no limit. Above it, the agent's
                `on_limit` says if a person is asked for more or the message fails; `raise_limits` raises it.
            max_session_tokens: Most tokens of the whole session, likewise.
            max_session_cost: Most money of the whole session, likewise.
            history: Let the model's provider keep the conversation, as `start` takes it.
            on_message: What happens to a message while another one is being answered: it waits for a turn of its own
                (*queue*), goes into the turn under way before the next model call (*steer*), or is refused.
            stream: Tell what the model writes while it writes it.
            segment_events: Events of its Temporal history after which it goes on in a fresh one.
            model_queue: Task queue of its model calls.
            model: As `start` takes it.
            model_settings: As `start` takes it.

        Raises:
            PayloadInvalidError: It cannot begin so: the id can be none, wrong items, labels or context, or more than
                1.9 MB.
        """
        check_id(id, "session")
        if agent is None:
            return Session(self.client, id, stores=self.stores)
        given: dict[str, Any] = {
            "agent": agent_name(agent),
            "import_items": list(import_items),
            "context": context_to_wire(context),
            "labels": dict(labels or {}),
            "requested_by": requested_by,
            "max_session_turns": max_session_turns,
            "max_session_tokens": max_session_tokens,
            "max_session_cost": max_session_cost,
            "history": history_to_wire(history),
            "on_message": on_message,
            "stream": stream or None,
            "segment_events": segment_events,
            "model_queue": model_queue or self.model_queue,
            "model": model,
            "model_settings": None if model_settings is None else dict(model_settings),
        }
        if not isinstance(max_turns, Unset):
            given["max_turns"] = max_turns
        opening = Opening(self._starter, id, SessionInput.from_wire(given))
        return Session(self.client, id, opening, self.stores, readers_of(agent))

    def run(self, id: str) -> Run:
        """Name a run that exists, the newest one of that id.

        Raises:
            PayloadInvalidError: The id can be none.
        """
        check_id(id)
        return Run(self.client, id, stores=self.stores)

    # --- across runs ---

    async def runs(
        self,
        *,
        status: RunPhase | None = None,
        agent: str | Agent | AgentRef[Any] | None = None,
        label: str | None = None,
        limit: int = 100,
    ) -> list[RunInfo]:
        """List runs: those that go on first, then those that ended, the newest of each first.

        Args:
            status: Only those that stand there.
            agent: Only those of this agent.
            label: Only those with this label, ``key=value``.
            limit: Most lines.

        Raises:
            SearchAttributesMissingError: The namespace lacks our search attributes.
            ServerUnavailableError: The server is away. NamespaceNotFoundError: It lacks the client's namespace.
        """
        return await lists.runs(self.client, status=status, agent=_name_or_none(agent), label=label, limit=limit)

    async def requests(
        self,
        *,
        agent: str | Agent | AgentRef[Any] | None = None,
        approver: str | None = None,
        labels: Mapping[str, str] | None = None,
        tool: str | None = None,
        order_by: Literal["age", "due"] = "age",
        limit: int = 1000,
    ) -> list[OpenRequest]:
        """List everything that waits for a person, across runs. The inbox needs no worker.

        Args:
            agent: Only requests of runs of this agent.
            approver: Only those that name this approver: a person, or a group as ``group:finance``. What anybody may
                decide names nobody.
            labels: Only those of runs that have all these labels.
            tool: Only those about a call of this tool.
            order_by: *age*: oldest first. *due*: the nearest deadline first, those without one last.
            limit: Most runs that are read.

        Raises:
            SearchAttributesMissingError: The namespace lacks our search attributes.
            ServerUnavailableError: The server is away. NamespaceNotFoundError: It lacks the client's namespace.
        """
        return await lists.requests(
            self.client,
            agent=_name_or_none(agent),
            approver=approver,
            labels=labels,
            tool=tool,
            order_by=order_by,
            limit=limit,
        )

    async def decide_many(
        self,
        requests: Sequence[OpenRequest],
        verdict: Verdict | Callable[[OpenRequest], Verdict],
        *,
        decided_by: str,
        note: str | None = None,
        concurrency: int = AT_A_TIME,
        on_result: Callable[[Decided], None] | None = None,
    ) -> list[Decided]:
        """Decide many requests; one that is refused stops no other.

        Each decision carries the digest of its request, so only what was listed is decided.

        Args:
            requests: As `requests` lists them.
            verdict: The same for all, or a function that says it for each.
            decided_by: A claimed name, recorded.
            note: Recorded beside each.
            concurrency: Most decisions under way at a time.
            on_result: Called with each result as it comes, in whatever order.

        Returns:
            One result for each request, in their order.

        Raises:
            ValueError: *concurrency* is below 1.
        """
        return await many.decide_many(
            self.client,
            self.stores,
            requests,
            verdict,
            decided_by=decided_by,
            note=note,
            concurrency=concurrency,
            on_result=on_result,
        )

    def attention(self, *, limit: int | None = None) -> AsyncGenerator[Trouble]:
        """Yield the runs that do not get on by themselves, each with what to do about it.

        The server is asked about each run that goes on, twenty at a time: its own mark for failing workflow tasks
        (``TemporalReportedProblems``) comes only after several attempts, half a minute in.

        Args:
            limit: Most runs that are asked about, the newest ones; None is all that go on.

        Raises:
            SearchAttributesMissingError: The namespace lacks our search attributes.
            ServerUnavailableError: The server is away. NamespaceNotFoundError: It lacks the client's namespace.
        """
        return lists.attention(self.client, limit=limit)

    # --- the record of a run ---

    def export(self, id: str) -> AsyncGenerator[JsonObject]:
        """Yield the whole record of a run, line by line, for a file of JSON lines.

        By their ``kind``: one *run* (its id, namespace, the format's version), then each *event* as `Run.events` yields
        it, each *item* of the conversations with its ``frame``, each *artifact* by its ``name`` in the store (where
        `Handfast(artifacts=…)` says where that is), and one *missing* where the conversation is not to be had any more.
        A run that goes on is taken out as far as it has come.

        Args:
            id: The workflow id: the newest run of it, over all its histories.

        Raises:
            RunNotFoundError: Neither the server nor an archive knows the run.
            HistoryExpiredError: A part of its history is gone. ArchiveDamagedError: Likewise, in the archive.
            ArchiveUnavailableError: The archive is away. ArtifactsUnavailableError: The store of artifacts is.
            TimeoutError: It has no archive, and no worker answered for the conversation.
            ArtifactError: A part of a long conversation is kept where this client cannot read it.
        """
        check_id(id)
        return records.export(self.client, self.stores, id)

    async def erase(self, id: str, *, terminate: bool = False) -> Erased:
        """Erase a run: its history on the server with those of all its continue-as-news, its artifacts, its archive.

        What other systems were told by its tools stays there; so do backups of the server's database and of the
        stores. Erasing again finds nothing, and is no error.

        Args:
            id: The workflow id; every run that ever had it is erased.
            terminate: End a run that goes on, at once: a call under way may take effect nevertheless.

        Raises:
            RunGoesOnError: It goes on, and *terminate* is False; nothing was erased.
            ArtifactsUnavailableError: Histories are erased, artifacts and archive are not: erase again once the store
                is back. ArchiveUnavailableError: Likewise, of the archive alone.
            TimeoutError: The server did not delete a history in time; erase again.
            ServerUnavailableError: The server is away. NamespaceNotFoundError: It lacks the client's namespace.
        """
        check_id(id)
        return await records.erase(self.client, self.stores, id, terminate=terminate)


def _name_or_none(agent: str | Agent | AgentRef[Any] | None) -> str | None:
    return None if agent is None else agent_name(agent)
