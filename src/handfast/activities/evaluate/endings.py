"""Asks an agent's own functions for a run's output, where the model gave no answer."""

from __future__ import annotations

import json
from typing import Any, Final

from pydantic import ConfigDict, TypeAdapter
from temporalio.exceptions import ApplicationError

from handfast.activities.runtime.outputs import bounded_output, described
from handfast.activities.runtime.runtime import Runtime
from handfast.activities.runtime.user_code import Problem, ask
from handfast.activities.runtime.user_errors import log_answer
from handfast.activities.runtime.validation import validated_output
from handfast.definitions.agents.after_tools import FinalOutput, ToolResult
from handfast.definitions.agents.agent import Agent
from handfast.definitions.agents.limits import MaxTurns, OnMaxTurns, OnRefusal, Refusal
from handfast.definitions.schema.output_type import OutputType
from handfast.errors import OutputInvalidError
from handfast.payloads.base import json_size
from handfast.payloads.evaluation import (
    AfterTools,
    AskAfterTools,
    EndingHandled,
    FinalWords,
    HandleMaxTurns,
    HandleRefusal,
)
from handfast.payloads.json_profile import JsonValue, check_json, scrub_json
from handfast.payloads.model_call import Origin
from handfast.payloads.tool_call import RESULT_BYTES
from handfast.workflows.frame.items import refusal_text

HANDLER_S: Final = 20.0
"""Time limit of one of them."""
_ANY: Final[TypeAdapter[Any]] = TypeAdapter(Any, config=ConfigDict(ser_json_inf_nan="constants"))


AFTER_TOOLS_S: Final = 20.0
"""Time limit of the function."""


async def handle_max_turns(asked: HandleMaxTurns, runtime: Runtime) -> EndingHandled:
    """Ask the agent's `on_max_turns`."""
    agent = runtime.registry.agent(asked.origin.agent)
    return await _final_words(agent, agent.on_max_turns, asked.origin, MaxTurns(max_turns=asked.limit), runtime)


async def handle_refusal(asked: HandleRefusal, runtime: Runtime) -> EndingHandled:
    """Ask the agent's `on_refusal`."""
    agent = runtime.registry.agent(asked.origin.agent)
    items = await runtime.blocks.block(asked.origin, asked.block)
    return await _final_words(agent, agent.on_refusal, asked.origin, Refusal(text=refusal_text(items) or ""), runtime)


async def _final_words(
    agent: Agent,
    handler: OnMaxTurns | OnRefusal | None,
    origin: Origin,
    happened: MaxTurns | Refusal,
    runtime: Runtime,
) -> EndingHandled:
    """Ask a function that may end the run with an answer; where it raises or hangs, the run fails as without it."""
    if handler is None:
        return EndingHandled()
    context = await runtime.run_context(origin, agent.context_type)
    function = "on_max_turns" if isinstance(happened, MaxTurns) else "on_refusal"
    name, then = f"{function} of agent {agent.name}", "the run fails as without it"
    said = await ask(handler, context, happened, name=name, within=HANDLER_S, threads=runtime.threads, then=then)
    if isinstance(said, Problem):
        return EndingHandled(problem=said.text)
    if said is None or (isinstance(said, FinalOutput) and said.value is None):
        return EndingHandled()
    recorded = await _recorded(said if isinstance(said, FinalOutput) else FinalOutput(said), agent.output, runtime)
    if recorded.problem is not None:
        log_answer(name, f"returned a {type(said).__name__} that cannot end the run", then)
    return recorded


async def _recorded(final: FinalOutput, kind: OutputType | None, runtime: Runtime) -> EndingHandled:
    try:
        plain: JsonValue = scrub_json(_ANY.dump_python(final.value, mode="json", warnings="error"))
        check_json(plain)
    except Exception as error:  # noqa: BLE001 - the output is an object of the user's: its code runs here
        return EndingHandled(problem=f"returned what is no JSON: {described(error)}")
    if (size := json_size(plain)) > RESULT_BYTES:
        return EndingHandled(problem=f"returned {size:,} bytes, and at most {RESULT_BYTES:,} can be recorded")
    if kind is not None:
        try:
            await validated_output(
                kind.read, plain, of=kind, threads=runtime.validation_threads, then="the run fails as without it"
            )
        except OutputInvalidError as error:
            return EndingHandled(problem=f"returned what does not fit the output type: {error}")
    text = plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)
    return EndingHandled(closing=FinalWords(output=plain, text=text if final.include_in_history else None))


async def ask_after_tools(asked: AskAfterTools, runtime: Runtime) -> AfterTools:
    """Ask the agent's `after_tools`. One that raises, hangs or answers nonsense is a problem, which ends the run.

    Raises:
        ApplicationError: ``Missing``: this worker's agent has no such function.
    """
    agent = runtime.registry.agent(asked.origin.agent)
    function = agent.after_tools
    if not callable(function):
        raise ApplicationError(f"agent {agent.name} has no function as after_tools here", type="Missing")
    context = await runtime.run_context(asked.origin, agent.context_type)
    results = [await _result(asked, block, runtime) for block in asked.results]
    name = f"after_tools of agent {agent.name}"
    answer = await ask(
        function, context, results, name=name, within=AFTER_TOOLS_S, threads=runtime.threads, then="the run ends"
    )
    if isinstance(answer, Problem):
        return AfterTools(problem=f"after_tools {answer.text}")
    if answer is None:
        return AfterTools()
    if not isinstance(answer, FinalOutput):
        problem = f"answered {type(answer).__name__}, not a FinalOutput or None"
        log_answer(name, problem, "the run ends")
        return AfterTools(problem=f"after_tools {problem}")
    shaped = bounded_output(answer.value)
    if shaped.problem is not None:
        return AfterTools(problem="the FinalOutput of after_tools is no JSON")
    output = json.loads(str(shaped.output)) if shaped.json else shaped.output
    return AfterTools(final=True, output=output)


async def _result(asked: AskAfterTools, block: str, runtime: Runtime) -> ToolResult:
    [item] = await runtime.blocks.block(asked.origin, block)
    item = json.loads(json.dumps(item))  # the function may change it, and the cache must not
    return ToolResult(
        tool=item["tool"],
        call_id=item["call_id"],
        arguments=item["arguments"],
        output=item["output"],
        ok=item["ok"],
    )
