"""Every command works on encrypted runs, with the key file that the environment names."""

from __future__ import annotations

import asyncio
import base64
import json
import signal
import stat
import urllib.error
import urllib.request
import uuid
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict

from handfast import Handfast, Keyring
from handfast.cli import exits
from handfast.cli.encryption import TOKEN
from handfast.connection import connect
from handfast.encryption.keyring import VARIABLE
from handfast.server import EmbeddedServer
from handfast.testing import Reply, ResponsesServer, text
from support.clear import clear
from support.command_desk import with_model
from support.commands import Cli, finish, said


async def test_a_key_ring_is_made_and_rotated(cli: Cli, tmp_path: Path) -> None:
    """`rekey` makes a file for its owner alone, adds keys for reading first, and shows no key."""
    file = tmp_path / "keys.json"
    made = await cli("rekey", str(file), "--id", "one")
    assert (made.code, made.out) == (exits.OK, f"{file}: one; one writes\n")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    later = await cli("rekey", str(file), "--id", "two", "--later", "--json")
    assert later.document == {"file": str(file), "keys": ["one", "two"], "current": "one"}
    used = await cli("rekey", str(file), "--use", "two")
    assert used.out == f"{file}: one, two; two writes\n"
    assert Keyring.from_file(file).current == "two"
    keys = json.loads(file.read_text())["keys"].values()
    assert not any(key in each.out + each.err for key in keys for each in (made, later, used))
    again = await cli("rekey", str(file), "--id", "two")
    assert again.code == exits.BAD_INPUT
    assert "must not be replaced" in again.line
    assert (await cli("rekey", str(file), "--use", "three")).code == exits.BAD_INPUT


async def decoded(url: str, token: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Ask the codec endpoint as Temporal's command line does."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    asked = urllib.request.Request(f"{url}/decode", json.dumps(body).encode(), headers)

    def ask() -> tuple[int, dict[str, Any]]:
        try:
            with urllib.request.urlopen(asked, timeout=30) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, json.load(refused)

    return await asyncio.to_thread(ask)


async def test_a_worker_and_the_codec_endpoint_share_a_key_file(
    cli: Cli, server: EmbeddedServer, tmp_path: Path
) -> None:
    """With the key file of the environment a worker process reads and writes encrypted runs; `codec` shows their
    payloads to whoever has its token, to nobody else, and both end when they are told to."""
    file, token, queue = tmp_path / "keys.json", "a-token-of-many-characters", f"sealed-{uuid.uuid4().hex[:8]}"
    assert (await cli("rekey", str(file), "--id", "one")).code == exits.OK
    async with ResponsesServer([Reply(text("Smith owes 7"))]) as model:
        here = with_model(cli, model).with_({VARIABLE: str(file), TOKEN: token})
        worker, codec = await asyncio.gather(
            here.start("worker", "desk_agents", "--task-queue", queue), here.start("codec", str(file))
        )
        url = (await said(codec, "ready: codec endpoint")).split()[-1]
        await said(worker, "ready")
        hf = await Handfast.connect(server.address, task_queue=queue, encryption=file)
        run = await hf.start("desk", "what does Smith owe?")
        assert (await run.result()).output == "Smith owes 7"
        worker.send_signal(signal.SIGTERM)
    plain = await connect(server.address, encryption=False)
    events = (await plain.get_workflow_handle(run.id).fetch_history()).events
    assert clear(events) == []
    asked = MessageToDict(events[0].workflow_execution_started_event_attributes.input)
    status, answer = await decoded(url, token, asked)
    assert status == 200
    assert json.loads(base64.b64decode(answer["payloads"][0]["data"]))["input"] == "what does Smith owe?"
    assert await decoded(url, token[:-1], asked) == (401, {"error": "token_required"})
    codec.send_signal(signal.SIGINT)
    ended = [await finish(worker), await finish(codec)]
    assert [each.code for each in ended] == [exits.OK] * 2
    keys = json.loads(file.read_text())["keys"].values()
    told = "".join(each.out + each.err for each in ended)
    assert not [word for word in ("Traceback", "Smith", token, *keys) if word in told]
