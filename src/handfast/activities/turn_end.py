"""Asks an agent's `after_tools` function whether the run ends."""

from __future__ import annotations

import asyncio
import json
from typing import Final

from temporalio.exceptions import ApplicationError

from handfast.activities.outputs import bounded_output
from handfast.activities.runtime import Runtime
from handfast.activities.user_code import UserCodeError, call_user_code
from handfast.after_tools import FinalOutput, ToolResult
from handfast.payloads.after_tools import AskAfterTools
from handfast.payloads.evaluation import Evaluated

AFTER_TOOLS_S: Final = 20.0
"""How long the function may take."""


async def ask_after_tools(asked: AskAfterTools, runtime: Runtime) -> Evaluated:
    """Evaluate the function. One that raises, hangs or answers nonsense is a problem: nobody knows whether to go on.

    Raises:
        ApplicationError: ``Missing``: this worker's agent has no such function.
    """
    agent = runtime.registry.agent(asked.origin.agent)
    function = agent.after_tools
    if not callable(function):
        raise ApplicationError(f"agent {agent.name} has no function as after_tools here", type="Missing")
    context = await runtime.run_context(asked.origin, agent.context_type)
    results = [await _result(asked, block, runtime) for block in asked.results]
    try:
        asking = call_user_code(function, context, results, threads=runtime.threads)
        answer: object = await asyncio.wait_for(asking, AFTER_TOOLS_S)
    except TimeoutError:
        return Evaluated(problem=f"after_tools took longer than {AFTER_TOOLS_S:g} s")
    except UserCodeError as error:
        return Evaluated(problem=f"after_tools raised {error}")
    if answer is None:
        return Evaluated()
    if not isinstance(answer, FinalOutput):
        return Evaluated(problem=f"after_tools answered {type(answer).__name__}, not a FinalOutput or None")
    shaped = bounded_output(answer.value)
    if shaped.problem is not None:
        return Evaluated(problem="the FinalOutput of after_tools is no JSON")
    output = json.loads(str(shaped.output)) if shaped.json else shaped.output
    return Evaluated(final=True, output=output)


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
