"""Share the deltas of `handfast dev`: other terminals in its folder see words while they are written."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from handfast.connection import connect_config
from handfast.deltas.hub import DeltaHub
from handfast.deltas.local import nearby_hub
from handfast.server.state import nearest_state

VARIABLE: Final = "HANDFAST_DELTAS"


@asynccontextmanager
async def own_deltas() -> AsyncIterator[DeltaHub | None]:
    """Keep the deltas of every plugin that is made meanwhile, unless the environment says where they go.

    Yields:
        The hub, for others to find; None where there is another.
    """
    running = nearest_state(Path.cwd())
    found = nearby_hub(running.address) if running is not None else None
    if found is not None or os.environ.get(VARIABLE):
        os.environ.setdefault(VARIABLE, found or "")
        yield None
        return
    async with DeltaHub() as hub:
        os.environ[VARIABLE] = hub.url
        try:
            yield hub
        finally:
            os.environ.pop(VARIABLE, None)


def join_deltas(address: str | None, profile: str | None) -> None:
    """Let plugins that are made from here on tell the `handfast dev` that runs the server, if one does."""
    if os.environ.get(VARIABLE):
        return
    found = nearby_hub(str(connect_config(address, profile)["target_host"]))
    if found is not None:
        os.environ[VARIABLE] = found
