"""Reading the deltas of a run."""

from __future__ import annotations

import asyncio

from handfast import Run
from handfast.deltas.reader import DeltaReader, Told
from handfast.deltas.stream import DeltaStream
from handfast.payloads.deltas import Delta, DeltasDiscarded
from handfast.testing import Lab


async def told(lab: Lab, run: Run, stream: DeltaStream, wait_s: float = 0) -> list[Delta | DeltasDiscarded]:
    """Everything that a stream has of a run; with *wait_s* there has to be something."""
    description = await lab.client.get_workflow_handle(run.id).describe()
    first = description.raw_description.workflow_execution_info.first_run_id
    found: list[Told] = []
    reader = DeltaReader(stream, first, lab.client.data_converter, found.append)
    if wait_s:
        async with asyncio.timeout(wait_s):
            while not await reader.more(wait_s):  # its connection may be one that the server has lost
                pass
    while await reader.more():
        pass
    assert not reader.away
    return [record for _, record in found]
