"""The state file, by which one process finds the server of another, and the lock around starting."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Final

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from handfast.storage.artifacts import is_on_loopback
from handfast.storage.private_files import open_private, read_own, write_private

logger = logging.getLogger(__name__)

DIRECTORY: Final = Path(".handfast")
STATE_FILE: Final = "server.json"
LOCK_FILE: Final = "server.lock"
LOCK_WAIT_S: Final = 60.0
LOCK_POLL_S: Final = 0.02


class ServerState(BaseModel):
    """One running server, as written to `server.json`."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    pid: int
    address: str
    ui_url: str | None = None
    started_at: AwareDatetime
    identity: str | None = None
    """Id of the server's default namespace, random per database; None while the server is still starting."""

    @classmethod
    def of_new_process(cls, pid: int, address: str, ui_url: str | None) -> ServerState:
        """Describe a server that was started just now and has not answered yet."""
        return cls(pid=pid, address=address, ui_url=ui_url, started_at=datetime.now().astimezone())

    def is_alive(self) -> bool:
        """Return True where a process with this id exists. It may be another one by now: ask the server itself too."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True


def project_folder(directory: Path) -> Path:
    """Return the folder that people know a server by: the one in which ``.handfast`` lies."""
    return directory.parent if directory.name == DIRECTORY.name else directory


def read_state(directory: Path) -> ServerState | None:
    """Read the state file; None where there is none that can be understood and trusted.

    Whoever may write into a folder above could plant one, and have everybody's prompts sent to a server of theirs.
    """
    file = directory / STATE_FILE
    try:
        state = ServerState.model_validate_json(read_own(file) or b"")
    except PermissionError as error:
        logger.warning("a server is not looked for there: %s", error)
        return None
    except (OSError, ValidationError):
        return None
    if not is_on_loopback(state.address):
        logger.warning("%s is ignored: %s is no address of this machine alone", file, state.address)
        return None
    return state


def write_state(directory: Path, state: ServerState) -> None:
    """Replace the state file, for this account alone."""
    write_private(directory / STATE_FILE, state.model_dump_json(indent=2) + "\n")


def forget_state(directory: Path, pid: int) -> None:
    """Remove the state file if it still speaks of process *pid*."""
    state = read_state(directory)
    if state is not None and state.pid == pid:
        with suppress(FileNotFoundError):
            (directory / STATE_FILE).unlink()


def nearest_state(start: Path) -> ServerState | None:
    """Find the living server of *start* or of the closest folder above it, as git finds a repository."""
    for folder in (start, *start.parents):
        state = read_state(folder / DIRECTORY)
        if state is not None and state.is_alive():
            return state
    return None


@asynccontextmanager
async def exclusive(directory: Path) -> AsyncIterator[None]:
    """Hold the folder's lock: one start or stop at a time, across tasks and processes.

    The kernel lets go of the lock when its holder dies, so a crash in the middle blocks nobody.

    Raises:
        TimeoutError: Another process held the lock for a minute.
    """
    descriptor = open_private(directory / LOCK_FILE, os.O_RDWR | os.O_CREAT)
    try:
        await _lock(descriptor)
        yield
    finally:
        os.close(descriptor)


async def _lock(descriptor: int) -> None:
    give_up_at = time.monotonic() + LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > give_up_at:
                raise TimeoutError(f"another process held {LOCK_FILE} for {LOCK_WAIT_S:.0f} s") from None
            await asyncio.sleep(LOCK_POLL_S)
        else:
            return
