"""`Agent.after_tools`: continue with the model, or end the run, when the tools of a reply have ended."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast

from handfast.definitions.checks import check_function
from handfast.definitions.context import RunContext
from handfast.errors import DefinitionError
from handfast.payloads.json_profile import JsonObject

__all__ = ["AfterTools", "FinalOutput", "StopAt", "ToolResult"]


@dataclass(frozen=True, slots=True, init=False)
class StopAt:
    """End the run with the output of the first of these tools that ran, in the model's call order.

    Attributes:
        names: As the model calls them.
    """

    names: tuple[str, ...]

    def __init__(self, *names: str) -> None:
        given: tuple[object, ...] = names
        if not given or not all(isinstance(name, str) and name for name in given):
            raise DefinitionError("StopAt", "needs the names of the tools that end the run")
        object.__setattr__(self, "names", names)


@dataclass(frozen=True, slots=True)
class FinalOutput:
    """End the run with this output.

    Attributes:
        value: A text, or what pydantic can turn into JSON.
        include_in_history: Of `Agent.on_max_turns` and `Agent.on_refusal`: also keep it in the transcript, as a message
            of the assistant.
    """

    value: Any
    include_in_history: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResult:
    """The outcome of one call of the reply.

    Attributes:
        tool: The tool's name.
        call_id: The model's id of the call.
        arguments: The arguments that it ran with, or would have; a person may have changed them.
        output: The tool's return value as JSON; for a call that did not run to its end, the text that the model reads.
        ok: Whether it ran to its end: not rejected, failed, cancelled, or answered by a person.
    """

    tool: str
    call_id: str
    arguments: JsonObject
    output: Any
    ok: bool


AfterToolsRule: TypeAlias = Callable[
    [RunContext[Any], list[ToolResult]], FinalOutput | Awaitable[FinalOutput | None] | None
]
AfterTools: TypeAlias = Literal["run_again", "stop_on_first"] | StopAt | AfterToolsRule
"""``"run_again"``: the model reads the outputs. ``"stop_on_first"``, `StopAt`: the first call that ran ends the run. A
function of run context and results, sync or async: it answers with a `FinalOutput`, or None to run again."""


def checked_after_tools(subject: str, after_tools: object, offered: Collection[str] | None) -> AfterTools:
    """Check the after_tools option and return it.

    Args:
        subject: For the error: which agent.
        after_tools: The option.
        offered: Names of its tools; None where some are known at run time alone, as those of MCP servers.

    Raises:
        DefinitionError: It is of another kind, or names a tool that the agent does not have.
    """
    if after_tools == "run_again":
        return "run_again"
    if after_tools == "stop_on_first":
        return "stop_on_first"
    if isinstance(after_tools, StopAt):
        missing = [name for name in after_tools.names if offered is not None and name not in offered]
        if missing:
            known = ", ".join(sorted(offered or ())) or "none"
            raise DefinitionError(subject, f"after_tools stops at {', '.join(missing)}, but its tools are: {known}")
        return after_tools
    also = '"run_again", "stop_on_first", StopAt(…), or '
    check_function(subject, "after_tools", after_tools, "the run context", "the results", also=also)
    return cast(AfterTools, after_tools)
