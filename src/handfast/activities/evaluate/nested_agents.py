"""User code around nested agents and handoffs: inputs, outputs, failures, filters."""

from __future__ import annotations

import copy
import uuid
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from temporalio.exceptions import ApplicationError

from handfast.activities.runtime.calls import arguments_of
from handfast.activities.runtime.outputs import bounded_output, bounded_text
from handfast.activities.runtime.runtime import Runtime
from handfast.activities.runtime.user_code import Problem, ask
from handfast.activities.runtime.user_errors import log_answer
from handfast.activities.runtime.validation import ValidatorFailedError, validated
from handfast.activities.tool.context_watch import ContextWatch
from handfast.definitions.agents.agent_tool import AgentFailure, AgentTool, NestedRun
from handfast.definitions.agents.handoff import Handoff, HandoffHistory
from handfast.definitions.context import RunContext
from handfast.definitions.tools.offered import Offered
from handfast.errors import ArgumentsInvalidError, JsonProfileError, UnknownToolError
from handfast.payloads.base import json_size
from handfast.payloads.conversation import without_orphans
from handfast.payloads.evaluation import (
    BuildInput,
    ExtractOutput,
    FilterHistory,
    HandoffTold,
    Items,
    OutputExtracted,
    TellHandoff,
    WordFailure,
    Words,
)
from handfast.payloads.json_profile import JsonObject, check_json, scrub
from handfast.payloads.model_call import Origin
from handfast.payloads.transcript import BLOCK_BYTES, user_message

Function = TypeVar("Function", bound=Callable[..., Any])
OfferedT = TypeVar("OfferedT", bound=Offered)


FUNCTION_S: Final = 20.0
"""Time limit of one of them: less than the activity's."""


async def build_input(asked: BuildInput, runtime: Runtime) -> Items:
    """Make a nested agent's input."""
    tool, context = await _found(asked.origin, asked.tool, AgentTool, runtime)
    name = f"the input builder of {asked.tool}"
    builder = _here(tool.input_builder, name)
    given = await arguments_of(runtime, asked)
    try:
        arguments = await validated(tool.validate, given, of=tool, threads=runtime.validation_threads)
    except (ArgumentsInvalidError, ValidatorFailedError) as error:
        return Items(problem=f"Error: {error}")
    made = await ask(builder, context, arguments, name=name, within=FUNCTION_S, threads=runtime.threads)
    if isinstance(made, Problem):
        return Items(problem=f"{name} {made.text}")
    return _items([user_message(scrub(made))] if isinstance(made, str) else made, name)


async def extract_output(asked: ExtractOutput, runtime: Runtime) -> OutputExtracted:
    """Make a call's output of a nested loop that has ended."""
    tool, context = await _found(asked.origin, asked.tool, AgentTool, runtime)
    name = f"the output extractor of {asked.tool}"
    extractor = _here(tool.output_extractor, name)
    items = await runtime.blocks.whole(asked.nested)
    [said] = await runtime.blocks.block(asked.nested, asked.output)
    run = NestedRun(agent=asked.nested.agent, output=said["output"], items=items, turns=asked.nested.turn)
    value = await ask(extractor, context, run, name=name, within=FUNCTION_S, threads=runtime.threads)
    if isinstance(value, Problem):
        return OutputExtracted(problem=f"Error: {name} {value.text}")
    shaped = bounded_output(value)
    if shaped.problem is not None:
        log_answer(name, f"returned a {type(value).__name__} that cannot be given to the model")
    return OutputExtracted(output=shaped.output, problem=shaped.problem)


async def word_failure(asked: WordFailure, runtime: Runtime) -> Words:
    """Word the failure of a nested loop; a function that gives no text leaves the default one in place."""
    tool, context = await _found(asked.origin, asked.tool, AgentTool, runtime)
    if not callable(tool.on_error):
        return Words()
    failure = AgentFailure(agent=asked.agent, kind=asked.failure, message=asked.message)
    name, then = f"on_error of {asked.tool}", "the default text is used"
    text = await ask(tool.on_error, context, failure, name=name, within=FUNCTION_S, threads=runtime.threads, then=then)
    if isinstance(text, str):
        return Words(text=bounded_text(text))
    if not isinstance(text, Problem):
        log_answer(name, f"answered {type(text).__name__}, not a text", then)
    return Words()


