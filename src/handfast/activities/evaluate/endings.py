"""Asks an agent's own functions what a run ends with, where the model gave no answer."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final

from pydantic import ConfigDict, TypeAdapter
from temporalio.exceptions import ApplicationError

from handfast.activities.runtime.outputs import bounded_output, described
from handfast.activities.runtime.runtime import Runtime
from handfast.activities.runtime.user_code import UserCodeError, call_user_code
from handfast.definitions.agents.after_tools import FinalOutput, ToolResult
from handfast.definitions.agents.limits import MaxTurns, OnMaxTurns, OnRefusal, Refusal
from handfast.definitions.schema.output_type import OutputType
from handfast.errors import OutputInvalidError
from handfast.payloads.after_tools import AskAfterTools
from handfast.payloads.base import json_size
from handfast.payloads.evaluation import Evaluated, FinalWords, HandleMaxTurns, HandleRefusal
from handfast.payloads.json_profile import JsonValue, check_json, scrub_json
from handfast.payloads.tool_call import RESULT_BYTES
from handfast.workflows.driver.last_words import refusal_of

HANDLER_S: Final = 20.0
"""How long one of them may take."""
_ANY: Final[TypeAdapter[Any]] = TypeAdapter(Any, config=ConfigDict(ser_json_inf_nan="constants"))


AFTER_TOOLS_S: Final = 20.0
"""How long the function may take."""


class LastWords:
    """Asks `on_max_turns` and `on_refusal`."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def said(self, asked: HandleMaxTurns | HandleRefusal) -> Evaluated:
        """Ask the agent's function about what happened."""
        return await (self._at_limit(asked) if isinstance(asked, HandleMaxTurns) else self._refusal(asked))

    async def _at_limit(self, asked: HandleMaxTurns) -> Evaluated:
        handler = self._runtime.registry.agent(asked.origin.agent).on_max_turns
        return await self._said(handler, asked, MaxTurns(max_turns=asked.limit))

    async def _refusal(self, asked: HandleRefusal) -> Evaluated:
        handler = self._runtime.registry.agent(asked.origin.agent).on_refusal
        items = await self._runtime.blocks.block(asked.origin, asked.block)
        return await self._said(handler, asked, Refusal(text=refusal_of(items) or ""))

    async def _said(
        self, handler: OnMaxTurns | OnRefusal | None, asked: HandleMaxTurns | HandleRefusal, what: MaxTurns | Refusal
    ) -> Evaluated:
        """A function that raises, hangs or returns what is no JSON leaves the failure in place, and is named in it."""
        if handler is None:
            return Evaluated()
        agent = self._runtime.registry.agent(asked.origin.agent)
        context = await self._runtime.run_context(asked.origin, agent.context_type)
        try:
            asking = call_user_code(handler, context, what, threads=self._runtime.threads)
            said = await asyncio.wait_for(asking, HANDLER_S)
        except TimeoutError:
            return Evaluated(problem=f"took longer than {HANDLER_S:g} s")
        except UserCodeError as error:
            return Evaluated(problem=f"raised {error}")
        if said is None or (isinstance(said, FinalOutput) and said.value is None):
            return Evaluated()
        final = said if isinstance(said, FinalOutput) else FinalOutput(said)
        return _recorded(final, agent.output)


def _recorded(final: FinalOutput, kind: OutputType | None) -> Evaluated:
    try:
        plain: JsonValue = scrub_json(_ANY.dump_python(final.value, mode="json", warnings="error"))
        check_json(plain)
    except Exception as error:  # noqa: BLE001 - the output is an object of the user's: its code runs here
        return Evaluated(problem=f"returned what is no JSON: {described(error)}")
    if (size := json_size(plain)) > RESULT_BYTES:
        return Evaluated(problem=f"returned {size:,} bytes, and at most {RESULT_BYTES:,} can be recorded")
    if kind is not None:
        try:
            kind.read(plain)
        except OutputInvalidError as error:
            return Evaluated(problem=f"returned what does not fit the output type: {error}")
    text = plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)
    return Evaluated(closing=FinalWords(output=plain, text=text if final.include_in_history else None))


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
