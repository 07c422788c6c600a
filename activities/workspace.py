"""The folder that the service desk works in: its cleanup targets, its journal of effects, and the shop's books."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from activities.books import Books

JOURNAL: Final = "effects.log"
"""One line of JSON per cleanup that took effect, in the workspace itself."""
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW


class TargetRefusedError(Exception):
    """No folder of this workspace has that name. The text is for the model to read."""


@dataclass(frozen=True)
class Removed:
    """Numbers of deleted files and bytes."""

    files: int = 0
    bytes: int = 0

    def __add__(self, other: Removed) -> Removed:
        """Add both numbers."""
        return Removed(self.files + other.files, self.bytes + other.bytes)


@dataclass(frozen=True)
class Workspace:
    """A folder whose direct subfolders are the cleanup targets."""

    root: Path

    @property
    def books(self) -> Books:
        """Orders and refunds, which are kept in files beside the targets."""
        return Books(self.root)

    def targets(self) -> list[str]:
        """Names of the targets."""
        return sorted(path.name for path in self.root.iterdir() if path.is_dir() and not path.is_symlink())

    def size_of(self, target: str) -> Removed:
        """Count the files of a target and their bytes; links count as files and are not followed."""
        with self._opened(target) as folder:
            return _count(folder)

    def empty(self, target: str, unchanged_for: timedelta = timedelta(0)) -> Removed:
        """Delete the files of a target; its own folder stays. A link is deleted, never what it points to.

        Args:
            target: Name of the target.
            unchanged_for: Spare files that changed within this time, and their folders. Zero spares nothing.

        Raises:
            TargetRefusedError: *target* is no direct subfolder of the workspace, or a link.
        """
        before = (datetime.now(UTC) - unchanged_for).timestamp() if unchanged_for else math.inf
        with self._opened(target) as folder:
            return _empty(folder, before)

    def record(self, **facts: str | int) -> None:
        """Append one line to the journal; it is on disk when this returns."""
        line = json.dumps({"at": datetime.now(UTC).isoformat(timespec="milliseconds"), **facts}) + "\n"
        journal = os.open(self.root / JOURNAL, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o644)
        try:
            os.write(journal, line.encode())
            os.fsync(journal)
        finally:
            os.close(journal)

    @contextmanager
    def _opened(self, target: str) -> Iterator[int]:
        """Open a target by its place in the open root: no link can be slipped in between a check and its use."""
        if target in ("", ".", "..") or "/" in target or "\\" in target or "\0" in target:
            raise self._refused(target, "a target is the name of one folder, not a path")
        root = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            folder = os.open(target, _FOLDER, dir_fd=root)
        except OSError:  # it is not there, or it is a file or a link
            raise self._refused(target, "there is no such folder in the workspace") from None
        finally:
            os.close(root)
        try:
            yield folder
        finally:
            os.close(folder)

    def _refused(self, target: str, why: str) -> TargetRefusedError:
        return TargetRefusedError(f"{target!r} was refused: {why}; targets: {', '.join(self.targets()) or 'none'}")


def _empty(folder: int, before: float) -> Removed:
    removed = Removed()
    for entry in _entries(folder):
        if entry.is_dir(follow_symlinks=False):
            inner = os.open(entry.name, _FOLDER, dir_fd=folder)
            try:
                removed += _empty(inner, before)
                is_empty = not _entries(inner)
            finally:
                os.close(inner)
            if is_empty:
                os.rmdir(entry.name, dir_fd=folder)
        elif (status := entry.stat(follow_symlinks=False)).st_mtime < before:
            os.unlink(entry.name, dir_fd=folder)
            removed += Removed(1, status.st_size)
    return removed


def _count(folder: int) -> Removed:
    counted = Removed()
    for entry in _entries(folder):
        if entry.is_dir(follow_symlinks=False):
            inner = os.open(entry.name, _FOLDER, dir_fd=folder)
            try:
                counted += _count(inner)
            finally:
                os.close(inner)
        else:
            counted += Removed(1, entry.stat(follow_symlinks=False).st_size)
    return counted


def _entries(folder: int) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return list(entries)
