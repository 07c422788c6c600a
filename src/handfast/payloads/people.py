"""Names of people and groups, as approvers and deciders are written. They are *claimed* until decisions are signed."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Final

GROUP: Final = "group:"
"""Before the name of a group; any other name is a person's."""
USER: Final = "user:"
"""May stand before a person's name, and changes nothing."""

REVIEWER: Final = "reviewer:"
"""Before the name of a reviewer, which is no person: nobody else decides under such a name."""

MOST_APPROVERS: Final = 20
APPROVER_CHARACTERS: Final = 64
"""Longest name of an approver: lists across runs show groups, and have little room."""


def is_group(name: str) -> bool:
    """Tell the name of a group from a person's."""
    return name.startswith(GROUP)


def is_reviewer(name: str) -> bool:
    """Tell the name of a reviewer from a person's, also in a spelling that only looks like one."""
    shown = "".join(each for each in person(name) if each.isprintable() and not each.isspace())
    while shown.startswith(USER):
        shown = shown.removeprefix(USER)
    return shown.startswith(REVIEWER)


def groups_among(names: Iterable[str]) -> list[str]:
    """The groups among approvers, with their prefix, each once, in order."""
    return list(dict.fromkeys(name for name in names if is_group(name)))


def person(name: str) -> str:
    """The one spelling of a person's name by which people are told apart.

    ``Ann``, ``ann ``, ``user:ann`` and ``User: Ann`` are one person.
    """
    folded = unicodedata.normalize("NFKC", name).casefold()
    return unicodedata.normalize("NFKC", folded).strip().removeprefix(USER).strip()


def named(name: str, approvers: Iterable[str]) -> bool:
    """Look for *name*, of a person or of a group, among *approvers*."""
    if is_group(name):
        return name in approvers
    return person(name) in {person(each) for each in approvers if not is_group(each)}
