"""What the server cannot do for a client comes as one typed error, in one line, from every call."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import uuid
from collections.abc import AsyncIterator, Awaitable
from contextlib import suppress
from pathlib import Path

import pytest
from temporalio.client import Client
from temporalio.converter import DataConverter

from handfast import Handfast, Run
from handfast.errors import NamespaceNotFoundError, PayloadInvalidError, RunNotFoundError, ServerUnavailableError
from handfast.server import EmbeddedServer
from handfast.testing import Lab, Reply, call
from support.desk import DONE, desk
from support.labs import Effects
from support.lists import eventually
from support.neighbour import MirrorCodec


async def first(stream: AsyncIterator[object]) -> object:
    """The first element, or None."""
    return await anext(stream, None)


def every_call(hf: Handfast, run: Run) -> dict[str, Awaitable[object]]:
    """Each call of the library that asks the server something."""
    return {
        "start": hf.start("desk", "hello"),
        "runs": hf.runs(),
        "requests across runs": hf.requests(),
        "status": run.status(),
        "pending": run.pending(),
        "requests": first(run.requests()),
        "approve": run.approve("some-request", decided_by="lead"),
        "decision": run.decision("some-decision"),
        "cancel": run.cancel(),
        "result": run.result(),
        "result without people": run.result(wait_for_people=False),
    }


async def endings(calls: dict[str, Awaitable[object]]) -> dict[str, object]:
    """How each call ended."""
    return dict(zip(calls, await asyncio.gather(*calls.values(), return_exceptions=True), strict=True))


async def test_with_the_server_away_every_call_says_so() -> None:
    """A server that goes away after the client connected is one typed error with the remedy, whatever is called."""
    async with await EmbeddedServer.start(persistent=False, port=0, ui=False) as server:
        hf = Handfast(await Client.connect(server.address))
        run = await hf.start("desk", "hello")
    ended = await endings(every_call(hf, run))
    assert {name: type(error) for name, error in ended.items()} == dict.fromkeys(ended, ServerUnavailableError)
    for error in ended.values():
        assert server.address in str(error)
        assert "`handfast dev`" in str(error)
        assert "\n" not in str(error)


async def test_a_server_that_is_down_for_a_while_loses_nothing(effects: Effects, tmp_path: Path) -> None:
    """XA11: the server is killed and away for as long as a client waits: the decision gets a typed error with the
    remedy. Started again, the same worker is back without help, and the decision sent again is one effect."""
    server = await EmbeddedServer.start(tmp_path, port=0, ui=False)
    port = int(server.address.rpartition(":")[2])
    client = await Client.connect(server.address)
    try:
        async with Lab(
            [desk(effects)], script=[Reply(call("wipe", {"target": "t"}, "c1")), DONE], client=client
        ) as lab:
            run = await lab.start("desk")
            request = await lab.next_request(run)
            os.kill(json.loads((tmp_path / "server.json").read_text())["pid"], signal.SIGKILL)
            await server.close()
            with pytest.raises(ServerUnavailableError, match="`handfast dev`"):
                await run.approve(request, decided_by="lead", decision_id="d1")
            server = await EmbeddedServer.start(tmp_path, port=port, ui=False)
            receipt = await run.approve(request, decided_by="lead", decision_id="d1")
            assert (await run.result()).output == "done"
            assert receipt.state in ("recorded", "stored")

            async def known() -> bool:
                with suppress(TimeoutError):  # a worker that has not found back to all of its queues yet
                    return (await run.decision("d1")).state == "recorded"
                return False

            await eventually(known, 60)
    finally:
        await server.close()
    assert effects == ["wipe t"]


async def test_a_missing_namespace_is_no_missing_run(server: EmbeddedServer) -> None:
    """In a namespace that the server does not have, every call names the namespace and the remedy."""
    hf = Handfast(await Client.connect(server.address, namespace="nowhere"))
    ended = await endings(every_call(hf, hf.run("some-run")))
    assert {name: type(error) for name, error in ended.items()} == dict.fromkeys(ended, NamespaceNotFoundError)
    assert str(ended["start"]).startswith("there is no namespace nowhere; create it")


async def test_a_missing_run_is_told_from_a_missing_namespace(server: EmbeddedServer) -> None:
    """A run that the server does not know is not found, whatever words its id is made of."""
    hf = Handfast(await Client.connect(server.address))
    run = hf.run("namespace-not-found")
    for ask in (run.status(), run.pending(), run.cancel(), run.approve("r", decided_by="lead"), run.result()):
        with pytest.raises(RunNotFoundError, match="there is no run namespace-not-found"):
            await ask


@pytest.mark.parametrize("codec", [pytest.param(None, id="plain"), pytest.param(MirrorCodec(), id="codec")])
async def test_an_input_that_the_server_would_not_take_is_not_sent(
    server: EmbeddedServer, codec: MirrorCodec | None
) -> None:
    """An input above 1.9 MB, as it is encoded, is refused with its size and a way out; one below is started."""
    client = await Client.connect(server.address, data_converter=DataConverter(payload_codec=codec))
    hf = Handfast(client, task_queue="nobody-serves-it")
    refused = f"large-{uuid.uuid4().hex}"
    with pytest.raises(PayloadInvalidError, match=r"1,900,\d{3} bytes encoded, 1,900,000 at most; give a reference"):
        await hf.start("desk", "x" * 1_899_990, id=refused)
    with pytest.raises(RunNotFoundError):
        await hf.run(refused).status()
    run = await hf.start("desk", "x" * 1_890_000)
    await client.get_workflow_handle(run.id).terminate()
