"""Tracebacks of the user's code: as Python prints them, with the frames of the user's own files only."""

from __future__ import annotations

import functools
import os
import sys
import sysconfig
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

from handfast.payloads.cutting import cut
from handfast.payloads.json_profile import scrub

MOST_CAUSES: Final = 8
"""Exceptions of a chain that are shown, the newest ones."""
MOST_MEMBERS: Final = 8
"""Members of an exception group that are shown, at each level."""
DEEPEST_GROUP: Final = 8
MESSAGE_BYTES: Final = 4096
"""Characters of one exception's message that are shown."""
_LIBRARY_FOLDERS: Final = tuple(
    {f"{os.path.normpath(sysconfig.get_path(name))}{os.sep}" for name in ("stdlib", "platstdlib", "purelib", "platlib")}
)
_LIBRARY_NAMES: Final = frozenset({"site-packages", "dist-packages"})
_CAUSED: Final = "The above exception was the direct cause of the following exception:"
_MEANWHILE: Final = "During handling of the above exception, another exception occurred:"


def own_traceback(error: BaseException, *, texts: bool, function: Callable[..., Any] | None = None) -> str:
    """Format an exception with its causes and the members of its groups.

    Args:
        error: The exception.
        texts: Show what exceptions say, and not only their types: that may quote payloads.
        function: The user's function that raised it: an application that is installed like a library is told from one
            by it.
    """
    return "\n".join(_chain(error, _Style(texts, _package_of(function)), 0))


def last_own_line(error: BaseException, function: Callable[..., Any] | None = None) -> str | None:
    """Return where in the user's own files *error* was raised, as in "/app/shop.py, line 12"; None if nowhere."""
    package = _package_of(function)
    own = [(frame, line) for frame, line in traceback.walk_tb(error.__traceback__) if _is_own(frame, package)]
    if own:
        frame, line = own[-1]
        return f"{frame.f_code.co_filename}, line {line}"
    within = (last_own_line(each, function) for each in _members(error))
    return next((each for each in within if each is not None), None)


class _Style:
    def __init__(self, texts: bool, package: str | None) -> None:
        self.texts = texts
        self.package = package

    def said(self, error: BaseException) -> list[str]:
        """Name an exception and say what it says, as the last line of a traceback does."""
        if self.texts:
            said = cut(scrub("".join(traceback.format_exception_only(error))), MESSAGE_BYTES)[0]
            return [_visible(line) for line in said.splitlines()]
        return [_name(error)]

    def frames(self, error: BaseException) -> list[str]:
        frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
        told = traceback.extract_tb(error.__traceback__)
        own = [each for each, frame in zip(told, frames, strict=True) if _is_own(frame, self.package)]
        return "".join(traceback.StackSummary.from_list(own).format()).splitlines()


def _chain(error: BaseException, style: _Style, depth: int) -> list[str]:
    links: list[tuple[BaseException, str]] = [(error, "")]
    seen = {id(error)}
    while len(links) < MOST_CAUSES:
        each = links[-1][0]
        before, how = each.__cause__, _CAUSED
        if before is None and not each.__suppress_context__:
            before, how = each.__context__, _MEANWHILE
        if before is None or id(before) in seen:
            break
        seen.add(id(before))
        links.append((before, how))
    lines: list[str] = []
    for each, how in reversed(links):
        lines += _one(each, style, depth)
        if how:
            lines += ["", how, ""]
    return lines


def _one(error: BaseException, style: _Style, depth: int) -> list[str]:
    """Format one exception without its causes; those of a group's members come with them."""
    frames, said = style.frames(error), style.said(error)
    members = _members(error)
    if not members or depth >= DEEPEST_GROUP:
        return [*(["Traceback (most recent call last):"] if frames else []), *frames, *said]
    head = ["Exception Group Traceback (most recent call last):", *frames, *said]
    lines = [f"  + {head[0]}", *(f"  | {line}" for line in head[1:])]
    for number, member in enumerate(members[:MOST_MEMBERS], start=1):
        lines.append(f"  {'+-' if number == 1 else '  '}+---------------- {number} ----------------")
        lines += [f"    | {line}" for line in _chain(member, style, depth + 1)]
    if len(members) > MOST_MEMBERS:
        lines.append(f"    | and {len(members) - MOST_MEMBERS} more")
    return [*lines, "    +------------------------------------"]


def _members(error: BaseException) -> tuple[BaseException, ...]:
    return error.exceptions if isinstance(error, BaseExceptionGroup) else ()


def _is_own(frame: FrameType, package: str | None) -> bool:
    root = str(frame.f_globals.get("__name__", "")).partition(".")[0]
    if root == "handfast":
        return False
    if package is not None and root == package:
        return True
    file = frame.f_code.co_filename
    if file.startswith("<"):  # typed into a shell or notebook; what dataclasses and importlib generate is not
        return root == "__main__" and not file.startswith("<frozen ")
    return _is_own_file(file)


@functools.lru_cache(maxsize=4096)
def _is_own_file(file: str) -> bool:
    path = os.path.abspath(file)
    return not path.startswith(_LIBRARY_FOLDERS) and _LIBRARY_NAMES.isdisjoint(path.split(os.sep))


def _package_of(function: Callable[..., Any] | None) -> str | None:
    """Name the top-level package of a function; None where that is Python's or ours."""
    if isinstance(function, functools.partial):
        return _package_of(function.func)
    root = str(getattr(function, "__module__", None) or "").partition(".")[0]
    return root if root and root != "handfast" and root not in sys.stdlib_module_names else None


def _name(error: BaseException) -> str:
    kind = type(error)
    return (
        kind.__qualname__ if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}.{kind.__qualname__}"
    )


def _visible(line: str) -> str:
    """Escape characters that a terminal would not show as themselves: a message may quote what a model wrote."""
    return "".join(each if each.isprintable() or each == "\t" else ascii(each)[1:-1] for each in line)
