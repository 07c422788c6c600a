"""A store of outputs at a URL, whatever fsspec reaches: buckets, SFTP, HDFS."""

from __future__ import annotations

import re
import uuid
from typing import Any, Final

from holdfast.errors import DefinitionError

__all__ = ["UrlStore"]

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


class UrlStore:
    """See `holdfast.artifacts.ArtifactStore`. Credentials come from where the file system looks for them."""

    def __init__(self, url: str) -> None:
        """Find the file system; nothing is asked of it yet.

        Raises:
            DefinitionError: fsspec, or what it needs for this URL, is not installed, or it knows no such URL.
        """
        scheme = url.partition("://")[0]
        try:
            from fsspec.core import url_to_fs  # noqa: PLC0415 - of an optional extra
        except ImportError:
            raise DefinitionError(
                "HoldfastPlugin", f"artifacts at {scheme}://… need fsspec; install 'holdfast[artifacts]'"
            ) from None
        try:
            files, root = url_to_fs(url)
        except (ImportError, ValueError, TypeError) as error:
            # Only its kind where it may quote the URL: that can hold a password.
            said = str(error) if isinstance(error, ImportError) else type(error).__name__
            raise DefinitionError(
                "HoldfastPlugin", f"artifacts at {scheme}://… cannot be opened by fsspec: {said}"
            ) from None
        self._files: Any = files
        self._root: str = root.rstrip("/")

    def write(self, sha256: str, data: bytes) -> None:
        """See `ArtifactStore`."""
        path = self._path(sha256)
        if self._holds(path, data):
            return
        folder = path.rpartition("/")[0]
        part = f"{folder}/.{uuid.uuid4().hex}"
        try:
            self._files.pipe_file(part, data)
        except FileNotFoundError:  # a file system with real folders; in a bucket making one could make the bucket
            self._files.makedirs(folder, exist_ok=True)
            self._files.pipe_file(part, data)
        self._files.mv(part, path)

    def read(self, sha256: str) -> bytes:
        """See `ArtifactStore`."""
        data: bytes = self._files.cat_file(self._path(sha256))
        return data

    def _path(self, sha256: str) -> str:
        if not _DIGEST.fullmatch(sha256):
            raise FileNotFoundError("no digest")  # a name that comes from outside must not become a path
        return f"{self._root}/{sha256[:2]}/{sha256}"

    def _holds(self, path: str, data: bytes) -> bool:
        try:
            held: bytes = self._files.cat_file(path)
        except FileNotFoundError:
            return False
        return held == data
