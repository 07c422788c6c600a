"""The embedded server, as the real program: what a start leaves behind, and what a second one finds."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import psutil
import pytest
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client, WorkflowExecutionStatus

from handfast.errors import PortBusyError, ServerBinaryMissingError, ServerStartError
from handfast.server import EmbeddedServer
from handfast.server.process import ensure_binary, find_binary
from handfast.server.state import ServerState, read_state, write_state
from handfast.temporal.search_attributes import SEARCH_ATTRIBUTES

DEADLINE_S = 30

OTHER_PROCESS = """
import asyncio, json, sys
from pathlib import Path
from handfast.server import EmbeddedServer

async def main():
    server = await EmbeddedServer.start(Path(sys.argv[1]), port=0, ui=False)
    print(json.dumps([server.address, server.started_here]), flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    await server.close()

asyncio.run(main())
"""


class OtherProcess:
    """A second Python that starts the server of a folder and holds it until told to end."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.pid = process.pid

    @classmethod
    async def launch(cls, directory: Path) -> OtherProcess:
        pipe = asyncio.subprocess.PIPE
        line = (sys.executable, "-c", OTHER_PROCESS, str(directory))
        return cls(await asyncio.create_subprocess_exec(*line, stdin=pipe, stdout=pipe))

    async def answer(self) -> tuple[str, bool]:
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), DEADLINE_S)
        address, started_here = json.loads(line)
        return str(address), bool(started_here)

    async def end(self) -> None:
        await asyncio.wait_for(self._process.communicate(b"\n"), DEADLINE_S)

    async def kill(self) -> None:
        self._process.kill()
        await asyncio.wait_for(self._process.communicate(), DEADLINE_S)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("server")


@pytest.fixture(scope="module")
async def server(home: Path) -> AsyncIterator[EmbeddedServer]:
    async with await EmbeddedServer.start(home, port=0) as server:
        yield server


@pytest.fixture(scope="module")
async def client(server: EmbeddedServer) -> Client:
    return await Client.connect(server.address)


def state_of(directory: Path) -> ServerState:
    state = read_state(directory)
    assert state is not None
    return state


def end_by_pid(pid: int) -> None:
    process = psutil.Process(pid)
    process.send_signal(signal.SIGTERM)
    process.wait(DEADLINE_S)


def id_of_ended_process() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        return gone.pid


async def answers(address: str) -> bool:
    try:
        await Client.connect(address)
    except RuntimeError:
        return False
    return True


@pytest.mark.quick
async def test_it_starts_quickly(tmp_path: Path) -> None:
    """A first start, with an empty folder, answers in well under five seconds."""
    began = time.monotonic()
    async with await EmbeddedServer.start(tmp_path / "new", port=0) as server:
        assert time.monotonic() - began < 5
        assert server.started_here
        assert await answers(server.address)


async def test_it_registers_the_search_attributes(client: Client) -> None:
    """The six attributes by which runs are listed exist, with the types of the wire."""
    listed = await client.operator_service.list_search_attributes(ListSearchAttributesRequest(namespace="default"))
    assert set(SEARCH_ATTRIBUTES) <= set(listed.custom_attributes)
    assert len(SEARCH_ATTRIBUTES) == 6


async def test_it_keeps_ended_runs_for_ninety_days(client: Client) -> None:
    """The server itself says that its retention is 90 days, not the stock 24 hours."""
    described = await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace="default"))
    assert described.config.workflow_execution_retention_ttl.ToTimedelta() == timedelta(days=90)


