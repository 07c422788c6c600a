"""Keeps large outputs, images and files in the worker's store, and reads them piece by piece."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, Final, TypeVar

from pydantic import Field
from temporalio import activity

from handfast.activities.runtime.outputs import PARTS_TOO_LARGE
from handfast.definitions.tools.function_tool import Tool, tool
from handfast.errors import ArtifactError
from handfast.payloads.cutting import cut, whole_characters
from handfast.payloads.json_profile import JsonObject
from handfast.payloads.media import references_in, with_data
from handfast.payloads.tool_call import RESULT_BYTES, ToolOutcome
from handfast.payloads.transcript import READ_OUTPUT, Artifact
from handfast.storage.artifacts import ArtifactStore, place_of_run

logger = logging.getLogger(__name__)

STORE_S: Final = 20.0
"""Time limit of the store; after it the run goes on with a cut output."""
STORE_THREADS: Final = 8
PREVIEW_BYTES: Final = 16 * 1024
"""Bytes of such an output that the model reads at once."""
PIECE_BYTES: Final = 16 * 1024
LARGEST_PIECE_BYTES: Final = 128 * 1024
"""A piece is an output like any other: it enters the history, and the model's context."""

T = TypeVar("T")


class Artifacts:
    """The store of one worker, as its activities use it: each keeps and reads in the place of its own run."""

    def __init__(self, store: ArtifactStore | None) -> None:
        """Take the store; None keeps nothing."""
        self._store = store
        self._threads = ThreadPoolExecutor(STORE_THREADS, thread_name_prefix="handfast-artifact")
        self._last: tuple[tuple[str, str], bytes] | None = None

    @property
    def kept_here(self) -> bool:
        """True where the worker has a store."""
        return self._store is not None

    def place_of(self, workflow_id: str) -> ArtifactStore | None:
        """Return the part of the store that belongs to a run of this namespace; None without a store."""
        return None if self._store is None else place_of_run(self._store, activity.info().namespace, workflow_id)

    def close(self) -> None:
        """Let go of the threads; writes under way end by themselves."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def keep(self, data: bytes) -> Artifact:
        """Keep an output.

        Raises:
            ArtifactError: It could not be kept.
        """
        assert self._store is not None
        sha256 = hashlib.sha256(data).hexdigest()
        place = place_of_run(self._store, *_run())
        try:
            await self._in_thread(place.write, sha256, data)
        except Exception as error:
            raise _failed(sha256, "kept", error) from error
        return Artifact(sha256=sha256, bytes=len(data))

    async def keep_all(self, data: Mapping[str, bytes]) -> None:
        """Keep images and files.

        Raises:
            ArtifactError: One could not be kept.
        """
        await asyncio.gather(*map(self.keep, data.values()))

    async def with_data(self, items: list[JsonObject]) -> list[JsonObject]:
        """Return *items* with the images and files that they refer to, and a text in place of each that is lost.

        Raises:
            ArtifactError: The store cannot be reached.
        """
        wanted = sorted(references_in(items))
        if not wanted:
            return items
        found = await asyncio.gather(*map(self._media, wanted))
        whole: list[JsonObject] = with_data(items, dict(zip(wanted, found, strict=True)))
        return whole

    async def _media(self, sha256: str) -> bytes | None:
        """Return an image or file; None where the store has lost it, which another attempt would not change."""
        try:
            return await self.read(sha256)
        except ArtifactError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return None
            raise

    async def read(self, sha256: str) -> bytes:
        """Return an output.

        Raises:
            ArtifactError: It is not there, is not what it was, or cannot be reached.
        """
        if self._store is None:
            raise ArtifactError(sha256, "read", "this worker has no store; give its HandfastPlugin artifacts=…")
        named = (_run()[1], sha256)
        if self._last is not None and self._last[0] == named:
            return self._last[1]
        place = place_of_run(self._store, *_run())
        try:
            data = await self._in_thread(place.read, sha256)
        except Exception as error:
            raise _failed(sha256, "read", error) from error
        if hashlib.sha256(data).hexdigest() != sha256:
            raise ArtifactError(sha256, "read", "what is kept under this digest has another one: it was damaged")
        self._last = (named, data)
        return data

    async def _in_thread(self, work: Callable[..., T], *args: Any) -> T:
        working = asyncio.get_running_loop().run_in_executor(self._threads, work, *args)
        return await asyncio.wait_for(working, STORE_S)


def _run() -> tuple[str, str]:
    """Return the namespace and workflow id of the activity under way."""
    info = activity.info()
    return info.namespace, info.workflow_id or ""


def _failed(sha256: str, attempted: str, error: Exception) -> ArtifactError:
    """Word a failure of the store for the model. Its own message may hold paths and addresses: the log has it."""
    match error:
        case FileNotFoundError() if attempted == "read":
            problem = "it is not in this worker's store"
        case TimeoutError():
            problem = f"the store took longer than {STORE_S:g} s"
        case _:
            problem = f"the store failed ({type(error).__name__})"
    logger.error("the artifact %s could not be %s: %s", sha256, attempted, problem, exc_info=error)
    return ArtifactError(sha256, attempted, problem)


async def by_reference(artifacts: Artifacts, ended: ToolOutcome, whole: str) -> ToolOutcome:
    """Put an output that was cut into the store; return the outcome with its start and name.

    Where that fails, the output stays cut and says why: the tool has run, and is not run again for that.
    """
    if not artifacts.kept_here:
        return ended
    data = whole.encode()
    try:
        artifact = await artifacts.keep(data)
    except ArtifactError as error:
        shown, _ = cut(whole, RESULT_BYTES, f"; {error.brief}")
        return ended.model_copy(update={"output": shown})
    return ended.model_copy(update={"output": preview(data, artifact), "artifact": artifact})


async def with_media(artifacts: Artifacts, ended: ToolOutcome, media: Mapping[str, bytes]) -> ToolOutcome:
    """Put the images and files of an output into the store.

    Where that fails the model reads why: the tool has run, and is not run again for that.
    """
    size = sum(map(len, media.values()))
    problem = PARTS_TOO_LARGE.format(size=size, most=RESULT_BYTES)
    if artifacts.kept_here:
        try:
            await artifacts.keep_all(media)
        except ArtifactError as error:
            problem = f"{problem} ({error.brief})"
        else:
            return ended
    return ended.model_copy(update={"kind": "error", "output": problem, "form": None})


def preview(data: bytes, artifact: Artifact) -> str:
    """Return the part of an output in the store that the model reads at once."""
    shown = whole_characters(data, PREVIEW_BYTES)
    note = (
        f"[This is the start of the output: {shown:,} of {artifact.bytes:,} bytes, sha256 {artifact.sha256}. "
        f'{READ_OUTPUT}(id="{artifact.sha256}", offset={shown}) reads on.]'
    )
    return f"{data[:shown].decode()}\n{note}"


def read_output_tool(artifacts: Artifacts) -> Tool:
    """Return the tool with which a model reads more. The workflow checks that an output is of its conversation."""

    @tool(effect="read_only", name=READ_OUTPUT)
    async def read_output(
        id: str,
        offset: Annotated[int, Field(ge=0)] = 0,
        length: Annotated[int, Field(ge=1, le=LARGEST_PIECE_BYTES)] = PIECE_BYTES,
    ) -> str:
        """Read a part of a tool's output that was too large to be shown whole.

        Args:
            id: The sha256 that the output was shown with.
            offset: Where the part begins, in bytes; 0 by default.
            length: How many bytes to read, at most 131072; 16384 by default.
        """
        data = await artifacts.read(id)
        start = whole_characters(data, offset)
        end = whole_characters(data, start + length)
        if start == len(data):
            return f"[The output ends at byte {start:,}; there is nothing from there on.]"
        rest = f"offset={end} reads on" if end < len(data) else "this is its end"
        return f"[Bytes {start:,} to {end:,} of {len(data):,}; {rest}.]\n{data[start:end].decode()}"

    return read_output
