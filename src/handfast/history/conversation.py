"""Read a whole conversation from the workflow that holds it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final

from temporalio.client import WorkflowHandle

from handfast.errors import ArtifactError
from handfast.payloads.json_profile import JsonObject
from handfast.payloads.media import references_in, with_data
from handfast.payloads.transcript import Artifact, Pack, TranscriptPage, TranscriptQuery
from handfast.storage.artifacts import ArtifactStore
from handfast.temporal.turns import query_in_turn

PAGE_WITHIN: Final = timedelta(seconds=15)
"""Limit of time for one page: a run that nobody remembers is replayed first."""
PACK_S: Final = 60.0


async def whole_transcript(
    handle: WorkflowHandle[Any, Any], query: str, frame: str, place: ArtifactStore | None
) -> list[JsonObject]:
    """Read all items of one loop's conversation, in order, those that its model no longer reads included.

    Args:
        handle: The run, which may have ended: a worker replays it.
        query: Name of its transcript query.
        frame: The loop.
        place: The store in which the run keeps parts of a long conversation; None where that is not known here.

    Raises:
        RPCError: No worker answered, or the server does not know the run.
        WorkflowQueryFailedError: The worker could not answer.
        PayloadInvalidError: Its answer is no page.
        ArtifactError: A part that is kept outside the history cannot be read.
    """
    return await read_transcript(handle, query, TranscriptQuery(frame=frame, whole=True), place)


async def read_transcript(
    handle: WorkflowHandle[Any, Any], query: str, asked: TranscriptQuery, place: ArtifactStore | None
) -> list[JsonObject]:
    """Read all items that a query asks for, page by page; errors are those of `whole_transcript`."""
    items: list[JsonObject] = []
    after: str | None = None
    while True:
        asked = asked.model_copy(update={"after": after})

        def page(within: timedelta, asked: TranscriptQuery = asked) -> Awaitable[Any]:
            return handle.query(query, asked.to_wire(), rpc_timeout=within)

        found = TranscriptPage.from_wire(await query_in_turn(handle.id, page, PAGE_WITHIN))
        for block in found.blocks:
            items.extend(block.items if block.packed is None else await _unpacked(block.packed, place))
            after = block.id
        if not found.more or not found.blocks:
            return await with_media(items, place)


async def with_media(items: list[JsonObject], place: ArtifactStore | None) -> list[JsonObject]:
    """Return *items* with their images and files, as far as the store that is known here has them."""
    if place is None:
        return items
    data: dict[str, bytes] = {}
    for sha256 in sorted(references_in(items)):
        with suppress(OSError, TimeoutError, ValueError):
            data[sha256] = await asyncio.wait_for(asyncio.to_thread(place.read, sha256), PACK_S)
    whole: list[JsonObject] = with_data(items, data)
    return whole


async def _unpacked(kept: Artifact, place: ArtifactStore | None) -> list[JsonObject]:
    if place is None:
        raise ArtifactError(kept.sha256, "read", "no store is known here; give Handfast(artifacts=…) the workers' one")
    try:
        data = await asyncio.wait_for(asyncio.to_thread(place.read, kept.sha256), PACK_S)
        return Pack.from_wire(json.loads(data)).items
    except Exception as error:  # the medium's own, whichever it is
        raise ArtifactError(kept.sha256, "read", f"the store failed ({type(error).__name__})") from error