async def test_it_listens_on_loopback_only(server: EmbeddedServer, home: Path) -> None:
    """No port of the server, web pages and internal ones included, can be reached from another machine."""
    process = psutil.Process(state_of(home).pid)
    listening = [c.laddr for c in process.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
    assert server.address in {f"{ip}:{port}" for ip, port in listening}
    assert {ip for ip, _ in listening} == {"127.0.0.1"}


async def test_its_web_pages_are_served(server: EmbeddedServer) -> None:
    """The address that is printed for Temporal's page is one where something listens."""
    assert server.ui_url is not None
    host, port = server.ui_url.removeprefix("http://").split(":")
    _, writer = await asyncio.wait_for(asyncio.open_connection(host, int(port)), DEADLINE_S)
    writer.close()
    await writer.wait_closed()


async def test_a_second_start_uses_the_first(server: EmbeddedServer, home: Path) -> None:
    """Starting again in one process gives the same server, and closing that leaves it running."""
    second = await EmbeddedServer.start(home)
    assert (second.address, second.ui_url, second.started_here) == (server.address, server.ui_url, False)
    await second.close()
    assert await answers(server.address)


async def test_a_start_from_another_process_uses_the_first(server: EmbeddedServer, home: Path) -> None:
    """Another process finds the server too, and its end leaves it running."""
    other = await OtherProcess.launch(home)
    assert await other.answer() == (server.address, False)
    await other.end()
    assert await answers(server.address)


async def test_a_later_start_may_ask_for_another_namespace(server: EmbeddedServer, home: Path) -> None:
    """A namespace that a later start names is made in the running server, attributes included."""
    await EmbeddedServer.start(home, namespace="second")
    client = await Client.connect(server.address, namespace="second")
    listed = await client.operator_service.list_search_attributes(ListSearchAttributesRequest(namespace="second"))
    assert set(SEARCH_ATTRIBUTES) <= set(listed.custom_attributes)


async def test_two_starts_at_the_same_moment_yield_one_server(tmp_path: Path) -> None:
    """Two processes race for one folder: exactly one starts the server, and both have its address."""
    racers = [await OtherProcess.launch(tmp_path) for _ in range(2)]
    replies = [await racer.answer() for racer in racers]
    assert len({address for address, _ in replies}) == 1
    assert sorted(started_here for _, started_here in replies) == [False, True]
    for racer in racers:
        await racer.end()
    assert read_state(tmp_path) is None


async def test_a_server_outlives_a_killed_owner_and_is_found(tmp_path: Path) -> None:
    """After a kill -9 of the process that started it, the next start goes on with the same server."""
    owner = await OtherProcess.launch(tmp_path)
    address, _ = await owner.answer()
    await owner.kill()
    pid = state_of(tmp_path).pid
    try:
        heir = await EmbeddedServer.start(tmp_path)
        assert (heir.address, heir.started_here) == (address, False)
    finally:
        end_by_pid(pid)


@pytest.mark.parametrize("pid", [pytest.param(None, id="dead-process"), pytest.param(os.getpid(), id="id-reused")])
async def test_a_stale_state_file_is_ignored(tmp_path: Path, pid: int | None) -> None:
    """A state file whose server is gone, even if its process id lives again, is overruled by a real start."""
    stale = ServerState.of_new_process(pid or id_of_ended_process(), "127.0.0.1:1", None)
    write_state(tmp_path, stale.model_copy(update={"identity": "some-server"}))
    async with await EmbeddedServer.start(tmp_path, port=0, ui=False) as server:
        assert server.started_here
        assert state_of(tmp_path).address == server.address


async def test_another_folders_server_is_not_taken_for_ours(server: EmbeddedServer, home: Path, tmp_path: Path) -> None:
    """A state file that points at a living server of other identity does not make us use that server."""
    write_state(tmp_path, state_of(home).model_copy(update={"identity": "ours"}))
    async with await EmbeddedServer.start(tmp_path, port=0, ui=False) as mine:
        assert mine.started_here
        assert mine.address != server.address


async def test_an_unreadable_state_file_is_ignored(tmp_path: Path) -> None:
    """Garbage in the state file does not keep the server from starting."""
    (tmp_path / "server.json").write_text('{"pid": "many"', encoding="utf-8")
    async with await EmbeddedServer.start(tmp_path, port=0, ui=False) as server:
        assert server.started_here


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777], ids=oct)
async def test_nobody_else_can_read_what_it_keeps(tmp_path: Path, umask: int) -> None:
    """The folder is for its owner alone, and so is every file in it: the database and its WAL hold every prompt."""
    before = os.umask(umask)
    try:
        async with await EmbeddedServer.start(tmp_path / ".handfast", port=0, ui=False) as server:
            client = await Client.connect(server.address)
            await client.start_workflow("Nobody", "a prompt", id="w", task_queue="none")
            modes = modes_in(tmp_path / ".handfast")
    finally:
        os.umask(before)
    assert modes.pop(".") == 0o700
    assert {"temporal.db", "temporal.db-wal", "server.json", "server.log"} <= modes.keys()
    assert set(modes.values()) == {0o600}


async def test_what_others_could_read_so_far_is_taken_back(tmp_path: Path) -> None:
    """A folder that an earlier version has made gets the modes of a new one; a folder that holds other things keeps its
    own."""
    home = tmp_path / ".handfast"
    home.mkdir(0o755)
    (home / "server.log").touch(0o644)
    async with await EmbeddedServer.start(home, port=0, ui=False):
        assert set(modes_in(home).values()) == {0o600, 0o700}
    shared = tmp_path / "project"
    shared.mkdir(0o755)
    (shared / "notes.txt").touch(0o644)
    async with await EmbeddedServer.start(shared, port=0, ui=False):
        modes = modes_in(shared)
    assert (modes.pop("."), modes.pop("notes.txt")) == (0o755, 0o644)
    assert set(modes.values()) == {0o600}