async def tell_handoff(asked: TellHandoff, runtime: Runtime) -> HandoffTold:
    """Call `on_handoff`; where it raises, the handoff does not take place.

    Raises:
        ApplicationError: ``HandoffUnknown``: it took too long, and may have had its effect.
    """
    handoff, context = await _found(asked.origin, asked.tool, Handoff, runtime)
    name = f"on_handoff of {asked.tool}"
    on_handoff = _here(handoff.on_handoff, name)
    given: list[Any] = [context]
    if handoff.takes_input:
        arguments = await arguments_of(runtime, asked)
        try:
            given.append(await validated(handoff.validate, arguments, of=handoff, threads=runtime.validation_threads))
        except (ArgumentsInvalidError, ValidatorFailedError) as error:
            return HandoffTold(problem=f"Error: the handoff did not take place: {error}")
    watch = ContextWatch((await runtime.facts(asked.origin)).context, context.context)
    answer = await ask(on_handoff, *given, name=name, within=FUNCTION_S, threads=runtime.threads, keeps_context=True)
    if not isinstance(answer, Problem):
        change = watch.change(context.context)
        if change.refused is not None:
            log_answer(name, "changed ctx.context to what the run cannot keep", "the change is lost")
        return HandoffTold(context=change.edits or None, context_refused=change.refused)
    if answer.error is None:
        raise ApplicationError(f"{name} {answer.brief}", type="HandoffUnknown", non_retryable=True)
    return HandoffTold(problem=f"Error: the handoff did not take place: {answer.error}")


async def filter_history(asked: FilterHistory, runtime: Runtime) -> Items:
    """Ask a handoff's filter; without an answer the next agent must not see what it would have left out."""
    handoff, context = await _found(asked.origin, asked.tool, Handoff, runtime)
    name, then = f"the filter of {asked.tool}", "the run ends"
    filter_ = _here(handoff.filter, name)
    items = await runtime.blocks.whole(asked.origin)
    given = copy.deepcopy(items)  # the filter may change them
    history = HandoffHistory(items=given, by=asked.origin.agent, to=handoff.to)
    kept = await ask(filter_, context, history, name=name, within=FUNCTION_S, threads=runtime.threads, then=then)
    if isinstance(kept, Problem):
        return Items(problem=f"{name} {kept.text}")
    return _items(kept, name, of=items)


async def _found(origin: Origin, name: str, kind: type[OfferedT], runtime: Runtime) -> tuple[OfferedT, RunContext[Any]]:
    agent = runtime.registry.agent(origin.agent)
    offered = agent.offered.get(name)
    if not isinstance(offered, kind):
        raise UnknownToolError(name, sorted(agent.offered))
    return offered, await runtime.run_context(origin, agent.context_type)


def _here(function: Function | None, what: str) -> Function:
    """Return the user's function; it was there when the call was planned.

    Raises:
        ApplicationError: ``Missing``: this worker lacks it, being older or a later deploy. Another may have it.
    """
    if function is None:
        raise ApplicationError(f"{what} is not there on this worker", type="Missing")
    return function


def _items(value: object, who: str, *, of: Sequence[JsonObject] | None = None) -> Items:
    """Check items that user code made; drop halves of pairs that a filter left of a conversation."""
    if isinstance(value, tuple):
        value = list(value)
    items: list[JsonObject] = []
    problem = _problem_with(value)
    if problem is None and isinstance(value, list):
        items = value if of is None else without_orphans(value, of)
        size = json_size(items)
        if not items:
            problem = "returned nothing that an agent could read"
        elif size > BLOCK_BYTES:
            problem = f"returned {size:,} bytes of items; at most {BLOCK_BYTES:,} can be recorded"
    if problem is not None:
        log_answer(who, problem.partition(":")[0])  # what follows may quote a key
        return Items(problem=f"{who} {problem}")
    return Items(block=uuid.uuid4().hex, items=items)


def _problem_with(value: object) -> str | None:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        return "must return items as the Responses API takes them (a list of dicts)"
    try:
        check_json(value)
    except JsonProfileError as error:
        return f"returned what is not JSON: {error.problem}"
    return None
