"""A tool's call, or a run's answer, cannot be taken as it is. The model reads most of these texts."""

from __future__ import annotations

from collections.abc import Sequence

from handfast.payloads.errors import HandfastError


class ArgumentsInvalidError(HandfastError):
    """A call's arguments do not satisfy the tool's schema. The text is written for the model to read."""

    def __init__(self, tool: str, problems: Sequence[str]) -> None:
        super().__init__(f"invalid arguments for {tool}: {'; '.join(problems)}")
        self.tool = tool
        self.problems = tuple(problems)


class SecretMissingError(HandfastError):
    """A tool's secret is not there on this worker; the tool has not run.

    Attributes:
        reference: Which one, as the tool names it.
    """

    def __init__(self, tool: str, reference: str) -> None:
        super().__init__(f"{tool} has not run: its secret {reference} is missing on this worker; set it, and try again")
        self.tool = tool
        self.reference = reference


class SecretUnavailableError(HandfastError):
    """The keeper of a tool's secret does not answer; the tool has not run."""

    def __init__(self, tool: str, problem: str) -> None:
        super().__init__(f"{tool} has not run: {problem}; it is tried again")
        self.tool = tool
        self.problem = problem


class OutcomeUnknownError(HandfastError):
    """Raised by a tool whose call may or may not have taken effect, where it cannot tell: see `tool`, *on_unknown*."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class OutputInvalidError(HandfastError):
    """A run's answer does not fit the type that was asked for. The text is written for the model to read."""

    def __init__(self, name: str, problems: Sequence[str]) -> None:
        super().__init__(f"the output is no {name}: {'; '.join(problems)}")
        self.name = name
        self.problems = tuple(problems)


class ArtifactError(HandfastError):
    """An output that goes by reference could not be kept or read. The text is written for the model to read.

    Attributes:
        attempted: ``"kept"`` or ``"read"``.
        brief: The text without the output's name.
    """

    def __init__(self, sha256: str, attempted: str, problem: str) -> None:
        self.brief = f"the whole could not be {attempted}: {problem}"
        super().__init__(f"output {sha256[:64]}: {self.brief}")
        self.sha256 = sha256
        self.attempted = attempted
        self.problem = problem
