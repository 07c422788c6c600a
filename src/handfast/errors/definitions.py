"""What is defined cannot work, or is not there under the name it is asked for."""

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
