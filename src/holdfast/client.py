"""`Holdfast`: start runs, find them, and decide what they ask."""

from __future__ import annotations

import os

from temporalio.client import Client

from holdfast.connection import connect
from holdfast.converter import tolerant
from holdfast.handle import Run
from holdfast.lists import Lists
from holdfast.starting import DEFAULT_TASK_QUEUE, Starting

__all__ = ["DEFAULT_TASK_QUEUE", "Holdfast"]


class Holdfast(Starting, Lists):
    """The client's side: everything here works from any process, and most of it without a worker."""

    def __init__(self, client: Client, *, task_queue: str | None = None) -> None:
        """Use an existing client.

        Args:
            client: Connected; its converter and codec are used as they are.
            task_queue: Where runs are started: ``HOLDFAST_TASK_QUEUE``, else ``agents``.
        """
        super().__init__(client, task_queue or os.environ.get("HOLDFAST_TASK_QUEUE") or DEFAULT_TASK_QUEUE)

    @classmethod
    async def connect(
        cls,
        address: str | None = None,
        *,
        profile: str | None = None,
        namespace: str | None = None,
        task_queue: str | None = None,
    ) -> Holdfast:
        """Connect as the environment says: ``TEMPORAL_ADDRESS``, a profile, mTLS, an API key, or the embedded server.

        Raises:
            ServerUnavailableError: Nobody answers there.
        """
        client = await connect(address, profile=profile, namespace=namespace, data_converter=tolerant(None))
        return cls(client, task_queue=task_queue)

    def run(self, id: str) -> Run:
        """Name a run that exists, the newest one of that id."""
        return Run(self.client, id)
