"""Errors of what is kept outside the server: the archive, and the store of large outputs."""

from __future__ import annotations

from handfast.payloads.errors import HandfastError


class ArchiveDamagedError(HandfastError):
    """A file of the archive cannot be read as what it is named for: it was cut, overwritten or exchanged."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(f"{name} of the archive is damaged: {problem}; restore it from a backup")
        self.name = name
        self.problem = problem


class ArchiveUnavailableError(HandfastError):
    """The archive cannot be read or erased now: it is away, or this account may not."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"the archive cannot be reached ({problem}); see to it, then try again")
        self.problem = problem


class ArtifactsUnavailableError(HandfastError):
    """The store of large outputs cannot be listed or erased now: it is away, or this account may not."""

    def __init__(self, problem: str) -> None:
        super().__init__(f"the store of artifacts cannot be reached ({problem}); see to it, then try again")
        self.problem = problem
