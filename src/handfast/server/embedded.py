"""The embedded Temporal server: the stock development server, kept in a folder and on loopback only.

Runs on Linux and macOS. Whoever starts it first owns it; whoever starts it again for the same folder uses it.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from temporalio.client import Client
from temporalio.service import RPCError

from handfast.definitions.schema.arguments import checked_methods
from handfast.errors import ServerStartError, ServerUnavailableError
from handfast.server.process import (
    AddressTakenError,
    ServerProcess,
    choose_ports,
    command,
    ensure_binary,
    find_binary,
)
from handfast.server.state import (
    DIRECTORY,
    STATE_FILE,
    ServerState,
    exclusive,
    forget_state,
    project_folder,
    read_state,
    write_state,
)
from handfast.storage.private_files import make_private, private_folder
from handfast.temporal.namespace import (
    DEFAULT_NAMESPACE,
    ensure_namespace,
    name_project,
    namespace_id,
    register_search_attributes,
)

__all__ = ["DEFAULT_PORT", "RETENTION", "EmbeddedServer", "find_binary"]

DEFAULT_PORT: Final = 7233
RETENTION: Final = timedelta(days=90)
DATABASE_FILE: Final = "temporal.db"
LOG_FILE: Final = "server.log"

_ATTEMPTS: Final = 5  # at finding ports that nobody takes between our look and the server's bind
_ATTACH_WAIT_S: Final = 10.0
_ATTACH_POLL_S: Final = 0.02

_detached: Final[list[ServerProcess]] = []  # kept so that nothing complains about them when they are collected


@checked_methods
class EmbeddedServer:
    """A running server, started here or found running. Made by `start`; an async context manager."""

    def __init__(
        self,
        address: str,
        ui_url: str | None,
        namespace: str,
        *,
        directory: Path | None = None,
        process: ServerProcess | None = None,
        scratch: tempfile.TemporaryDirectory[str] | None = None,
    ) -> None:
        """Use `start`; this only keeps what it found or made.

        Args:
            directory: The folder of its state file; None for an in-memory server, which has none.
            process: The process, when it was started here.
            scratch: A folder that goes when the server goes.
        """
        self.address: Final = address
        self.ui_url: Final = ui_url
        self.namespace: Final = namespace
        self.started_here: Final = process is not None
        self._directory = directory
        self._process = process
        self._scratch = scratch

    @classmethod
    async def start(
        cls,
        directory: Path = DIRECTORY,
        port: int = DEFAULT_PORT,
        *,
        ui_port: int | None = None,
        ui: bool = True,
        persistent: bool = True,
        namespace: str = DEFAULT_NAMESPACE,
        retention: timedelta = RETENTION,
        detach: bool = False,
        extra_args: Sequence[str] = (),
    ) -> Self:
        """Start the server of *directory*, or use the one that already runs for it.

        Args:
            directory: Keeps the database, the log and the state file by which later starts find the server.
                A server found so is used as it is, whatever ports and *extra_args* this call names.
            port: For gRPC; 0 takes any free one.
            ui_port: For Temporal's web pages; by default 1000 above *port*, or any free one if that is taken.
            ui: Whether to serve the web pages at all.
            persistent: False keeps everything in memory: a private server, never shared and gone when closed.
                Nothing is written to *directory* then.
            namespace: Made if it does not exist. The search attributes are registered in it.
            retention: How long the server keeps a run after its end.
            detach: Leave the server running when this process closes it or ends.
            extra_args: Further options for `temporal server start-dev`.

        Raises:
            PortBusyError: A port that was asked for is in use.
            ServerBinaryMissingError: There is no `temporal` program.
            ServerStartError: The server ended at once, or does not answer.
            ServerUnavailableError: The server of this folder runs but does not answer.
        """
        launcher = _Launcher(port, ui_port, ui, namespace, retention, extra_args)
        if not persistent:
            binary = await ensure_binary(directory / "bin")
            scratch = tempfile.TemporaryDirectory(prefix="handfast-server-")
            try:
                process = await launcher.launch(binary, Path(scratch.name) / LOG_FILE, None)
            except BaseException:
                scratch.cleanup()
                raise
            return cls._of(process, namespace, scratch=scratch)
        directory = await asyncio.to_thread(_made, directory)
        async with exclusive(directory):
            running = await _running(directory)
            if running is not None:
                state, client = running
                await _prepare(client, namespace, retention)
                return cls(state.address, state.ui_url, namespace)
            binary = await ensure_binary(directory / "bin")
            process = await launcher.launch(binary, directory / LOG_FILE, directory)
        server = cls._of(process, namespace, directory=directory)
        if detach:
            _detached.append(process)
            server._process = None
        return server

    @classmethod
    def _of(
        cls,
        process: ServerProcess,
        namespace: str,
        *,
        directory: Path | None = None,
        scratch: tempfile.TemporaryDirectory[str] | None = None,
    ) -> Self:
        ports = process.ports
        return cls(ports.address, ports.ui_url, namespace, directory=directory, process=process, scratch=scratch)

    async def close(self) -> None:
        """Stop the server if this object started it and was not told to detach. Safe to call again."""
        process, self._process = self._process, None
        if process is not None:
            if self._directory is not None and self._directory.is_dir():
                # Under the lock: a start at this moment waits, and then finds the database closed.
                async with exclusive(self._directory):
                    forget_state(self._directory, process.pid)
                    await process.stop()
            elif self._directory is not None:
                await process.stop()
            else:
                process.kill()  # in memory: there is nothing to close in order
        if self._scratch is not None:
            self._scratch.cleanup()

    async def __aenter__(self) -> Self:
        """Use as `async with await EmbeddedServer.start() as server`."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        await self.close()


