"""Where outputs are kept that are too large for the history: the port, and a folder."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import Final, Protocol

from holdfast.artifact_urls import UrlStore
from holdfast.errors import DefinitionError

__all__ = ["ArtifactStore", "FolderStore", "artifact_store"]

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


class ArtifactStore(Protocol):
    """Keeps bytes under their SHA-256. Its methods block, and are called in threads, several at a time.

    Whoever reads compares content and digest: a store need not.
    """

    def write(self, sha256: str, data: bytes) -> None:
        """Keep *data*; nobody ever sees a part of it. Doing so again changes nothing.

        Raises:
            Exception: Whatever the medium says; nothing is kept then.
        """

    def read(self, sha256: str) -> bytes:
        """Return what is kept under a digest.

        Raises:
            FileNotFoundError: Nothing is.
        """


class FolderStore:
    """A folder: on one machine, or one that several machines mount.

    Files lie in it as ``ab/abcdef…``, readable by the worker's own account alone.
    """

    def __init__(self, folder: Path) -> None:
        """Name the folder; it is made when something is kept."""
        self.folder = folder.expanduser().absolute()

    def write(self, sha256: str, data: bytes) -> None:
        """See `ArtifactStore`. It reaches the disk before this returns: what refers to it is durable too."""
        path = self._path(sha256)
        if _holds(path, data):
            return
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=".", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def read(self, sha256: str) -> bytes:
        """See `ArtifactStore`."""
        return self._path(sha256).read_bytes()

    def _path(self, sha256: str) -> Path:
        if not _DIGEST.fullmatch(sha256):
            raise FileNotFoundError("no digest")  # a name that comes from outside must not become a path
        return self.folder / sha256[:2] / sha256


def artifact_store(location: str | os.PathLike[str]) -> ArtifactStore:
    """The store at a folder's path, or at a URL that fsspec knows.

    Raises:
        DefinitionError: It is neither, or what the URL needs is not installed.
    """
    given: object = location
    if not isinstance(given, str | os.PathLike) or not str(given):
        raise DefinitionError("HoldfastPlugin", "artifacts must be the path of a folder, or a URL")
    if isinstance(location, str) and "://" in location:
        return UrlStore(location)
    return FolderStore(Path(location))


def _holds(path: Path, data: bytes) -> bool:
    """Whether *data* is there already; a file that something has damaged is written anew."""
    try:
        return path.stat().st_size == len(data) and path.read_bytes() == data
    except FileNotFoundError:
        return False
