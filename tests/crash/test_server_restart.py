"""What the server accepted is not lost when it is killed: the database file has it."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

from temporalio.client import Client

from handfast.server import EmbeddedServer
from handfast.testing import Lab, Reply, call
from support.desk import DONE, desk
from support.labs import Effects


async def test_a_pending_approval_outlives_a_kill_of_the_server(effects: Effects, tmp_path: Path) -> None:
    """The server is killed while an approval waits; started again, it still waits, and one decision is one effect."""
    server = await EmbeddedServer.start(tmp_path, port=0, ui=False)
    port = int(server.address.rpartition(":")[2])
    client = await Client.connect(server.address)
    script = [Reply(call("wipe", {"target": "t"}, "c1")), DONE]
    try:
        async with Lab([desk(effects)], script=script, client=client) as lab:
            run = await lab.start("desk")
            request = await lab.next_request(run)
            await lab.stop_worker()
            os.kill(json.loads((tmp_path / "server.json").read_text())["pid"], signal.SIGKILL)
            await server.close()
            server = await EmbeddedServer.start(tmp_path, port=port, ui=False)
            await lab.start_worker()
            assert [each.id for each in await run.pending()] == [request.id]
            await run.approve(request, decided_by="lead")
            assert (await run.result()).output == "done"
    finally:
        await server.close()
    assert effects == ["wipe t"]
