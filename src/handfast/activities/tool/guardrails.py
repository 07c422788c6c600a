"""Asks a tool's guardrails. A call or output that they cannot judge is blocked."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from pydantic import BaseModel
from temporalio import activity

from handfast.activities.runtime.outputs import bounded_output
from handfast.activities.runtime.user_code import Problem, ask
from handfast.definitions.context import ToolContext
from handfast.definitions.gates.guardrails import Allow, Fail, Replace
from handfast.definitions.tools.options import OutputCheck, ToolInputGuardrail
from handfast.payloads.tool_call import ToolOutcome

logger = logging.getLogger(__name__)

GUARDRAIL_S: Final = 30.0
"""Time limit of one guardrail."""
GUARDRAILS_S: Final = 60.0
"""Time limit of all guardrails of one call's input, or output, together."""

T = TypeVar("T")


@dataclass(frozen=True)
class Stopped:
    """An input guardrail does not let the call run.

    Attributes:
        output: The text that the model reads instead.
        reason: Why the run ends; None where it goes on.
    """

    output: str = ""
    reason: str | None = None


@dataclass(frozen=True)
class Ended:
    """A call that has ended.

    Attributes:
        whole: The output as a text, where it was cut and the model may read all of it.
        media: Images and files that the output refers to.
    """

    outcome: ToolOutcome
    whole: str | None = None
    media: Mapping[str, bytes] | None = None


async def ask_input(
    guardrails: Iterable[ToolInputGuardrail], context: ToolContext[Any], arguments: BaseModel, threads: Executor
) -> Stopped | None:
    """Ask the input guardrails in their order, up to the first that stops the call. One that fails stops it too."""
    try:
        async with asyncio.timeout(GUARDRAILS_S):
            for guardrail in guardrails:
                stopped = await _ask_one(guardrail, context, arguments, threads)
                if stopped is not None:
                    return stopped
    except TimeoutError:
        return Stopped(output=not_asked(context.tool, f"took longer than {GUARDRAILS_S:g} s together"))
    return None


async def _ask_one(
    guardrail: ToolInputGuardrail, context: ToolContext[Any], arguments: BaseModel, threads: Executor
) -> Stopped | None:
    try:
        verdict = await _verdict(guardrail.function, context, arguments, threads)
    except GuardrailError as error:
        logger.error("a call of %s was not run: an input guardrail %s", context.tool, error.brief)
        return Stopped(output=not_asked(context.tool, error.brief))
    match verdict:
        case Fail(reason=reason):
            return Stopped(reason=reason)
        case Replace(value=value):
            shaped = bounded_output(value)
            if shaped.problem is not None or not isinstance(shaped.output, str):
                return Stopped(output=not_asked(context.tool, "answered with what is no text and no JSON"))
            return Stopped(output=shaped.output)
    return None


async def guarded_output(
    guardrails: Iterable[OutputCheck], context: ToolContext[Any], value: object, ended: Ended, threads: Executor
) -> Ended:
    """Ask the output guardrails in their order, each about the output that the one before left.

    The tool has run: whatever they do, it is not run again.

    Args:
        value: The function's return value.
        ended: The end of the call so far.
    """
    result = ended
    try:
        async with asyncio.timeout(GUARDRAILS_S):
            for check in guardrails:
                # The context is the tool's own: what they change in it is recorded with what the tool has changed.
                verdict = await _verdict(check, context, value, threads, keeps_context=True)
                if isinstance(verdict, Fail):
                    return Ended(result.outcome.model_copy(update={"tripped": verdict.reason}))
                if isinstance(verdict, Replace):
                    value = verdict.value
                    result = _replaced(result.outcome, value)
    except TimeoutError:
        return Ended(withheld(ended.outcome, f"the guardrails took longer than {GUARDRAILS_S:g} s"))
    except GuardrailError as error:
        logger.error("the output of %s was withheld: an output guardrail %s", context.tool, error.brief)
        return Ended(withheld(ended.outcome, f"a guardrail {error.brief}"))
    return result


def withheld(ended: ToolOutcome, why: str) -> ToolOutcome:
    """Keep a tool's output from the model, and in the record."""
    return ended.model_copy(
        update={
            "output": f"The tool ran, but its output was withheld: {why}. Do not run it again to see it.",
            "form": None,
            "withheld": ended.output,
        }
    )


async def unhurried(work: Awaitable[T]) -> T | None:
    """Wait for *work* through a cancel, so that a tool's output is not lost; None where the worker shuts down first."""
    task = asyncio.ensure_future(work)
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            details = activity.cancellation_details()
            if details is None or details.worker_shutdown:
                task.cancel()
                return None
    return task.result()


class GuardrailError(Exception):
    """A guardrail gave no verdict.

    Attributes:
        brief: What happened, without the message of the guardrail's exception: that may quote the output.
    """

    def __init__(self, brief: str, detail: str = "") -> None:
        super().__init__(f"{brief}: {detail}" if detail else brief)
        self.brief = brief


async def _verdict(
    function: Callable[..., Any],
    context: ToolContext[Any],
    subject: object,
    threads: Executor,
    *,
    keeps_context: bool = False,
) -> Allow | Replace | Fail:
    name = f"the guardrail {getattr(function, '__name__', type(function).__name__)} of {context.tool}"
    answer = await ask(
        function, context, subject, name=name, within=GUARDRAIL_S, threads=threads, keeps_context=keeps_context
    )
    if isinstance(answer, Problem):
        raise GuardrailError(answer.brief)
    if answer is None:
        return Allow()
    if isinstance(answer, Allow | Replace | Fail):
        return answer
    raise GuardrailError(f"answered {type(answer).__name__}, not Allow, Replace or Fail")


def _replaced(ended: ToolOutcome, value: object) -> Ended:
    shaped = bounded_output(value, by_reference=True)
    if shaped.problem is not None:
        raise GuardrailError("put something in the output's place that cannot be given to the model")
    update = {"output": shaped.output, "form": "json" if shaped.json else None, "bytes": shaped.size}
    return Ended(ended.model_copy(update=update), shaped.whole, shaped.media)


def not_asked(tool: str, why: str) -> str:
    """Tell the model of a call that does not run, as an input guardrail gave no verdict."""
    return f"Error: this call of {tool} was not run: an input guardrail {why}"
