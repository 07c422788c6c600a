"""The transcript as activities see it: fetched from the workflow once, then kept by block id."""

from __future__ import annotations

import asyncio
import copy
import json
import re
from collections import OrderedDict
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final

from temporalio import activity
from temporalio.client import WorkflowQueryFailedError, WorkflowQueryRejectedError
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError

from handfast.activities.runtime.references import Artifacts
from handfast.errors import ArtifactError, PayloadInvalidError
from handfast.payloads.json_profile import JsonObject
from handfast.payloads.model_call import Origin
from handfast.payloads.transcript import Artifact, Pack, TranscriptPage, TranscriptQuery

CACHE_BYTES: Final = 64 * 1024 * 1024
KEPT_ORDERS: Final = 2000
QUERY_PATIENCE_S: Final = 60.0
FIRST_QUERY: Final = timedelta(seconds=4)
LONGEST_QUERY: Final = timedelta(seconds=30)
"""Time limit of one try. A worker that evicts the run just then may drop the query, which then is never answered; a
long run that has to be replayed first takes seconds."""
TOO_LARGE: Final = re.compile("size exceeds limit|size that exceeded the error limit|larger than max|length too large")
"""Words of the server ("Blob data size exceeds limit."), the SDK and gRPC for an answer that is too large."""


class BlockCache:
    """Blocks by id, least recently used first out; and the order of each frame's blocks.

    Never by position: the lost reply of an attempt that stalled would be taken for what the workflow recorded. An id
    that the workflow never heard of is never asked for.
    """

    def __init__(self, max_bytes: int = CACHE_BYTES) -> None:
        self._blocks: OrderedDict[str, tuple[list[JsonObject], int]] = OrderedDict()
        self._orders: OrderedDict[tuple[str, ...], list[str]] = OrderedDict()
        self._room = max_bytes

    def get(self, block_id: str) -> list[JsonObject] | None:
        """Return the items of a block; None where it is not in the cache."""
        known = self._blocks.get(block_id)
        if known is None:
            return None
        self._blocks.move_to_end(block_id)
        return known[0]

    def put(self, block_id: str, items: list[JsonObject]) -> None:
        """Keep a block, in the place of the oldest ones where there is no room.

        Keys are put in order: payload converters do the same or not, and what the model is sent must not depend on
        whether a block was kept here or came back from the workflow.
        """
        if block_id in self._blocks:
            return
        text = json.dumps(items, sort_keys=True)
        size = len(text) + 200
        self._blocks[block_id] = (json.loads(text), size)
        self._room -= size
        while self._room < 0 and len(self._blocks) > 1:
            _, (_, freed) = self._blocks.popitem(last=False)
            self._room += freed

    def order(self, frame: tuple[str, ...], after: str) -> list[str] | None:
        """Return the frame's block ids up to and including *after*; None where they are not in the cache."""
        known = self._orders.get(frame)
        if known is None or after not in known:
            return None
        return known[: known.index(after) + 1]

    def forget(self, block_ids: Sequence[str]) -> None:
        """Drop blocks that the model no longer reads."""
        for block_id in block_ids:
            _, freed = self._blocks.pop(block_id, (None, 0))
            self._room += freed

    def drop_before(self, frame: tuple[str, ...], block_id: str) -> None:
        """Forget a frame's blocks before *block_id*, and shorten their order: it begins with that one from now on."""
        known = self._orders.get(frame)
        if known is not None and block_id in known:
            at = known.index(block_id)
            self._orders[frame] = known[at:]
            self.forget(known[:at])

    def put_order(self, frame: tuple[str, ...], order: list[str]) -> None:
        """Keep the order of a frame's blocks."""
        self._orders[frame] = order
        self._orders.move_to_end(frame)
        while len(self._orders) > KEPT_ORDERS:
            self._orders.popitem(last=False)


