"""Folders and files for this account alone, whatever the umask."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

FOLDER_MODE: Final = 0o700
FILE_MODE: Final = 0o600


def private_folder(folder: Path) -> Path:
    """Make a folder for this account alone, or take one that is there.

    Raises:
        PermissionError: It belongs to another account.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    create_folder(folder)
    found = folder.stat()
    if found.st_uid != os.geteuid():
        raise PermissionError(f"{folder} belongs to another account")
    if stat.S_IMODE(found.st_mode) != FOLDER_MODE:
        folder.chmod(FOLDER_MODE)
    return folder


def create_folder(folder: Path) -> None:
    """Make a folder and those above it that are missing, each for this account alone; leave others as they are."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    for each in reversed(missing):
        with suppress(FileExistsError):  # another process was faster
            each.mkdir(mode=FOLDER_MODE)
            each.chmod(FOLDER_MODE)


def make_private(file: Path) -> None:
    """Take a file that this account owns out of everybody else's reach."""
    if file.is_file() and not file.is_symlink() and stat.S_IMODE(file.stat().st_mode) != FILE_MODE:
        file.chmod(FILE_MODE)


def open_private(file: str | Path, flags: int) -> int:
    """Open a file that is made for this account alone where it is missing; usable as an opener."""
    descriptor = os.open(file, flags, FILE_MODE)
    os.fchmod(descriptor, FILE_MODE)
    return descriptor


def write_private(file: Path, text: str) -> None:
    """Replace a file in one step, so that a reader never sees half of it."""
    fresh = file.with_name(f"{file.name}.{os.getpid()}")
    descriptor = open_private(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW)
    with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
        opened.write(text)
    fresh.replace(file)


def read_own(file: Path) -> bytes | None:
    """Read a file of this account's; None where there is none.

    A link is not followed: what it leads to may be anybody's choice.

    Raises:
        PermissionError: It belongs to another account, or is a link.
    """
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise PermissionError(f"{file} cannot be trusted: {error.strerror}") from error
    with os.fdopen(descriptor, "rb") as opened:
        if os.fstat(descriptor).st_uid != os.geteuid():
            raise PermissionError(f"{file} belongs to another account")
        return opened.read()