@dataclass(frozen=True)
class _Launcher:
    """The options of one start; launches the process."""

    port: int
    ui_port: int | None
    ui: bool
    namespace: str
    retention: timedelta
    extra_args: Sequence[str]

    async def launch(self, binary: Path, log: Path, directory: Path | None) -> ServerProcess:
        """Launch until the ports hold; a directory means a database and a state file in it."""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return await self._attempt(binary, log, directory)
            except AddressTakenError:
                if attempt == _ATTEMPTS:
                    raise
        raise AssertionError("unreachable: the last attempt returns or raises")

    async def _attempt(self, binary: Path, log: Path, directory: Path | None) -> ServerProcess:
        ports = choose_ports(self.port, self.ui_port, ui=self.ui)
        database = directory / DATABASE_FILE if directory is not None else None
        line = command(binary, ports, database=database, namespace=self.namespace, extra_args=self.extra_args)
        process = ServerProcess(line, ports, log)
        try:
            state = ServerState.of_new_process(process.pid, ports.address, ports.ui_url)
            if directory is not None:  # at once: whoever comes after a crash of ours must find the process
                write_state(directory, state)
            client = await process.wait_ready()
            await _prepare(client, self.namespace, self.retention)
            if directory is not None:
                await name_project(client, str(project_folder(directory)))
                identity = await namespace_id(client, DEFAULT_NAMESPACE)
                write_state(directory, state.model_copy(update={"identity": identity}))
        except BaseException:
            process.kill()
            if directory is not None:
                forget_state(directory, process.pid)
            raise
        return process


async def _running(directory: Path) -> tuple[ServerState, Client] | None:
    """Find the server of *directory*: the one of its state file, if it lives and answers as that server.

    Raises:
        ServerUnavailableError: The process lives and its port is open, but it does not answer: starting a
            second one on the same database would be worse than saying so.
    """
    state = read_state(directory)
    if state is None:
        return None
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + _ATTACH_WAIT_S
    while state.is_alive():
        try:
            client = await asyncio.wait_for(Client.connect(state.address), timeout=_ATTACH_WAIT_S)
            identity = await namespace_id(client, DEFAULT_NAMESPACE)
        except (RPCError, TimeoutError) as error:
            if loop.time() > give_up_at:
                raise ServerUnavailableError(state.address, "its process runs but is silent") from error
        except RuntimeError:  # refused: still starting, or the process id belongs to some other program now
            if state.identity is not None or loop.time() > give_up_at:
                return None
        else:
            return (state, client) if state.identity in (None, identity) else None
        await asyncio.sleep(_ATTACH_POLL_S)
    return None


def _made(directory: Path) -> Path:
    """Make the folder, for this account alone, and take back what others could read so far: a database holds prompts.

    A folder of another name that is there already may hold other things: its own mode is left as it is.

    Raises:
        ServerStartError: It belongs to another account.
    """
    directory = directory.resolve()
    try:
        if directory.name == DIRECTORY.name or not directory.exists():
            private_folder(directory)
    except PermissionError as error:
        raise ServerStartError(str(error), directory / LOG_FILE) from None
    for name in (LOG_FILE, STATE_FILE, *(f"{DATABASE_FILE}{end}" for end in ("", "-wal", "-shm"))):
        make_private(directory / name)
    return directory


async def _prepare(client: Client, namespace: str, retention: timedelta) -> None:
    await ensure_namespace(client, namespace, retention)
    await register_search_attributes(client, namespace)
