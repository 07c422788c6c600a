"""User code around nested agents and handoffs: inputs, outputs, failures, filters."""

from __future__ import annotations

import copy
import logging
import uuid
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from temporalio.exceptions import ApplicationError

from handfast.activities.runtime.calls import arguments_of
from handfast.activities.runtime.outputs import bounded_output, bounded_text
from handfast.activities.runtime.runtime import Runtime
from handfast.activities.runtime.user_code import UserCodeError, call_user_code
from handfast.definitions.agents.agent_tool import AgentFailure, AgentTool, NestedRun
from handfast.definitions.agents.handoff import Handoff, HandoffHistory
from handfast.definitions.context import RunContext
from handfast.definitions.tools.offered import Offered
from handfast.errors import JsonProfileError, UnknownToolError
from handfast.payloads.base import json_size
from handfast.payloads.conversation import without_orphans
from handfast.payloads.evaluation import (
    BuildInput,
    Evaluated,
    ExtractOutput,
    FilterHistory,
    TellHandoff,
    WordFailure,
)
from handfast.payloads.json_profile import JsonObject, check_json, scrub
from handfast.payloads.model_call import Origin
from handfast.payloads.transcript import BLOCK_BYTES, user_message

logger = logging.getLogger(__name__)

Function = TypeVar("Function", bound=Callable[..., Any])
OfferedT = TypeVar("OfferedT", bound=Offered)


class Nesting:
    """Evaluates what agent tools and handoffs define."""

    def __init__(self, runtime: Runtime) -> None:
        """Take what all activities share."""
        self._runtime = runtime

    async def build_input(self, asked: BuildInput) -> Evaluated:
        """Make a nested agent's input."""
        tool, context = await self._found(asked.origin, asked.tool, AgentTool)
        builder = _here(tool.input_builder, f"the input builder of {asked.tool}")
        arguments = tool.validate(await arguments_of(self._runtime, asked))
        try:
            made = await self._called(builder, context, arguments)
        except UserCodeError as error:
            return Evaluated(problem=f"the input builder of {asked.tool} raised {error}")
        items: object = [user_message(scrub(made))] if isinstance(made, str) else made
        return _items(items, f"the input builder of {asked.tool}")

    async def extract_output(self, asked: ExtractOutput) -> Evaluated:
        """Make a call's output of a nested loop that has ended."""
        tool, context = await self._found(asked.origin, asked.tool, AgentTool)
        extractor = _here(tool.output_extractor, f"the output extractor of {asked.tool}")
        items = await self._runtime.blocks.whole(asked.nested)
        [said] = await self._runtime.blocks.block(asked.nested, asked.output)
        run = NestedRun(agent=asked.nested.agent, output=said["output"], items=items, turns=asked.nested.turn)
        try:
            value = await self._called(extractor, context, run)
        except UserCodeError as error:
            return Evaluated(problem=f"Error: the output extractor of {asked.tool} raised {error}")
        shaped = bounded_output(value)
        return Evaluated(output=shaped.output, problem=shaped.problem)

    async def word_failure(self, asked: WordFailure) -> Evaluated:
        """Word the failure of a nested loop; a function that raises leaves the default in place."""
        tool, context = await self._found(asked.origin, asked.tool, AgentTool)
        if not callable(tool.on_error):
            return Evaluated()
        failure = AgentFailure(agent=asked.agent, kind=asked.failure, message=asked.message)
        try:
            text = await self._called(tool.on_error, context, failure)
        except UserCodeError as error:
            logger.error("on_error of %s raised, the default text is used: %s", asked.tool, error.kind)
            return Evaluated()
        return Evaluated(text=bounded_text(text)) if isinstance(text, str) else Evaluated()

    async def tell_handoff(self, asked: TellHandoff) -> Evaluated:
        """Call `on_handoff`; where it raises, the handoff does not take place."""
        handoff, context = await self._found(asked.origin, asked.tool, Handoff)
        on_handoff = _here(handoff.on_handoff, f"on_handoff of {asked.tool}")
        given: list[Any] = [context]
        if handoff.takes_input:
            given.append(handoff.validate(await arguments_of(self._runtime, asked)))
        try:
            await self._called(on_handoff, *given)
        except UserCodeError as error:
            return Evaluated(problem=f"Error: the handoff did not take place: {error}")
        return Evaluated()

    async def filter_history(self, asked: FilterHistory) -> Evaluated:
        """Ask a handoff's filter; without an answer the next agent must not see what it would have left out."""
        handoff, context = await self._found(asked.origin, asked.tool, Handoff)
        filter_ = _here(handoff.filter, f"the filter of {asked.tool}")
        items = await self._runtime.blocks.whole(asked.origin)
        given = copy.deepcopy(items)  # the filter may change them
        history = HandoffHistory(items=given, by=asked.origin.agent, to=handoff.to)
        try:
            kept = await self._called(filter_, context, history)
        except UserCodeError as error:
            return Evaluated(problem=f"the filter of {asked.tool} raised {error}")
        return _items(kept, f"the filter of {asked.tool}", of=items)

    async def _found(self, origin: Origin, name: str, kind: type[OfferedT]) -> tuple[OfferedT, RunContext[Any]]:
        agent = self._runtime.registry.agent(origin.agent)
        offered = agent.offered.get(name)
        if not isinstance(offered, kind):
            raise UnknownToolError(name, sorted(agent.offered))
        return offered, await self._runtime.run_context(origin, agent.context_type)

    async def _called(self, function: Callable[..., Any], *args: Any) -> Any:
        return await call_user_code(function, *args, threads=self._runtime.threads)


def _here(function: Function | None, what: str) -> Function:
    """A function that was there when the call was planned.

    Raises:
        ApplicationError: ``Missing``: this worker lacks it, being older or a later deploy. Another may have it.
    """
    if function is None:
        raise ApplicationError(f"{what} is not there on this worker", type="Missing")
    return function


def _items(value: object, who: str, *, of: Sequence[JsonObject] | None = None) -> Evaluated:
    """Check items that user code made; those that a filter left of a conversation are made whole."""
    if isinstance(value, tuple):
        value = list(value)
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        return Evaluated(problem=f"{who} must return items as the Responses API takes them (a list of dicts)")
    try:
        check_json(value)
    except JsonProfileError as error:
        return Evaluated(problem=f"{who} returned what is not JSON: {error.problem}")
    items: list[JsonObject] = value if of is None else without_orphans(value, of)
    if not items:
        return Evaluated(problem=f"{who} returned nothing that an agent could read")
    if (size := json_size(items)) > BLOCK_BYTES:
        return Evaluated(problem=f"{who} returned {size:,} bytes of items; at most {BLOCK_BYTES:,} can be recorded")
    return Evaluated(block=uuid.uuid4().hex, items=items)