class Blocks:
    """Fetches what the cache lacks, by the workflow's own paged query."""

    def __init__(self, cache: BlockCache, artifacts: Artifacts | None = None) -> None:
        self.cache = cache
        self._artifacts = artifacts

    async def transcript(
        self, origin: Origin, after: str | None, ids: Sequence[str]
    ) -> list[tuple[str, list[JsonObject]]]:
        """Return all blocks that the model has to see, by id, in order.

        Args:
            origin: Whose transcript.
            after: The last block of the previous call, None for the first.
            ids: The blocks since then.

        Raises:
            ApplicationError: ``TranscriptUnavailable``, where the workflow did not answer for a minute.
        """
        frame = _frame_of(origin)
        before: list[str] | None = [] if after is None else self.cache.order(frame, after)
        found: dict[str, list[JsonObject]] = {}
        if before is None:
            found = await self._fetch(origin, None)
            before = list(found)
            assert after is not None
            before = before[: before.index(after) + 1]
        order = [*before, *ids]
        blocks = await self._blocks(origin, order, found)
        self.cache.put_order(frame, order)
        return blocks

    def leave_out(self, origin: Origin, read_from: str) -> None:
        """Forget the order of the blocks before *read_from*: the workflow no longer counts them to the frame."""
        self.cache.drop_before(_frame_of(origin), read_from)

    async def some(self, origin: Origin, ids: Sequence[str]) -> list[tuple[str, list[JsonObject]]]:
        """Return these blocks alone, by id, in order."""
        return await self._blocks(origin, ids, {})

    async def whole(self, origin: Origin) -> list[JsonObject]:
        """Return all items of a frame, in order, as the workflow has them now: copies, which user code may change."""
        found = await self._fetch(origin, None)
        return [copy.deepcopy(item) for items in found.values() for item in items]

    async def ordered(self, origin: Origin) -> list[tuple[str, list[JsonObject]]]:
        """Return all blocks of a frame, by id, in order, as the workflow has them now."""
        return list((await self._fetch(origin, None)).items())

    async def block(self, origin: Origin, block_id: str) -> list[JsonObject]:
        """Return the items of one block."""
        [(_, items)] = await self._blocks(origin, [block_id], {})
        return items

    async def _blocks(
        self, origin: Origin, order: Sequence[str], found: dict[str, list[JsonObject]]
    ) -> list[tuple[str, list[JsonObject]]]:
        for block_id in order:
            if block_id not in found and (known := self.cache.get(block_id)) is not None:
                found[block_id] = known
        missing = [block_id for block_id in order if block_id not in found]
        if missing:
            found.update(await self._fetch(origin, missing))
        for block_id in order:
            if block_id not in found:
                raise ApplicationError(f"block {block_id} is not in the transcript", type="TranscriptUnavailable")
        return [(block_id, found[block_id]) for block_id in order]

    async def _fetch(self, origin: Origin, ids: Sequence[str] | None) -> dict[str, list[JsonObject]]:
        """Page through the query: the blocks *ids*, or all of them in order."""
        found: dict[str, list[JsonObject]] = {}
        more = True
        while more:
            query = TranscriptQuery(
                frame=origin.frame,
                epoch=origin.epoch,
                after=next(reversed(found), None) if ids is None else None,
                ids=None if ids is None else [block_id for block_id in ids if block_id not in found],
            )
            page = TranscriptPage.from_wire(await _query(origin.query, query.to_wire()))
            for block in page.blocks:
                items = block.items if block.packed is None else await self._unpacked(block.packed)
                self.cache.put(block.id, items)
                found[block.id] = self.cache.get(block.id) or items
            more = page.more and bool(page.blocks)
        return found

    async def with_data(self, items: list[JsonObject]) -> list[JsonObject]:
        """Return *items* with the images and files that they refer to.

        Raises:
            ApplicationError: ``TranscriptUnavailable``: one cannot be read here.
        """
        if self._artifacts is None:
            return items
        try:
            return await self._artifacts.with_data(items)
        except ArtifactError as error:
            raise ApplicationError(
                f"an image or file of the conversation is kept outside the history, and cannot be read: {error}",
                type="TranscriptUnavailable",
            ) from error

    async def _unpacked(self, kept: Artifact) -> list[JsonObject]:
        """Return the items of blocks that are kept outside the history."""
        assert self._artifacts is not None
        try:
            return Pack.from_wire(json.loads(await self._artifacts.read(kept.sha256))).items
        except (ArtifactError, PayloadInvalidError, ValueError) as error:
            raise ApplicationError(
                f"a part of the conversation is kept outside the history, and cannot be read: {error}",
                type="TranscriptUnavailable",
            ) from error


def _frame_of(origin: Origin) -> tuple[str, ...]:
    return (activity.info().workflow_id or "", origin.workflow_run, origin.frame, str(origin.epoch))


async def _query(name: str, arg: JsonObject) -> Any:
    """Query the activity's own workflow, with retries: a query that fails is no attempt of the model call."""
    info, client = activity.info(), activity.client()
    handle = client.get_workflow_handle(info.workflow_id or "", run_id=info.workflow_run_id)
    deadline = asyncio.get_running_loop().time() + QUERY_PATIENCE_S
    pause, patience = 0.1, FIRST_QUERY
    while True:
        try:
            return await handle.query(name, arg, rpc_timeout=patience)
        except (RPCError, WorkflowQueryFailedError, WorkflowQueryRejectedError) as error:
            if TOO_LARGE.search(str(error)):
                raise ApplicationError(
                    f"the transcript holds a block that is too large for a query: {error}",
                    type="TranscriptUnavailable",
                    non_retryable=True,
                ) from error
            if asyncio.get_running_loop().time() > deadline:
                raise ApplicationError(
                    f"the workflow did not answer its transcript query: {error}", type="TranscriptUnavailable"
                ) from error
        await asyncio.sleep(pause)
        pause, patience = min(pause * 2, 2.0), min(patience * 2, LONGEST_QUERY)
