"""`Holdfast`: start runs, find them, and decide what they ask."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING

from temporalio.client import Client

from holdfast._key_files import signer_at
from holdfast.archive import Stores, archive_at
from holdfast.artifacts import ArtifactsAt, store_by_default, store_named
from holdfast.attention import Attention
from holdfast.connection import connect
from holdfast.conversing import Conversing
from holdfast.converter import tolerant
from holdfast.deltas import DeltaStream, delta_stream
from holdfast.deltas_local import nearby_hub
from holdfast.encryption import keyring_of
from holdfast.exporting import Exporting
from holdfast.handle import Run
from holdfast.keyring import EncryptionAt
from holdfast.many import Many
from holdfast.records import Records
from holdfast.sealed_store import sealed_store
from holdfast.starting import DEFAULT_TASK_QUEUE, TASK_TIMEOUT

if TYPE_CHECKING:
    from holdfast.signing import Signer

__all__ = ["DEFAULT_TASK_QUEUE", "Holdfast"]


class Holdfast(Many, Conversing, Attention, Exporting, Records):
    """The client's side: everything here works from any process, and most of it without a worker."""

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
            task_queue: Where runs are started: ``HOLDFAST_TASK_QUEUE``, else ``agents``.
            archive: Where the workers archive histories, as `HoldfastPlugin` has it; ``HOLDFAST_ARCHIVE`` by default.
            artifacts: Where they keep large outputs, likewise: needed to erase them, and to read long conversations.
                The default is theirs, in the folder where this is made.
            deltas: Where `Run.stream` reads what runs say on the way, likewise; ``HOLDFAST_DELTAS`` by default.
            model_queue: Task queue of the model calls of the runs that are started; ``HOLDFAST_MODEL_QUEUE`` by
                default, else the task queue itself.
            task_timeout: How long a worker may take for one workflow task of a run that is started here. A run whose
                worker is killed in the middle of one waits as long; a replay of its history has to fit in.
            signer: Signs every decision: a `Signer`, or the path of its key; ``HOLDFAST_SIGNING_KEY`` by default.
                Without any, decisions are not signed.

        Raises:
            DefinitionError: One of the places is none, or the key cannot be read.
        """
        queue = task_queue or os.environ.get("HOLDFAST_TASK_QUEUE") or DEFAULT_TASK_QUEUE
        told = deltas or os.environ.get("HOLDFAST_DELTAS") or None
        if told is not None:
            delta_stream(told, "Holdfast")
        stores = Stores(
            archive_at(archive),
            sealed_store(
                store_by_default(store_named(artifacts), client.service_client.config.target_host), keyring_of(client)
            ),
            told,
            signer_at(signer),
        )
        models = model_queue or os.environ.get("HOLDFAST_MODEL_QUEUE") or None
        super().__init__(client, queue, stores, models, task_timeout)

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
    ) -> Holdfast:
        """Connect as the environment says: ``TEMPORAL_ADDRESS``, a profile, mTLS, an API key, or the embedded server.

        Args:
            address: HOST:PORT.
            profile: A profile of Temporal's configuration file.
            namespace: By default as the environment says.
            task_queue: As for `Holdfast` itself, like the following.
            archive: As there.
            artifacts: As there.
            deltas: As there.
            model_queue: As there.
            signer: As there.
            encryption: The workers' `Keyring`, or the file that holds it: needed to start, read and decide encrypted
                runs. By default the file that ``HOLDFAST_ENCRYPTION_KEYS`` names; False for none.

        Raises:
            ServerUnavailableError: Nobody answers there.
            DefinitionError: One of the places is none, or *encryption* names no key ring.
        """
        client = await connect(
            address, profile=profile, namespace=namespace, data_converter=tolerant(None), encryption=encryption
        )
        if deltas is None and not os.environ.get("HOLDFAST_DELTAS"):
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

    def run(self, id: str) -> Run:
        """Name a run that exists, the newest one of that id."""
        return Run(self.client, id, stores=self.stores)
