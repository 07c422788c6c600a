"""Asks the guardrails of an agent. One that raises, hangs or answers nonsense stops the run: fail closed."""

from __future__ import annotations

import copy
from typing import Any, Final

from temporalio.exceptions import ApplicationError

from handfast.activities.runtime.calls import arguments_of, tool_context
from handfast.activities.runtime.outputs import plain_json
from handfast.activities.runtime.runtime import Runtime
from handfast.activities.runtime.user_code import Problem, ask
from handfast.activities.runtime.user_errors import log_answer
from handfast.activities.runtime.validation import ValidatorFailedError, validated, validated_output
from handfast.activities.tool.guardrails import ask_input, not_asked
from handfast.definitions.agents.agent import Agent
from handfast.definitions.agents.hooks import AgentEnd
from handfast.definitions.gates.guardrails import Allow, Fail, InputGuardrail, OutputGuardrail, Replace
from handfast.errors import ArgumentsInvalidError, JsonProfileError, OutputInvalidError
from handfast.payloads.base import json_size
from handfast.payloads.evaluation import CallGuarded, GuardCall
from handfast.payloads.guardrails import INFO_BYTES, AboutOutput, CheckInput, CheckOutput, EndTold, Judged, TellEnd
from handfast.payloads.json_profile import JsonValue, check_json, parse_json, scrub, scrub_json
from handfast.workflows.frame.items import answer_value, text_of_reply

GUARDRAIL_S: Final = 60.0
"""Time limit of a guardrail."""
VALUE_BYTES: Final = 1_800_000
"""Largest replacement that can be recorded."""


async def check_guardrail(asked: CheckInput | CheckOutput, runtime: Runtime) -> Judged:
    """Ask one guardrail of an agent.

    Raises:
        ApplicationError: ``Missing``: this worker lacks the guardrail, which another may have.
    """
    agent = runtime.registry.agent(asked.origin.agent)
    guardrail = _named(agent, asked)
    context = await runtime.run_context(asked.origin, agent.context_type)
    given: object
    if isinstance(asked, CheckInput):
        given = copy.deepcopy(await runtime.blocks.block(asked.origin, asked.block))
    else:
        given = await _typed(agent, await _output(asked, runtime), runtime)
    name, then = f"the guardrail {guardrail.name} of agent {agent.name}", "the run ends"
    verdict = await ask(
        guardrail.function, context, given, name=name, within=GUARDRAIL_S, threads=runtime.threads, then=then
    )
    if isinstance(verdict, Problem):
        return Judged(outcome="error", reason=f"it {verdict.brief}")
    judged = await _judged(agent, guardrail, verdict, runtime)
    if judged.outcome == "error":
        log_answer(name, f"gave no verdict that can be used, but a {type(verdict).__name__}", then)
    return judged


async def tell_end(asked: TellEnd, runtime: Runtime) -> EndTold:
    """Let hooks hear of an agent's output, which is JSON to them."""
    agent = runtime.registry.agent(asked.origin.agent)
    context = await runtime.run_context(asked.origin, agent.context_type)
    end = AgentEnd(output=await _output(asked, runtime))
    await runtime.observers(agent.name).tell("on_agent_end", context, end)
    return EndTold()


async def _output(asked: AboutOutput, runtime: Runtime) -> JsonValue:
    if asked.reply is not None:
        items = await runtime.blocks.block(asked.origin, asked.reply)
        return answer_value(items, asked.structured) if asked.structured is not None else text_of_reply(items)
    if asked.arguments is not None:
        return copy.deepcopy(asked.arguments.get("output"))
    assert asked.at is not None
    items = await runtime.blocks.block(asked.origin, asked.at.block)
    stored = parse_json(items[asked.at.index]["arguments"])
    return stored.get("output") if isinstance(stored, dict) else None


async def _typed(agent: Agent, output: JsonValue, runtime: Runtime) -> Any:
    """Read the output as the agent's output type; any other (a tool's output that ended the run) stays JSON."""
    kind = agent.output
    if kind is None:
        return output
    try:
        return await validated_output(
            kind.read, output, of=kind, threads=runtime.validation_threads, then="the guardrail gets plain JSON"
        )
    except OutputInvalidError:
        return output


def _named(agent: Agent, asked: CheckInput | CheckOutput) -> InputGuardrail | OutputGuardrail:
    guardrails = agent.input_guardrails if isinstance(asked, CheckInput) else agent.output_guardrails
    for each in guardrails:
        if each.name == asked.guardrail:
            return each
    raise ApplicationError(f"agent {agent.name} has no guardrail {asked.guardrail!r} here", type="Missing")


async def _judged(
    agent: Agent, guardrail: InputGuardrail | OutputGuardrail, verdict: object, runtime: Runtime
) -> Judged:
    match verdict:
        case None:
            return Judged(outcome="allow")
        case Allow(info=info):
            return Judged(outcome="allow", info=bounded_info(info))
        case Fail(reason=reason, info=info):
            return Judged(outcome="fail", reason=scrub(reason), info=bounded_info(info))
        case Replace(value=value, info=info):
            try:
                if isinstance(guardrail, InputGuardrail):
                    new = _new_input(guardrail, value)
                else:
                    new = await _new_output(agent, value, runtime)
            except JsonProfileError as error:
                return Judged(outcome="error", reason=error.problem, info=bounded_info(info))
            return Judged(outcome="replace", value=new, info=bounded_info(info))
    return Judged(
        outcome="error", reason=f"it answered {type(verdict).__name__}, which is not Allow, Replace, Fail or None"
    )


def _new_input(guardrail: InputGuardrail, value: object) -> JsonValue:
    """Return a replacement for the input, as it is recorded.

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


async def _new_output(agent: Agent, value: object, runtime: Runtime) -> JsonValue:
    """Return a replacement for the output, as it is recorded.

    Raises:
        JsonProfileError: It is no such output.
    """
    kind = agent.output
    if kind is None:
        if not isinstance(value, str):
            raise JsonProfileError("it replaced a text by what is none")
        return _fitting(scrub(value))
    new = _fitting(plain_json(value))
    try:
        await validated_output(kind.read, new, of=kind, threads=runtime.validation_threads, then="the run ends")
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
    """Turn a guardrail's info into JSON that stays with the run; a large one, or no JSON, is left out and says so."""
    try:
        plain = scrub_json(plain_json(info))
    except JsonProfileError as error:
        return {"left_out": f"no JSON: {error.problem}"}
    size = json_size(plain)
    kept: JsonValue = plain if size <= INFO_BYTES else {"left_out": f"{size:,} bytes, and {INFO_BYTES:,} are kept"}
    return kept


async def guard_call(asked: GuardCall, runtime: Runtime) -> CallGuarded:
    """Ask the input guardrails of a tool whether a call may run."""
    tool = runtime.tool(asked.tool)
    arguments = await arguments_of(runtime, asked)
    try:
        model = await validated(tool.validate, arguments, of=tool, threads=runtime.validation_threads)
    except (ArgumentsInvalidError, ValidatorFailedError) as error:
        return CallGuarded(text=f"Error: {error}")
    context = await tool_context(runtime, asked.origin, tool, call_id=asked.call_id, arguments=arguments, key=asked.key)
    if not tool.input_guardrails:  # an older worker, or a later deploy: neither loosens what was planned with some
        return CallGuarded(text=not_asked(asked.tool, "is not there on this worker"))
    stopped = await ask_input(tool.input_guardrails, context, model, runtime.threads)
    if stopped is None:
        return CallGuarded()
    return CallGuarded(text=stopped.output) if stopped.reason is None else CallGuarded(problem=stopped.reason)
