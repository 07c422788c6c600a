"""`handfast doctor`: what is wrong, and what to do about it."""

from __future__ import annotations

import asyncio
import socket
from importlib.metadata import version
from pathlib import Path
from typing import Any

from temporalio.api.workflowservice.v1 import RecordWorkerHeartbeatRequest
from temporalio.client import Client

from handfast import Agent, Handfast
from handfast.cli import exits
from handfast.cli.health.clock import server_ahead
from handfast.cli.health.workers import look_at_workers
from handfast.server import RETENTION, EmbeddedServer
from handfast.temporal.namespace import ensure_namespace
from support.commands import Cli, MakeCli
from support.crash.grpc_proxy import GrpcProxy
from support.labs import MakeLab


def of(document: dict[str, Any], check: str) -> list[dict[str, Any]]:
    """The findings of one check."""
    return [each for each in document["findings"] if each["check"] == check]


async def test_where_all_is_well_it_says_so(make_lab: MakeLab, cli: Cli, tmp_path: Path) -> None:
    """With a server, a worker and a place for archives that answers, nothing is wrong: the version of each is told."""
    lab = await make_lab([Agent("desk", model="m")])
    looking = cli.with_({"HANDFAST_ARCHIVE": str(tmp_path / "archive")})
    finished = await looking("doctor", "--task-queue", lab.task_queue, "--json")
    found = finished.document
    assert [each["state"] for each in of(found, "server")] == ["ok"]
    assert of(found, "server")[0]["facts"]["version"]
    assert [each["state"] for name in ("namespace", "search attributes", "clock") for each in of(found, name)] == [
        "ok"
    ] * 3
    assert of(found, "archive") == [
        {"check": "archive", "state": "ok", "said": "can be read from here", "remedy": "", "facts": {}}
    ]
    [polled] = [each for each in of(found, "workers") if each["facts"]["task_queue"] == lab.task_queue]
    assert polled["state"] == "ok"
    assert sorted(polled["facts"]["workers"][0]["polls"]) == ["activities", "workflows"]
    wrong = [each for each in found["findings"] if each["state"] == "wrong"]
    assert found["healthy"] is not bool(wrong)  # runs of other tests on this server may need attention
    assert finished.code == (exits.UNHEALTHY if wrong else exits.OK)


async def test_each_finding_names_its_remedy(cli: Cli, server: EmbeddedServer, tmp_path: Path) -> None:
    """A namespace without search attributes, a run that nobody serves, a store that is no folder: each is wrong, with
    what to do about it, in a table for people and as one document for programs; the code is 10."""
    client = await Client.connect(server.address, namespace="unhealthy")
    await ensure_namespace(client, "unhealthy", RETENTION)
    (tmp_path / "file").write_text("no folder")
    await client.start_workflow("AgentRun", {"agent": "desk", "input": "go"}, id="lost", task_queue="lonely")
    looking = cli.with_({"TEMPORAL_NAMESPACE": "unhealthy", "HANDFAST_ARTIFACTS": str(tmp_path / "file")})
    finished = await looking("doctor", "--task-queue", "lonely")
    assert finished.code == exits.UNHEALTHY
    for words in ("`handfast setup`", "HANDFAST_ARTIFACTS", "`handfast worker MODULE --task-queue lonely`", "wrong"):
        assert words in finished.out


async def test_without_a_server_it_says_how_to_start_one(make_cli: MakeCli) -> None:
    """Where nobody answers, that is the one finding."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        finished = await make_cli(f"127.0.0.1:{taken.getsockname()[1]}")("doctor", "--json")
    assert finished.code == exits.UNHEALTHY
    assert [each["state"] for each in finished.document["findings"]] == ["wrong"]
    assert "`handfast dev`" in finished.document["findings"][0]["said"]


class Overheard(GrpcProxy):
    """Hears when the server has taken what a worker says of itself: no event tells it."""

    def __init__(self, target: str) -> None:
        super().__init__(target)
        self.told = asyncio.Event()

    async def _send(self, method: str, request: bytes, context: Any) -> bytes:
        reply = await super()._send(method, request, context)
        if method.endswith("/RecordWorkerHeartbeat"):
            beats = RecordWorkerHeartbeatRequest.FromString(request).worker_heartbeat
            if any(beat.plugins for beat in beats):
                self.told.set()
        return reply


async def test_a_worker_tells_its_version(cli: Cli, server: EmbeddedServer) -> None:
    """A worker process says of itself which version of Handfast it has, and the doctor compares it with its own."""
    hf = Handfast(await Client.connect(server.address), task_queue="told-desk")
    async with Overheard(server.address) as proxy:
        serving = ("worker", "desk_agents", "--task-queue", hf.task_queue, "--address", proxy.address)
        worker = await cli.with_({"OPENAI_API_KEY": "none"}).start(*serving)
        await asyncio.wait_for(proxy.told.wait(), 60)
        [told] = [each for each in await look_at_workers(hf) if "here" in each.facts]
        assert told.facts["here"] == version("handfast")
        assert version("handfast") in str(told.facts["workers"])
        worker.terminate()
        await worker.wait()


async def test_the_servers_clock_is_compared(server: EmbeddedServer) -> None:
    """The time of the server is known to within what two calls take, though no call of it tells the time."""
    ahead_s = await server_ahead(await Client.connect(server.address))
    assert ahead_s is not None
    assert abs(ahead_s) < 0.5
