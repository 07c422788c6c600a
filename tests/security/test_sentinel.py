"""Fault row XL1: what a run says is found nowhere but with the model, the tool, and whoever has the key."""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import psutil
import pytest
from pydantic import SecretStr

from handfast import Agent, Secret, tool
from handfast.discretion import Discreet
from handfast.encryption.keyring import Keyring
from handfast.errors import RunFailedError
from handfast.server import EmbeddedServer
from handfast.testing import Lab, Reply, call, text
from support.clear import client_with, files_with, ring

SENTINEL = "s3ntin3l-q7x"


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Everything that is logged at DEBUG, as `handfast worker` would write it."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.addFilter(Discreet())
    root = logging.getLogger()
    levels = {name: logging.getLogger(name).level for name in ("", "openai", "httpx", "httpx2", "temporalio")}
    for name in levels:
        logging.getLogger(name).setLevel(logging.DEBUG)
    root.addHandler(handler)
    yield written
    root.removeHandler(handler)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def own_processes() -> str:
    """The command lines of this process and those that it has started."""
    me = psutil.Process()
    return str([each.cmdline() for each in [me, *me.children(recursive=True)] if each.is_running()])


@tool(approval=True)
async def pay(target: str, token: Annotated[SecretStr, Secret("env:PAY_TOKEN")]) -> str:
    """Pay."""
    return f"paid {target} with {token.get_secret_value()}: {SENTINEL}-result" + "." * 300_000


@tool(effect="read_only")
async def look(target: str) -> str:
    """Look."""
    raise ValueError(f"{target} {SENTINEL}-error")


desk = Agent("desk", instructions=f"Help {SENTINEL}-instructions.", model="m", tools=[pay, look])
WORDS = (
    Reply(call("pay", {"target": f"{SENTINEL}-args"}, "c1"), call("look", {"target": "x"}, "c2")),
    Reply(text(f"{SENTINEL}-answer")),
)


async def spoken(lab: Lab) -> str:
    """A run in which the sentinel is said wherever anything can be said; what the server shows of it."""
    run = await lab.start(
        "desk", f"{SENTINEL}-prompt", context={"who": f"{SENTINEL}-context"}, requested_by="requester"
    )
    request = await lab.next_request(run)
    await run.send(f"{SENTINEL}-message")
    await run.approve(request, decided_by="lead", note=f"{SENTINEL}-note")
    assert SENTINEL in str((await run.result()).output)
    handle = lab.client.get_workflow_handle(f"handfast-archive-{(await run._handle.describe()).run_id}")
    async with asyncio.timeout(30):
        await handle.result()
    failed = await lab.start("nobody", f"{SENTINEL}-bad")
    with pytest.raises(RunFailedError, match="nobody"):
        await failed.result()
    shown = [each.raw_info async for each in lab.client.list_workflows()]
    return f"{shown}{[history.events for history in await lab.histories(run)]}"


@pytest.mark.parametrize("keyring", [pytest.param(ring("k"), id="encrypted"), pytest.param(None, id="control")])
async def test_nothing_is_found_without_the_key(
    tmp_path: Path, log: io.StringIO, monkeypatch: pytest.MonkeyPatch, keyring: Keyring | None
) -> None:
    """XL1: in history, database, artifacts, archive, lists, logs at DEBUG and process list the words of a run are found
    nowhere; the same search finds them where nothing is encrypted, but in no log then either, and a secret never."""
    monkeypatch.setenv("PAY_TOKEN", f"{SENTINEL}-token-secret")
    places = {name: tmp_path / name for name in ("server", "artifacts", "archive")}
    async with (
        await EmbeddedServer.start(places["server"], port=0, ui=False) as own,
        Lab(
            [desk],
            script=WORDS,
            client=await client_with(own, keyring),
            artifacts=places["artifacts"],
            archive=places["archive"],
        ) as lab,
    ):
        shown = await spoken(lab)
        await lab.stop_worker()
        found = {name for name, place in places.items() if files_with(SENTINEL, place)}
        if SENTINEL in shown:
            found.add("history")
        assert SENTINEL not in own_processes()
        assert files_with("token-secret", tmp_path) == []
        assert "token-secret" not in shown
    assert SENTINEL not in log.getvalue()
    assert "temporalio" in log.getvalue() or len(log.getvalue()) > 1000
    assert found == (set() if keyring is not None else {"server", "artifacts", "archive", "history"})
