"""Patterns for arguments that hold one command, compared word by word. Pure.

A pattern is split into words as a shell does it, and so is the value. ``*`` stands for any characters of one word and
``?`` for one; a last word that is nothing but ``*`` stands for any number of further words, none included. A wildcard
at the start of a word does not match a word that begins with ``-``: an option is not a file name. Values with a
character that a shell might act upon match nothing, whatever the quotes around it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Final

MOST_PATTERNS: Final = 20
PATTERN_BYTES: Final = 1024
"""Most bytes of all patterns of one decision together, with the names of their parameters."""
LONGEST_VALUE: Final = 4096
"""Characters of a value; a longer one matches nothing."""

ACTED_UPON: Final = frozenset(";&|`$()<>{}[]*?!#~^%\\")
"""Characters with which a shell composes, expands or escapes."""
WILDCARDS: Final = "*?"

RUNNERS: Final = frozenset(
    {
        *("sh", "bash", "rbash", "zsh", "dash", "ash", "ksh", "mksh", "csh", "tcsh", "fish", "busybox"),
        *("eval", "exec", "source", ".", "command", "builtin", "coproc", "env", "xargs", "parallel", "script", "entr"),
        *("sudo", "doas", "su", "runuser", "pkexec", "chroot", "unshare", "nsenter", "setpriv", "fakeroot", "ssh"),
        *("nohup", "nice", "ionice", "taskset", "chrt", "time", "timeout", "watch", "setsid", "flock", "stdbuf"),
        *("unbuffer", "strace", "ltrace", "gdb", "systemd-run", "npx", "bunx", "pnpx", "uvx", "pipx"),
        *("cmd", "cmd.exe", "powershell", "pwsh"),
    }
)
"""Commands that run whatever follows them."""
INTERPRETERS: Final = re.compile(
    r"(i?python|pypy|perl|ruby|node|deno|bun|php|lua|luajit|awk|gawk|mawk|tclsh|osascript|Rscript|julia)[\d.]*"
)
"""Commands that run code from their arguments, unless the first argument is fixed and names a program: behind an option
there could still come any, or the code itself."""


def problem_of(patterns: Mapping[str, str]) -> str | None:
    """Return the reason for which *patterns* cannot be remembered: too wide, or none at all; None where they can."""
    if not 1 <= len(patterns) <= MOST_PATTERNS:
        return f"match takes 1 to {MOST_PATTERNS} parameters with a pattern each"
    if sum(len(name.encode()) + len(pattern.encode()) for name, pattern in patterns.items()) > PATTERN_BYTES:
        return f"the patterns of match may have {PATTERN_BYTES} bytes together"
    for name, pattern in patterns.items():
        problem = _problem(pattern)
        if problem is not None:
            return f"the pattern of {name[:64]} {problem}"
    return None


def matches(pattern: str, value: str) -> bool:
    """Match *value*, one command or one text, against *pattern*."""
    words, wanted = _split(value, ""), _split(pattern, WILDCARDS)
    if words is None or not wanted:
        return False
    if wanted[-1] == "*":
        wanted = wanted[:-1]
        words = words[: len(wanted)]
    return len(words) == len(wanted) and all(map(_word_matches, wanted, words))


def _problem(pattern: str) -> str | None:
    words = _split(pattern, WILDCARDS)
    if words is None:
        return "has a character that a shell acts upon, or an open quote; beside words it takes * and ? only"
    if not words or not words[0]:
        return "is empty"
    if _is_wild(words[0]) or "=" in words[0]:
        return "is too wide: its first word must stand as it is, and be no assignment"
    if any(map(_is_wild, words)) and _runs_anything(words):
        return f"is too wide: {words[0]} runs whatever follows it"
    return None


def _runs_anything(words: Sequence[str]) -> bool:
    command = PurePosixPath(words[0]).name
    if command in RUNNERS:
        return True
    if INTERPRETERS.fullmatch(command) is None:
        return False
    program = words[2:] if "py" in command and words[1:2] == ["-m"] else words[1:]
    return not program or _is_wild(program[0]) or program[0].startswith("-")


def _is_wild(word: str) -> bool:
    return any(sign in word for sign in WILDCARDS)


def _split(text: str, allowed: str) -> list[str] | None:
    """The words of *text*; None where it might be more, or something else, than words."""
    if len(text) > LONGEST_VALUE:
        return None
    for character in text:
        if character in ACTED_UPON and character not in allowed:
            return None
        if character not in " \t" and (character.isspace() or not character.isprintable()):
            return None
    try:
        return shlex.split(text)
    except ValueError:  # an open quote
        return None


def _word_matches(pattern: str, word: str) -> bool:
    """Match one word: what stands between two ``*`` is taken where it is found first.

    Searched for by what is written in C: a workflow task has two seconds, also for a hundred odd patterns.
    """
    if pattern[:1] in ("*", "?") and word.startswith("-"):
        return False
    first, *further = pattern.split("*")
    if not further:
        return len(word) == len(first) and _found(first, word, 0, len(word)) == 0
    *middle, last = further
    at, end = len(first), len(word) - len(last)
    if end < at or _found(first, word, 0, at) != 0 or _found(last, word, end, len(word)) != end:
        return False
    for part in middle:
        found = _found(part, word, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True


def _found(part: str, word: str, begin: int, end: int) -> int:
    """Return the first place of *part*, in which ``?`` stands for any character, in a piece of *word*; -1 for none."""
    if "?" not in part:
        return word.find(part, begin, end)
    signs = "".join("." if sign == "?" else re.escape(sign) for sign in part)
    found = re.compile(signs, re.DOTALL).search(word, begin, end)
    return -1 if found is None else found.start()
