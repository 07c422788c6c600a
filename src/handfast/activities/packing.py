"""Keeping a part of a long conversation outside the history."""

from __future__ import annotations

import json

from temporalio.exceptions import ApplicationError

from handfast.activities.runtime import Runtime
from handfast.errors import ArtifactError
from handfast.payloads.evaluation import Evaluated, PackBlocks
from handfast.payloads.transcript import Block, Pack


async def pack_blocks(asked: PackBlocks, runtime: Runtime) -> Evaluated:
    """Keep blocks as one; the same ones lead to the same content, so that a retry changes nothing.

    Raises:
        ApplicationError: ``ArtifactFailed``: they could not be kept.
    """
    found = await runtime.blocks.some(asked.origin, asked.ids)
    pack = Pack(blocks=[Block(id=block_id, items=items) for block_id, items in found])
    data = json.dumps(pack.to_wire(), separators=(",", ":"), sort_keys=True).encode()
    try:
        packed = await runtime.artifacts.keep(data)
    except ArtifactError as error:
        raise ApplicationError(str(error), type="ArtifactFailed") from None
    runtime.blocks.cache.forget(asked.ids)  # from now on they are read as one
    return Evaluated(packed=packed)
