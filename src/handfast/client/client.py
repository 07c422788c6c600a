"""`Handfast`: start runs, find them, and decide what they ask."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING

from temporalio.client import Client

from handfast.client.lists import Attention
from handfast.client.many import Many
from handfast.client.open_session import Conversing
from handfast.client.records import Exporting, Records
from handfast.client.run import Run
from handfast.client.start import TASK_TIMEOUT
from handfast.client.stores import Stores
from handfast.connection import DEFAULT_TASK_QUEUE, connect
from handfast.deltas.local import nearby_hub
from handfast.deltas.stream import DeltaStream, delta_stream
from handfast.encryption.codec import keyring_of
from handfast.encryption.converter import tolerant
from handfast.encryption.keyring import EncryptionAt
from handfast.signing.key_files import signer_at
from handfast.storage.archive import archive_at
from handfast.storage.artifacts import ArtifactsAt, store_by_default, store_named
from handfast.storage.sealed_store import sealed_store

if TYPE_CHECKING:
    from handfast.signing.signer import Signer

__all__ = ["Handfast"]


class Handfast(Many, Conversing, Attention, Exporting, Records):
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
            task_queue: Where runs are started: ``HANDFAST_TASK_QUEUE``, else ``agents``.
            archive: Where the workers archive histories, as `HandfastPlugin` has it; ``HANDFAST_ARCHIVE`` by default.
            artifacts: Where they keep large outputs, likewise: needed to erase them, and to read long conversations.
                The default is theirs, in the folder where this is made.
            deltas: Where `Run.stream` reads what runs say on the way, likewise; ``HANDFAST_DELTAS`` by default.
            model_queue: Task queue of the model calls of the runs that are started; ``HANDFAST_MODEL_QUEUE`` by
                default, else the task queue itself.
            task_timeout: How long a worker may take for one workflow task of a run that is started here. A run whose
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
        stores = Stores(
            archive_at(archive),
            sealed_store(
                store_by_default(store_named(artifacts), client.service_client.config.target_host), keyring_of(client)
            ),
            told,
            signer_at(signer),
        )
        models = model_queue or os.environ.get("HANDFAST_MODEL_QUEUE") or None
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

    def run(self, id: str) -> Run:
        """Name a run that exists, the newest one of that id."""
        return Run(self.client, id, stores=self.stores)
