"""Where bytes are kept that do not belong into a history: the port, and a folder."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal, Protocol, TypeAlias

from handfast.errors import DefinitionError
from handfast.storage.artifact_urls import UrlStore, checked

__all__ = [
    "ArtifactStore",
    "ArtifactsAt",
    "FolderStore",
    "artifact_store",
    "place_of_run",
    "store_by_default",
    "store_named",
]

ArtifactsAt: TypeAlias = str | os.PathLike[str] | Literal[False] | None
"""Where large outputs are kept: a folder, a URL, nowhere (False), or by default (None)."""
DEFAULT_FOLDER: Final = Path(".handfast/artifacts")
NOWHERE: Final = "none"
"""What ``HANDFAST_ARTIFACTS`` says for False."""


class ArtifactStore(Protocol):
    """Keeps bytes under names, in one place. Its methods block, and are called in threads, several at a time.

    Names are lower-case letters, digits, dots and dashes. A large output's name is its SHA-256, and whoever reads it
    compares: a store need not.
    """

    def write(self, name: str, data: bytes) -> None:
        """Keep *data*; nobody ever sees a part of it. Doing so again changes nothing.

        Raises:
            Exception: Whatever the medium says; what was there before is there still.
        """

    def read(self, name: str) -> bytes:
        """Return what is kept under a name.

        Raises:
            FileNotFoundError: Nothing is.
        """

    def names(self) -> list[str]:
        """What is kept here, sorted: not what is kept in places below."""

    def erase(self) -> list[str]:
        """Forget everything that is kept here; return the names."""

    def below(self, name: str) -> ArtifactStore:
        """A place of that name within this one; it need not exist."""


class FolderStore:
    """A folder: on one machine, or one that several machines mount. Its files are for the worker's account alone."""

    def __init__(self, folder: Path) -> None:
        """Name the folder; it is made when something is kept."""
        self.folder = folder.expanduser().absolute()

    def write(self, name: str, data: bytes) -> None:
        """See `ArtifactStore`. It reaches the disk before this returns: what refers to it is durable too."""
        path = self.folder / checked(name)
        if _holds(path, data):
            return
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, part = tempfile.mkstemp(prefix=".", dir=self.folder)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(part).replace(path)
        except BaseException:
            Path(part).unlink(missing_ok=True)
            raise

    def read(self, name: str) -> bytes:
        """See `ArtifactStore`."""
        return (self.folder / checked(name)).read_bytes()

    def names(self) -> list[str]:
        """See `ArtifactStore`."""
        try:
            return sorted(path.name for path in self.folder.iterdir() if path.is_file() and path.name[0] != ".")
        except FileNotFoundError:
            return []

    def erase(self) -> list[str]:
        """See `ArtifactStore`. The folder goes too, where nothing else is in it."""
        erased = self.names()
        with suppress(FileNotFoundError):
            for path in [path for path in self.folder.iterdir() if path.is_file()]:  # what a killed writer left, too
                path.unlink(missing_ok=True)
        with suppress(OSError):
            self.folder.rmdir()
        return erased

    def below(self, name: str) -> FolderStore:
        """See `ArtifactStore`."""
        return FolderStore(self.folder / checked(name))


def artifact_store(location: str | os.PathLike[str], option: str = "artifacts") -> ArtifactStore:
    """The store at a folder's path, or at a URL that fsspec knows.

    Args:
        location: The path, or the URL.
        option: What the user calls it.

    Raises:
        DefinitionError: It is neither, or what the URL needs is not installed.
    """
    given: object = location
    if not isinstance(given, str | os.PathLike) or not str(given):
        raise DefinitionError("HandfastPlugin", f"{option} must be the path of a folder, or a URL")
    if isinstance(location, str) and "://" in location:
        return UrlStore.at(location, option)
    return FolderStore(Path(location))


def store_named(location: ArtifactsAt) -> ArtifactStore | Literal[False] | None:
    """The store that somebody named, there or in ``HANDFAST_ARTIFACTS``; False for none at all, None for the default.

    Raises:
        DefinitionError: What was named is none.
    """
    named = location if location is not None else os.environ.get("HANDFAST_ARTIFACTS") or None
    if named is None:
        return None
    return False if named is False or named == NOWHERE else artifact_store(named)


def store_by_default(named: ArtifactStore | Literal[False] | None, address: str) -> ArtifactStore | None:
    """The named store; by default a folder where one is started, if the Temporal server is on the same machine.

    Elsewhere there is none by default: a run may go on another machine, which would not find what this one has kept.

    Args:
        named: What `store_named` says.
        address: The server's.
    """
    if named is not None:
        return named or None
    host = address.rpartition("://")[2].rpartition(":")[0].strip("[]")
    is_here = host in ("localhost", "::1") or re.fullmatch(r"127(\.[0-9]+){3}", host) is not None
    return FolderStore(DEFAULT_FOLDER) if is_here else None


def place_of_run(store: ArtifactStore, namespace: str, workflow_id: str) -> ArtifactStore:
    """The place of one run, over all its continue-as-news: what it kept can be erased, and is no other run's."""
    digest = hashlib.sha256(json.dumps([namespace, workflow_id]).encode()).hexdigest()
    return store.below(digest[:2]).below(digest)


def _holds(path: Path, data: bytes) -> bool:
    """Whether *data* is there already; a file that something has damaged is written anew."""
    try:
        return path.stat().st_size == len(data) and path.read_bytes() == data
    except FileNotFoundError:
        return False
