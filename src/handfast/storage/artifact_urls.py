"""A store at a URL that fsspec reaches: buckets, SFTP, HDFS."""

from __future__ import annotations

import re
import uuid
from typing import Any, Final

from handfast.errors import DefinitionError

__all__ = ["UrlStore", "checked"]

_NAME: Final = re.compile(r"[0-9a-z][0-9a-z.-]{0,127}")


class FileSystem:
    """A file system of fsspec and a path in it, opened when something is first asked of it.

    Some connect when they are made: where their server is down, workers and clients have to go on all the same. One
    that could not be opened is tried again the next time.
    """

    def __init__(self, url: str, option: str) -> None:
        """Make sure that fsspec knows such URLs; nothing is opened yet.

        Raises:
            DefinitionError: fsspec, or what it needs for this URL, is not installed, or it knows no such URL.
        """
        self._url = url
        self._option = option
        self._scheme = url.partition("://")[0]
        self._opened: tuple[Any, str] | None = None
        try:
            from fsspec.core import get_filesystem_class  # noqa: PLC0415 - of an optional extra
        except ImportError:
            raise DefinitionError(
                "HandfastPlugin", f"{option} at {self._scheme}://… need fsspec; install 'handfast[artifacts]'"
            ) from None
        try:
            for part in url.split("::"):
                get_filesystem_class(part.partition("://")[0])._get_kwargs_from_urls(part)
        except (ImportError, ValueError, TypeError) as error:
            raise self._refused(error) from None

    def __call__(self) -> tuple[Any, str]:
        """Return the file system, and the path.

        Raises:
            DefinitionError: fsspec cannot read the URL.
            OSError: It cannot be reached.
        """
        if self._opened is None:
            from fsspec.core import url_to_fs  # noqa: PLC0415 - of an optional extra

            try:
                files, root = url_to_fs(self._url)
            except (ImportError, ValueError, TypeError) as error:
                raise self._refused(error) from None
            self._opened = files, root.rstrip("/")
        return self._opened

    def _refused(self, error: Exception) -> DefinitionError:
        # An ImportError does not quote the URL, which can hold a password; the others may.
        said = str(error) if isinstance(error, ImportError) else type(error).__name__
        return DefinitionError(
            "HandfastPlugin", f"{self._option} at {self._scheme}://… cannot be opened by fsspec: {said}"
        )


class UrlStore:
    """See `handfast.storage.artifacts.ArtifactStore`. The file system looks for credentials in its own usual places."""

    def __init__(self, system: FileSystem, below: tuple[str, ...] = ()) -> None:
        """Take a file system, and names of folders below its path."""
        self._system = system
        self._below = below

    @classmethod
    def at(cls, url: str, option: str = "artifacts") -> UrlStore:
        """Find the file system, without a request to it.

        Raises:
            DefinitionError: fsspec, or what it needs for this URL, is not installed, or it knows no such URL.
        """
        return cls(FileSystem(url, option))

    @property
    def _files(self) -> Any:
        return self._system()[0]

    @property
    def _root(self) -> str:
        return "/".join((self._system()[1], *self._below))

    def write(self, name: str, data: bytes) -> None:
        """See `ArtifactStore`."""
        path = f"{self._root}/{checked(name)}"
        if self._holds(path, data):
            return
        part = f"{self._root}/.{uuid.uuid4().hex}"
        try:
            self._files.pipe_file(part, data)
        except FileNotFoundError:  # a file system with real folders; in a bucket making one could make the bucket
            self._files.makedirs(self._root, exist_ok=True)
            self._files.pipe_file(part, data)
        self._files.mv(part, path)

    def read(self, name: str) -> bytes:
        """See `ArtifactStore`."""
        data: bytes = self._files.cat_file(f"{self._root}/{checked(name)}")
        return data

    def names(self) -> list[str]:
        """See `ArtifactStore`."""
        return [name for name in self._all() if _NAME.fullmatch(name)]

    def erase(self) -> list[str]:
        """See `ArtifactStore`. Unfinished files of a killed writer go too."""
        found = self._all()
        for name in found:
            self._files.rm_file(f"{self._root}/{name}")
        return [name for name in found if _NAME.fullmatch(name)]

    def below(self, name: str) -> UrlStore:
        """See `ArtifactStore`."""
        return UrlStore(self._system, (*self._below, checked(name)))

    def _all(self) -> list[str]:
        self._files.invalidate_cache(self._root)
        try:
            listed = self._files.ls(self._root, detail=True)
        except FileNotFoundError:
            return []
        return sorted(each["name"].rstrip("/").rpartition("/")[2] for each in listed if each["type"] == "file")

    def _holds(self, path: str, data: bytes) -> bool:
        try:
            held: bytes = self._files.cat_file(path)
        except FileNotFoundError:
            return False
        return held == data


def checked(name: str) -> str:
    """Refuse a *name* from outside that could become a path; return it otherwise.

    Raises:
        FileNotFoundError: *name* is no name of a file in a store.
    """
    if not _NAME.fullmatch(name):
        raise FileNotFoundError("no name")
    return name
