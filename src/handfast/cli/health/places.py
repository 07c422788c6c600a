"""Read from the stores outside the server, to see whether they can be reached from here."""

from __future__ import annotations

import asyncio
from typing import Final

from handfast.cli.health.findings import Finding
from handfast.client.client import Handfast
from handfast.deltas.stream import delta_stream

NOBODY: Final = "handfast-doctor"
"""A name that no run has: reading what is not there is enough to know that the place answers."""
ANSWER_WITHIN_S: Final = 5.0


async def look_at_places(hf: Handfast) -> list[Finding]:
    """Read from each store that is configured here; the workers may have others."""
    found = [await _archive(hf), await _artifacts(hf), await _deltas(hf)]
    return [each for each in found if each is not None]


async def _archive(hf: Handfast) -> Finding | None:
    archive = hf.stores.archive
    if archive is None:
        return None
    return await _tried("archive", archive.segments(hf.client.namespace, NOBODY), "HANDFAST_ARCHIVE")


async def _artifacts(hf: Handfast) -> Finding | None:
    store = hf.stores.artifacts
    if store is None:
        return None
    reading = asyncio.to_thread(store.below(NOBODY).names)
    return await _tried("artifacts", reading, "HANDFAST_ARTIFACTS")


async def _deltas(hf: Handfast) -> Finding | None:
    told = hf.stores.deltas
    if told is None:
        return None
    stream = delta_stream(told, "doctor")
    try:
        return await _tried("deltas", stream.read(NOBODY, None, 0), "HANDFAST_DELTAS")
    finally:
        if isinstance(told, str):
            await stream.close()


async def _tried(name: str, reading: object, variable: str) -> Finding:
    assert asyncio.iscoroutine(reading)
    try:
        await asyncio.wait_for(reading, ANSWER_WITHIN_S)
    except Exception as error:  # noqa: BLE001 - whatever the medium says: it does not answer
        why = " ".join(str(error).split()) or type(error).__name__
        return Finding(name, "wrong", f"cannot be read from here: {why}", f"mend the place, or {variable}")
    return Finding(name, "ok", "can be read from here")
