"""`AgentRef`: an agent as a workflow names it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, overload

from temporalio.exceptions import ApplicationError
from typing_extensions import TypeVar

from handfast.definitions.schema.output_type import OutputType, built, typed_result
from handfast.errors import DefinitionError, OutputInvalidError
from handfast.payloads.json_profile import JsonValue
from handfast.payloads.runs import RunResult

__all__ = ["AgentRef", "Output"]

Output = TypeVar("Output", default=JsonValue)


@dataclass(frozen=True, init=False)
class AgentRef(Generic[Output]):
    """Names an agent. Workflows know no more of it, so a deploy of agent code cannot break them.

    Attributes:
        output_type: As what the output is read in your workflow: the agent's own `output_type`, or any that pydantic
            can build. None leaves it the JSON that it is.
    """

    name: str
    output_type: Any

    @overload
    def __init__(self: AgentRef[JsonValue], name: str) -> None: ...

    @overload
    def __init__(self, name: str, *, output_type: type[Output]) -> None: ...

    @overload
    def __init__(self: AgentRef[Any], name: str, *, output_type: Any) -> None: ...

    def __init__(self, name: str, *, output_type: Any = None) -> None:
        """Name an agent."""
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "output_type", output_type)

    def reader(self) -> OutputType | None:
        """Build the type that the output is read as.

        Raises:
            ApplicationError: ``OutputInvalid``: pydantic cannot build it.
        """
        if self.output_type is None:
            return None
        try:
            return built(self.output_type, f"AgentRef {self.name!r}")
        except DefinitionError as error:
            raise ApplicationError(str(error), type="OutputInvalid", non_retryable=True) from None


def read_output(result: RunResult, reader: OutputType | None) -> RunResult[Any]:
    """Return *result* with its output as the type of *reader*; None leaves it as it is.

    Raises:
        ApplicationError: ``OutputInvalid``: it does not fit.
    """
    if reader is None:
        return result
    try:
        return typed_result(result, reader)
    except OutputInvalidError as error:
        raise ApplicationError(str(error), type="OutputInvalid", non_retryable=True) from None
