"""Keep bytes that are too large for a history: the port of a store, and a store in a folder."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, Literal, Protocol, TypeAlias

from handfast.errors import ArtifactError, DefinitionError
from handfast.storage.artifact_urls import UrlStore, checked
from handfast.storage.private_files import create_folder

__all__ = [
    "ArtifactStore",
    "ArtifactsAt",
    "FolderStore",
    "artifact_store",
    "keep_media",
    "place_of_run",
    "store_by_default",
    "store_named",
]

ArtifactsAt: TypeAlias = str | os.PathLike[str] | Literal[False] | None
"""Place of large outputs: a folder, a URL, False for none, or None for the default."""
DEFAULT_FOLDER: Final = Path(".handfast/artifacts")
KEEP_S: Final = 60.0
"""Longest time to keep one image or file."""
NOWHERE: Final = "none"
"""Value of ``HANDFAST_ARTIFACTS`` that means False."""


class ArtifactStore(Protocol):
    """Keeps bytes under names, in one place. Its methods block, and are called in threads, several at a time.

    Names are lower-case letters, digits, dots and dashes. A large output's name is its SHA-256, which the reader
    compares: a store need not.
    """

    def write(self, name: str, data: bytes) -> None:
        """Keep *data* as a whole or not at all. Keeping it again changes nothing.

        Raises:
            Exception: An error of the medium; data that was there before is still there.
        """

    def read(self, name: str) -> bytes:
        """Return the data under a name.

        Raises:
            FileNotFoundError: There is none.
        """

    def names(self) -> list[str]:
        """List the names in this place, sorted, without those in places below."""

    def erase(self) -> list[str]:
        """Erase everything in this place; return the names."""

    def below(self, name: str) -> ArtifactStore:
        """Return the place of that name within this one; it need not exist."""


class FolderStore:
    """A folder: on one machine, or one that several machines mount. Its files are for the worker's account alone."""

    def __init__(self, folder: Path) -> None:
        """Name the folder; it is made when something is kept."""
        self.folder = folder.expanduser().absolute()

    def write(self, name: str, data: bytes) -> None:
        """See `ArtifactStore`. The data is on disk when this returns, since a durable history will refer to it."""
        path = self.folder / checked(name)
        if _holds(path, data):
            return
        create_folder(self.folder)
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
        """See `ArtifactStore`. An empty folder goes too."""
        erased = self.names()
        with suppress(FileNotFoundError):
            for path in [
                path for path in self.folder.iterdir() if path.is_file()
            ]:  # unfinished ones of a killed writer, too
                path.unlink(missing_ok=True)
        with suppress(OSError):
            self.folder.rmdir()
        return erased

    def below(self, name: str) -> FolderStore:
        """See `ArtifactStore`."""
        return FolderStore(self.folder / checked(name))


async def keep_media(place: ArtifactStore, data: Mapping[str, bytes]) -> None:
    """Keep images and files of a conversation, by SHA-256.

    Raises:
        ArtifactError: The store did not take one.
    """
    for sha256, content in data.items():
        try:
            await asyncio.wait_for(asyncio.to_thread(place.write, sha256, content), KEEP_S)
        except Exception as error:
            raise ArtifactError(sha256, "kept", f"the store failed ({type(error).__name__})") from error


def artifact_store(location: str | os.PathLike[str], option: str = "artifacts") -> ArtifactStore:
    """Return the store at a folder's path, or at a URL that fsspec knows.

    Args:
        location: The path, or the URL.
        option: Name of the option, for the error.

    Raises:
        DefinitionError: *location* is neither, or fsspec lacks a package that the URL needs.
    """
    given: object = location
    if not isinstance(given, str | os.PathLike) or not str(given):
        raise DefinitionError("HandfastPlugin", f"{option} must be the path of a folder, or a URL")
    if isinstance(location, str) and "://" in location:
        return UrlStore.at(location, option)
    return FolderStore(Path(location))


def store_named(location: ArtifactsAt) -> ArtifactStore | Literal[False] | None:
    """Return the store at *location* or at ``HANDFAST_ARTIFACTS``; False for none at all, None for the default.

    Raises:
        DefinitionError: The name leads to no store.
    """
    named = location if location is not None else os.environ.get("HANDFAST_ARTIFACTS") or None
    if named is None:
        return None
    return False if named is False or named == NOWHERE else artifact_store(named)


def store_by_default(named: ArtifactStore | Literal[False] | None, address: str) -> ArtifactStore | None:
    """Return the named store; by default a folder below the current one, if the Temporal server is on this machine.

    Elsewhere there is none by default. A run may go on at another machine, or in a container that was made anew; a
    part of its conversation that is missing there would end it.

    Args:
        named: Result of `store_named`.
        address: Address of the Temporal server.
    """
    if named is not None:
        return named or None
    return FolderStore(DEFAULT_FOLDER) if is_on_loopback(address) else None


def is_on_loopback(address: str) -> bool:
    """Tell an address of this machine alone, as ``127.0.0.1:7233``, from one that may be anywhere."""
    host = address.rpartition("://")[2].rpartition(":")[0].strip("[]")
    return host in ("localhost", "::1") or re.fullmatch(r"127(\.[0-9]+){3}", host) is not None


def place_of_run(store: ArtifactStore, namespace: str, workflow_id: str) -> ArtifactStore:
    """Return the place of one run over all its histories. No other run shares it, so it can be erased."""
    digest = hashlib.sha256(json.dumps([namespace, workflow_id]).encode()).hexdigest()
    return store.below(digest[:2]).below(digest)


def _holds(path: Path, data: bytes) -> bool:
    # Compared as a whole: a damaged file is written anew.
    try:
        return path.stat().st_size == len(data) and path.read_bytes() == data
    except FileNotFoundError:
        return False
