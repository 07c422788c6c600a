"""A run taken out as lines of JSON: its events, its conversation, and the names of what is kept beside it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from temporalio.client import Client

from handfast.archive import Stores
from handfast.artifacts import place_of_run
from handfast.errors import ArchiveDamagedError, HistoryExpiredError
from handfast.handle import Run
from handfast.payloads.events import RunStarted
from handfast.payloads.json_profile import JsonObject

FORMAT: Final = 1
"""Version of the lines; readers skip kinds and fields that they do not know."""


class Exporting:
    """Takes a run out."""

    client: Client
    stores: Stores

    async def export(self, id: str) -> AsyncIterator[JsonObject]:
        """Yield all that is known of a run, line by line, for a file of JSON lines.

        By their ``kind``: one *run* (its id, namespace, the format's version), then each *event* as `Run.events` yields
        it, each *item* of the conversations with its ``frame``, each *artifact* by its ``name`` in the store (where
        `Handfast(artifacts=…)` says where that is), and one *missing* where the conversation is not to be had any more.
        A run that goes on is taken out as far as it has come.

        Args:
            id: The workflow id: the newest run of it, over all its histories.

        Raises:
            RunNotFoundError: Neither the server nor an archive knows the run.
            HistoryExpiredError: A part of its history is gone. ArchiveDamagedError: Likewise, in the archive.
            ArchiveUnavailableError: The archive is away.
            TimeoutError: It has no archive, and no worker answered for the conversation.
            ArtifactError: A part of a long conversation is kept where this client cannot read it.
        """
        run = Run(self.client, id, stores=self.stores)
        frames: list[str] = []
        begun = False
        async for event in run.events(wait=False):
            if not begun:
                begun = True
                yield {"kind": "run", "format": FORMAT, "run": id, "namespace": self.client.namespace}
            if isinstance(event, RunStarted) and event.frame not in frames:
                frames.append(event.frame)
            yield {"kind": "event", "event": event.model_dump(mode="json", exclude_none=True)}
        for frame in frames:
            try:
                items = await run.transcript(frame=frame)
            except (HistoryExpiredError, ArchiveDamagedError) as error:
                yield {"kind": "missing", "what": "transcript", "frame": frame, "why": str(error)}
                continue
            for item in items:
                yield {"kind": "item", "frame": frame, "item": item}
        if self.stores.artifacts is not None:
            place = place_of_run(self.stores.artifacts, self.client.namespace, id)
            for name in await asyncio.to_thread(place.names):
                yield {"kind": "artifact", "name": name}