async def test_a_folder_of_another_account_is_no_place_for_a_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever owns it could read what is kept there."""
    (tmp_path / ".handfast").mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(ServerStartError, match="belongs to another account"):
        await EmbeddedServer.start(tmp_path / ".handfast", port=0)


def modes_in(folder: Path) -> dict[str, int]:
    """The modes of a folder, as ``.``, and of the files in it."""
    found = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir() if path.is_file()}
    return {**found, ".": stat.S_IMODE(folder.stat().st_mode)}


@pytest.mark.parametrize(("option", "ports"), [("--port", (1, 0)), ("--ui-port", (0, 1))])
async def test_a_busy_port_is_one_clear_line(tmp_path: Path, option: str, ports: tuple[int, int]) -> None:
    """A port that another program holds is named, with the option that chooses another one."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortBusyError) as caught:
            await EmbeddedServer.start(tmp_path, port * ports[0], ui_port=port * ports[1])
    text = f"port {port} is in use by another program; choose another one with {option}"
    assert str(caught.value) == text


async def test_a_server_that_dies_at_once_says_why(tmp_path: Path) -> None:
    """When the program ends instead of starting, the error carries its last line and names the log."""
    with pytest.raises(ServerStartError, match=r"unknown flag: --no-such-option.*server\.log") as caught:
        await EmbeddedServer.start(tmp_path, port=0, extra_args=["--no-such-option"])
    assert "\n" not in str(caught.value)
    assert read_state(tmp_path) is None


async def test_close_ends_what_it_started(tmp_path: Path) -> None:
    """Closing the object that started the server ends the process and removes the state file."""
    server = await EmbeddedServer.start(tmp_path, port=0, ui=False)
    pid = state_of(tmp_path).pid
    await server.close()
    await server.close()
    assert not psutil.pid_exists(pid)
    assert read_state(tmp_path) is None


async def test_a_detached_server_stays(tmp_path: Path) -> None:
    """With `detach` the server goes on after close, and a later start finds it."""
    server = await EmbeddedServer.start(tmp_path, port=0, ui=False, detach=True)
    pid = state_of(tmp_path).pid
    try:
        await server.close()
        assert server.started_here
        found = await EmbeddedServer.start(tmp_path)
        assert (found.address, found.started_here) == (server.address, False)
    finally:
        end_by_pid(pid)


async def test_the_database_survives_a_restart(tmp_path: Path) -> None:
    """A workflow that was started before the server stopped is there, running, when it comes back."""
    async with await EmbeddedServer.start(tmp_path, port=0, ui=False) as server:
        client = await Client.connect(server.address)
        await client.start_workflow("Waiting", id="before-the-restart", task_queue="nobody")
    async with await EmbeddedServer.start(tmp_path, port=0, ui=False) as server:
        client = await Client.connect(server.address)
        description = await client.get_workflow_handle("before-the-restart").describe()
        assert description.status is WorkflowExecutionStatus.RUNNING


async def test_an_in_memory_server_leaves_nothing(tmp_path: Path) -> None:
    """Without persistence every start is a server of its own, and the folder is not even made."""
    directory = tmp_path / "unused"
    async with (
        await EmbeddedServer.start(directory, 0, ui=False, persistent=False) as one,
        await EmbeddedServer.start(directory, 0, ui=False, persistent=False) as two,
    ):
        assert one.address != two.address
        assert (one.started_here, two.started_here, one.ui_url) == (True, True, None)
    assert not directory.exists()
    assert not await answers(one.address)


def test_the_program_on_path_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A `temporal` that the user installed is preferred to the packaged one."""
    program = tmp_path / "temporal"
    program.write_text("#!/bin/sh\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_binary() == program


def test_the_packaged_program_needs_no_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `handfast[server]` installed the program is found though PATH does not lead to it."""
    monkeypatch.setenv("PATH", str(tmp_path))
    found = find_binary()
    assert found is not None
    assert shutil.which(found) is not None


async def test_no_program_at_all_is_one_line_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where none is installed and the download fails, the error says what to install."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nowhere = f"http://127.0.0.1:{closed.getsockname()[1]}"
    for variable in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(variable, nowhere)
    monkeypatch.setattr("handfast.server.process.find_binary", lambda: None)
    with pytest.raises(ServerBinaryMissingError, match=r"pip install 'handfast\[server\]'") as caught:
        await ensure_binary(tmp_path / "bin")
    assert "\n" not in str(caught.value)


async def test_the_server_is_started_without_our_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an agent's commands could read of the server's process holds none of the keys that it was started beside."""
    monkeypatch.setenv("OPENAI_API_KEY", "hush-hush")
    async with await EmbeddedServer.start(persistent=False, port=0, ui=False):
        given = [each.environ() for each in psutil.Process().children()]
    assert any("PATH" in each for each in given)
    assert not any("hush-hush" in each.values() for each in given)
