"""A file system of fsspec whose writes can be held up, or refused."""

from __future__ import annotations

import threading
from typing import Any, ClassVar

import fsspec
from fsspec.implementations.memory import MemoryFileSystem

SCHEME = "held"


class HeldFileSystem(MemoryFileSystem):  # type: ignore[misc]  # fsspec has no types
    """In memory; one for the whole process.

    Attributes:
        writing: Set once somebody writes.
        go_on: Writes wait for it, 30 seconds at most.
        broken: Writes fail, as they do where a disk is full.
        writes: How many were tried.
    """

    protocol = SCHEME
    writing: ClassVar[threading.Event] = threading.Event()
    go_on: ClassVar[threading.Event] = threading.Event()
    broken: ClassVar[bool] = False
    writes: ClassVar[int] = 0

    @classmethod
    def reset(cls, *, held: bool = False, broken: bool = False) -> str:
        """Begin anew; return the URL of an empty folder."""
        fsspec.register_implementation(SCHEME, cls, clobber=True)
        cls.store.clear()
        cls.writing, cls.go_on, cls.broken, cls.writes = threading.Event(), threading.Event(), broken, 0
        if not held:
            cls.go_on.set()
        return f"{SCHEME}://folder"

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        stripped: str = super()._strip_protocol(path.removeprefix(f"{SCHEME}://"))
        return stripped

    def pipe_file(self, path: str, value: bytes, **options: Any) -> None:
        """Write a file, when it is let."""
        type(self).writes += 1
        self.writing.set()
        self.go_on.wait(30)
        if self.broken:
            raise OSError(28, "No space left on device")
        super().pipe_file(path, value, **options)
