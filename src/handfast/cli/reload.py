"""`handfast dev --reload`: serve in a worker process, and in another one whenever a file changes."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from handfast.cli import exits
from handfast.cli.output import one_line, say, warn

READY: Final = "ready: worker for "
LOOK_S: Final = 0.3
"""Pause between two looks at the files."""
WATCHED: Final = (".py", "pyproject.toml")
"""Ends of the names that are watched. Others may be what tools write."""
LEFT_OUT: Final = frozenset({"__pycache__", "node_modules", "site-packages"})

Files = Mapping[Path, tuple[int, int]]


class Reloader:
    """Serves the files of a folder as they are now.

    A fresh worker process takes over once it polls; the one before lets its running tools finish, as in any deploy.
    Where the fresh one cannot start, the one before goes on serving.
    """

    def __init__(self, options: Sequence[str], folder: Path) -> None:
        """Take the options of ``handfast worker``, and the folder to watch."""
        self._options = options
        self._folder = folder
        self._serving: asyncio.subprocess.Process | None = None
        self._reading: set[asyncio.Task[None]] = set()

    async def run(self, on_ready: Callable[[], Coroutine[Any, Any, None]]) -> int:
        """Serve until cancelled; await *on_ready* beside it once the first worker polls.

        Returns:
            The code of the first worker, where that could not start.
        """
        seen = files_of(self._folder)
        announcing: asyncio.Task[None] | None = None
        try:
            self._serving, first = await self._started()
            if self._serving is None:
                return first
            announcing = asyncio.create_task(on_ready())
            while True:
                changed = await self._changed(seen)
                seen = files_of(self._folder)
                await self._replace(changed)
        finally:
            if announcing is not None:
                announcing.cancel()
            await self._end()

    async def _changed(self, seen: Files) -> str:
        """Wait until files have changed, and then have not for a moment; name one."""
        while (found := files_of(self._folder)) == seen:  # noqa: ASYNC110 no event tells of files everywhere
            await asyncio.sleep(LOOK_S)
        while (now := files_of(self._folder)) != found:  # an editor, or a checkout, is still writing
            found = now
            await asyncio.sleep(LOOK_S)
        names = sorted(path.relative_to(self._folder).as_posix() for path, _ in found.items() ^ seen.items())
        return names[0] if names else "a file"

    async def _replace(self, changed: str) -> None:
        fresh, code = await self._started()
        if fresh is None:
            warn(f"{changed} changed, and the worker does not start (code {code}); the one before goes on")
            return
        before, self._serving = self._serving, fresh
        say(one_line(f"reloaded: {changed} changed"))
        if before is not None:
            _tell(before)

    async def _started(self) -> tuple[asyncio.subprocess.Process | None, int]:
        """Start a worker, and wait until it polls; else its code."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "handfast", "worker", *self._options, "--until-eof"),
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"},
            stdin=asyncio.subprocess.PIPE,  # closed with this process, however that ends: then the worker ends too
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for this process, which tells its workers
        )
        ready = asyncio.Event()
        reading = asyncio.create_task(self._forward(process, ready))
        self._reading.add(reading)
        reading.add_done_callback(self._reading.discard)
        waiting = asyncio.create_task(ready.wait())
        try:
            await asyncio.wait({reading, waiting}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            _tell(process)
            raise
        finally:
            waiting.cancel()
        return (process, exits.OK) if ready.is_set() else (None, await process.wait())

    async def _end(self) -> None:
        """Stop the worker, and wait for those that are still letting their tools finish."""
        last, self._serving = self._serving, None
        if last is not None:
            _tell(last)
        await asyncio.gather(*self._reading)

    async def _forward(self, process: asyncio.subprocess.Process, ready: asyncio.Event) -> None:
        """Write what a worker writes, but for the line by which it says that it polls; until it has ended."""
        assert process.stdout is not None
        while line := await process.stdout.readline():
            text = line.decode(errors="replace")
            if text.startswith(READY) and not ready.is_set():
                ready.set()
                continue
            sys.stdout.write(text)
            sys.stdout.flush()
        code = await process.wait()
        if process is self._serving:
            warn(f"the worker ended with code {code}; the next change starts another one")


def _tell(process: asyncio.subprocess.Process) -> None:
    """Tell a worker to let its tools finish, and end."""
    with suppress(ProcessLookupError):
        process.terminate()


def files_of(folder: Path) -> Files:
    """Return the code below *folder*, each file with its time and size; without environments and hidden folders."""
    return dict(_files(folder))


def _files(folder: Path) -> Iterator[tuple[Path, tuple[int, int]]]:
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return  # it went away, or is not ours to read
    if any(entry.name == "pyvenv.cfg" for entry in entries):
        return
    for entry in entries:
        with suppress(OSError):
            if entry.name.startswith(".") or entry.name in LEFT_OUT:
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _files(Path(entry.path))
            elif entry.name.endswith(WATCHED):
                status = entry.stat()
                yield Path(entry.path), (status.st_mtime_ns, status.st_size)
