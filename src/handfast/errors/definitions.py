"""Definitions and calls that cannot work, and names that nothing has."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from handfast.payloads.errors import HandfastError


class DefinitionError(HandfastError):
    """An agent, a tool or a rule is defined in a way that cannot work."""

    def __init__(self, subject: str, problem: str) -> None:
        super().__init__(f"{subject}: {problem}")
        self.subject = subject
        self.problem = problem


class ModelClientMissingError(DefinitionError):
    """A worker's agents have no model to ask: no client was given, and no key is there to make one with."""

    def __init__(self) -> None:
        super().__init__(
            "HandfastPlugin",
            "no model client: set OPENAI_API_KEY, or give models={'default': AsyncOpenAI(…)}; without a key a local "
            "model server will do (OPENAI_BASE_URL, and any OPENAI_API_KEY)",
        )


class UsageError(HandfastError, TypeError):
    """A function was called with an argument of another type than it takes; nothing was done.

    Attributes:
        function: Which one, as ``Run.result``.
        problem: The argument, what it must be, and what was given.
    """

    def __init__(self, function: str, problem: str) -> None:
        super().__init__(f"{function}: {problem}")
        self.function = function
        self.problem = problem


class TargetError(HandfastError):
    """``MODULE[:NAME]`` does not lead to agents."""

    def __init__(self, target: str, problem: str) -> None:
        super().__init__(f"{target}: {problem}")
        self.target = target
        self.problem = problem


class UnknownAgentError(HandfastError):
    """No agent of that name is registered."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        super().__init__(_unknown("agent", name, known))
        self.name = name
        self.known = tuple(known)


class UnknownToolError(HandfastError):
    """No tool of that name is registered."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        super().__init__(_unknown("tool", name, known))
        self.name = name
        self.known = tuple(known)


def _unknown(noun: str, name: str, known: Sequence[str]) -> str:
    shown = name if len(name) <= 64 else f"{name[:64]}…"  # the name may come from a model or from outside
    close = get_close_matches(name[:64], known, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ";"
    return f"no {noun} named {shown!r}{hint} known {noun}s: {', '.join(known) or 'none'}"
