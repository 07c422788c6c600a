"""A client is killed while it decides; it is asked again with the same decision id."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from handfast import Agent, Run, tool
from handfast.testing import Lab, Reply, call, text
from support.crash.grpc_proxy import GrpcProxy, Kill, Point, Side
from support.evidence import logged
from support.labs import Effects, MakeLab

TESTS = Path(__file__).parent.parent


async def asking(make_lab: MakeLab, effects: Effects) -> tuple[Lab, Run, str]:
    """A run whose one call waits for its approval."""

    @tool(approval=True)
    async def charge(order: str) -> str:
        """Charge an order."""
        effects.append(f"charge {order}")
        return "charged"

    agent = Agent("desk", model="m", tools=[charge])
    lab = await make_lab([agent], script=[Reply(call("charge", {"order": "7"})), Reply(text("done"))])
    run = await lab.start("desk")
    return lab, run, (await lab.next_request(run)).id


async def clicked(address: str, run: Run, request: str, proxy: GrpcProxy | None = None, side: Side = "after") -> str:
    """What a client process says of its decision; nothing where it is killed at its update."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "support.crash.clicker", address, run.id, request, "click-1"),
        cwd=TESTS,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])},
        stdout=asyncio.subprocess.PIPE,
    )
    if proxy is not None:
        proxy.plan(Point("UpdateWorkflowExecution", "decide 1", side), Kill(process.kill))
    async with asyncio.timeout(60):
        out, _ = await process.communicate()
    return out.decode().strip()


async def test_a_client_killed_before_its_answer_asks_again(make_lab: MakeLab, effects: Effects) -> None:
    """XA8: a client that is killed when its decision was accepted, and before it heard so, gets the same answer when it
    asks again: one decision, one record, one effect."""
    lab, run, request = await asking(make_lab, effects)
    server = lab.client.service_client.config.target_host
    async with GrpcProxy(server) as proxy:
        assert await clicked(proxy.address, run, request, proxy, "after") == ""
        assert proxy.hit.is_set()
    assert await clicked(server, run, request) == "recorded"  # as it was, word for word
    assert (await run.result()).output == "done"
    assert len(await logged(lab, run, "decided", 1)) == 1
    assert effects == ["charge 7"]


async def test_a_client_killed_before_it_decides_has_decided_nothing(make_lab: MakeLab, effects: Effects) -> None:
    """XA9: a client that is killed before its decision is sent has decided nothing; asked again, it decides once."""
    lab, run, request = await asking(make_lab, effects)
    server = lab.client.service_client.config.target_host
    async with GrpcProxy(server) as proxy:
        assert await clicked(proxy.address, run, request, proxy, "before") == ""
        assert proxy.hit.is_set()
    assert (await run.decision("click-1")).state == "unknown"
    assert [each.id for each in await run.pending()] == [request]
    assert await clicked(server, run, request) == "recorded"
    assert (await run.result()).output == "done"
    assert len(await logged(lab, run, "decided", 1)) == 1
    assert effects == ["charge 7"]
