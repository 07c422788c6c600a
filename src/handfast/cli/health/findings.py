"""Findings of checks. Checks are a list, `handfast.cli.health.checks.CHECKS`: a further one is one line there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from handfast.client.client import Handfast

State = Literal["ok", "note", "wrong"]


@dataclass(frozen=True)
class Finding:
    """A result of a check.

    Attributes:
        check: The check's name.
        state: *ok*; *note*: worth knowing, as during a rollout; *wrong*: something does not work.
        said: The finding, in one line.
        remedy: The remedy, in one line; empty where nothing is to be done.
        facts: The same for programs.
    """

    check: str
    state: State
    said: str
    remedy: str = ""
    facts: Mapping[str, object] = field(default_factory=dict)


Look = Callable[[Handfast], Awaitable[Sequence[Finding]]]


@dataclass(frozen=True)
class Check:
    """A name, and the function that looks. An exception of it becomes a finding of its own."""

    name: str
    look: Look
