"""Asks the guardrails of an agent. One that raises, hangs or answers nonsense stops the run: fail closed."""

from __future__ import annotations

import asyncio
import copy
import logging
from typing import Any, Final

from temporalio.exceptions import ApplicationError

from handfast.activities.runtime.outputs import plain_json
from handfast.activities.runtime.runtime import Runtime
from handfast.activities.runtime.user_code import UserCodeError, call_user_code
from handfast.definitions.agents.agent import Agent
from handfast.definitions.gates.guardrails import Allow, Fail, InputGuardrail, OutputGuardrail, Replace
from handfast.errors import JsonProfileError, OutputInvalidError
from handfast.payloads.base import json_size
from handfast.payloads.guardrails import INFO_BYTES, CheckInput, CheckOutput, Judged
from handfast.payloads.json_profile import JsonValue, check_json, parse_json, scrub, scrub_json
from handfast.workflows.driver.answers import value_of
from handfast.workflows.loop.next_steps import text_of_reply

GUARDRAIL_S: Final = 60.0
"""How long a guardrail may take."""
VALUE_BYTES: Final = 1_800_000
"""Largest replacement that can be recorded."""

logger = logging.getLogger(__name__)


class GuardrailChecks:
    """Runs one guardrail of an agent at a time."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    async def run(self, asked: CheckInput | CheckOutput) -> Judged:
        """Ask a guardrail.

        Raises:
            ApplicationError: ``Missing``: this worker lacks the guardrail, which another may have.
        """
        agent = self._runtime.registry.agent(asked.origin.agent)
        guardrail = _named(agent, asked)
        context = await self._runtime.run_context(asked.origin, agent.context_type)
        if isinstance(asked, CheckInput):
            given: object = copy.deepcopy(await self._runtime.blocks.block(asked.origin, asked.block))
        else:
            given = _typed(agent, await self._output(asked))
        try:
            asking = call_user_code(guardrail.function, context, given, threads=self._runtime.threads)
            verdict = await asyncio.wait_for(asking, GUARDRAIL_S)
        except TimeoutError:
            return Judged(outcome="error", reason=f"it took longer than {GUARDRAIL_S:g} s")
        except UserCodeError as error:
            logger.error("guardrail %s of agent %s raised: %s", guardrail.name, agent.name, error.kind)
            return Judged(outcome="error", reason=f"it raised {error.kind}")
        return _judged(agent, guardrail, verdict)

    async def _output(self, asked: CheckOutput) -> JsonValue:
        if asked.reply is not None:
            items = await self._runtime.blocks.block(asked.origin, asked.reply)
            return value_of(items, asked.structured) if asked.structured is not None else text_of_reply(items)
        if asked.arguments is not None:
            return copy.deepcopy(asked.arguments.get("output"))
        assert asked.at is not None
        items = await self._runtime.blocks.block(asked.origin, asked.at.block)
        stored = parse_json(items[asked.at.index]["arguments"])
        return stored.get("output") if isinstance(stored, dict) else None


def _named(agent: Agent, asked: CheckInput | CheckOutput) -> InputGuardrail | OutputGuardrail:
    guardrails = agent.input_guardrails if isinstance(asked, CheckInput) else agent.output_guardrails
    for each in guardrails:
        if each.name == asked.guardrail:
            return each
    raise ApplicationError(f"agent {agent.name} has no guardrail {asked.guardrail!r} here", type="Missing")


def _typed(agent: Agent, output: JsonValue) -> Any:
    """The output as the agent's output type; what is none (a tool's output that ended the run) stays JSON."""
    if agent.output is None:
        return output
    try:
        return agent.output.read(output)
    except OutputInvalidError:
        return output


def _judged(agent: Agent, guardrail: InputGuardrail | OutputGuardrail, verdict: object) -> Judged:
    match verdict:
        case None:
            return Judged(outcome="allow")
        case Allow(info=info):
            return Judged(outcome="allow", info=bounded_info(info))
        case Fail(reason=reason, info=info):
            return Judged(outcome="fail", reason=scrub(reason), info=bounded_info(info))
        case Replace(value=value, info=info):
            try:
                new = _new_input(guardrail, value) if isinstance(guardrail, InputGuardrail) else _new(agent, value)
            except JsonProfileError as error:
                return Judged(outcome="error", reason=error.problem, info=bounded_info(info))
            return Judged(outcome="replace", value=new, info=bounded_info(info))
    return Judged(
        outcome="error", reason=f"it answered {type(verdict).__name__}, which is not Allow, Replace, Fail or None"
    )


def _new_input(guardrail: InputGuardrail, value: object) -> JsonValue:
    """What stands in place of the input.

    Raises:
        JsonProfileError: It is no input, or comes too late.
    """
    if guardrail.parallel:
        raise JsonProfileError("it cannot replace the input beside the model call; make it parallel=False")
    if isinstance(value, str) and value:
        return _fitting(scrub(value))
    items: list[Any] = value if isinstance(value, list) else []
    if not items or not all(isinstance(item, dict) and isinstance(item.get("type"), str) for item in items):
        raise JsonProfileError("it replaced the input by what is neither a text nor a list of items")
    return _fitting(scrub_json(items))


def _new(agent: Agent, value: object) -> JsonValue:
    """What stands in place of the output.

    Raises:
        JsonProfileError: It is no such output.
    """
    if agent.output is None:
        if not isinstance(value, str):
            raise JsonProfileError("it replaced a text by what is none")
        return _fitting(scrub(value))
    new = _fitting(plain_json(value))
    try:
        agent.output.read(new)
    except OutputInvalidError as error:
        raise JsonProfileError(f"its replacement does not fit: {error}") from None
    return new


def _fitting(value: JsonValue) -> JsonValue:
    check_json(value)
    size = json_size(value)
    if size > VALUE_BYTES:
        raise JsonProfileError(f"its replacement has {size:,} bytes, and {VALUE_BYTES:,} can be recorded")
    return value


def bounded_info(info: object) -> JsonValue:
    """What a guardrail found, as JSON that stays with the run; what cannot is left out, and says so."""
    try:
        plain = scrub_json(plain_json(info))
    except JsonProfileError as error:
        return {"left_out": f"no JSON: {error.problem}"}
    size = json_size(plain)
    kept: JsonValue = plain if size <= INFO_BYTES else {"left_out": f"{size:,} bytes, and {INFO_BYTES:,} are kept"}
    return kept
