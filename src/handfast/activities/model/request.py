"""Builds an agent's model request, and translates the failures of its model client."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from typing import Any, Final

from temporalio import activity
from temporalio.exceptions import ApplicationError

from handfast.activities.model.in_turn import Asked
from handfast.activities.runtime.rules import RULE_S
from handfast.activities.runtime.runtime import Runtime
from handfast.activities.runtime.user_code import Problem, ask
from handfast.activities.runtime.user_errors import log_answer, set_tool
from handfast.activities.runtime.validation import validated_output
from handfast.definitions.agents.agent import Agent
from handfast.definitions.context import RunContext
from handfast.definitions.tools.offered import Offered
from handfast.errors import OutputInvalidError
from handfast.models.output_items import ItemUnreadableError, read_items
from handfast.models.port import (
    ModelAnswer,
    ModelCallError,
    ModelPort,
    ModelRequest,
    Transport,
    model_of,
    most_tools_of,
)
from handfast.models.prices import price_of, priced_usage
from handfast.payloads.json_profile import JsonObject, scrub
from handfast.payloads.model_call import REPLY_BROKEN, NamedGuardrail, StructuredOutput
from handfast.payloads.model_settings import TRANSPORT_SETTINGS, merged_settings
from handfast.payloads.runs import RunFacts
from handfast.payloads.transcript import READ_OUTPUT
from handfast.payloads.usage import Spent, Usage
from handfast.workflows.frame.items import answer_text

logger = logging.getLogger(__name__)

INSTRUCTIONS_S: Final = 30.0
"""Time limit of instructions that are a function."""


PROBLEM_CHARACTERS: Final = 4000


def asked_models(runtime: Runtime, agent: Agent, facts: RunFacts) -> Sequence[Asked]:
    """Return the models that *agent* asks, in order. The name is empty where the provider's prompt template has it.

    The run's comes first, then the agent's, that of its model entry, and the default.

    Raises:
        ApplicationError: ``ModelRefused``: nobody named one.
    """
    if named := facts.model or runtime.one_model:
        return [Asked(named, agent.client)]
    if agent.choices:
        return [Asked(each.model, each.client or agent.client, each.patience) for each in agent.choices]
    if agent.prompt is not None:
        return [Asked("", agent.client)]
    name = model_of(port_of(runtime, agent, agent.client)) or runtime.default_model
    if name is None:
        raise ApplicationError(
            f"agent {agent.name} names no model, and HandfastPlugin has no default_model",
            type="ModelRefused",
            non_retryable=True,
        )
    return [Asked(name, agent.client)]


def first_model(runtime: Runtime, agent: Agent, facts: RunFacts) -> Asked:
    """Return the first of an agent's models that is not known to be unavailable.

    Raises:
        ApplicationError: ``ModelRefused``: nobody named one.
    """
    asked = asked_models(runtime, agent, facts)
    return next((each for each in asked if not runtime.outages.holds(each.client, each.model)), asked[0])


def port_of(runtime: Runtime, agent: Agent, client: str) -> ModelPort:
    """Return one of the model clients of *agent*.

    Raises:
        ApplicationError: ``ModelRefused``: the plugin has no such client.
    """
    port = runtime.models.get(client)
    if port is None:
        known = ", ".join(sorted(runtime.models)) or "none"
        raise ApplicationError(
            f"agent {agent.name} wants the model client {client!r}; HandfastPlugin(models=…) has {known}",
            type="ModelRefused",
            non_retryable=True,
        )
    return port


def bounded_tools(agent: Agent, port: ModelPort, tools: list[JsonObject]) -> list[JsonObject]:
    """Refuse more tools than one request takes. `read_output`, which comes and goes, is the first to be left out.

    Raises:
        ApplicationError: ``ModelRefused``: the rules of too many tools said yes at once.
    """
    most = most_tools_of(port)
    if most is None or len(tools) <= most:
        return tools
    less = [tool for tool in tools if tool.get("name") != READ_OUTPUT]
    if len(less) > most:
        raise ApplicationError(
            f"agent {agent.name} offers {len(less)} tools and handoffs now, and one request to its model takes {most}",
            type="ModelRefused",
            non_retryable=True,
        )
    return less


async def instructions_of(runtime: Runtime, agent: Agent, context: RunContext[Any]) -> str:
    """Return the instructions of *agent* for one request.

    Raises:
        ApplicationError: ``InstructionsFailed``: they are a function, and it gave none.
    """
    if isinstance(agent.instructions, str):
        return agent.instructions
    name = f"the instructions of {agent.name}"
    text = await ask(agent.instructions, context, name=name, within=INSTRUCTIONS_S, threads=runtime.threads)
    if isinstance(text, Problem):
        raise ApplicationError(f"{name} {text.text}", type="InstructionsFailed", non_retryable=True)
    return scrub(str(text))


async def answered(port: ModelPort, request: ModelRequest) -> ModelAnswer:
    """Call the model; begin a background response again that the provider has forgotten.

    Raises:
        ModelCallError: It did not answer, or not with a reply.
        StillUnderwayError: A background response takes longer than the attempt can wait.
    """
    try:
        return read_again(await port.answer(request))
    except ModelCallError as error:
        if error.kind != "ResponseForgotten" or request.background is None:
            raise
        logger.warning("%s: %s; it is made anew", activity.info().workflow_id, error.kind)
    await request.background.remember(None)
    return read_again(await port.answer(replace(request, background=replace(request.background, resume=None))))


def read_again(answer: ModelAnswer) -> ModelAnswer:
    """Read the items of any port as those of a server: a user's port may pass on what it got.

    Raises:
        ModelCallError: ``ModelReplyInvalid``: something among them is no item.
    """
    try:
        return replace(answer, items=read_items(answer.items))
    except ItemUnreadableError as error:
        message = f"the model's reply {error}"
        raise ModelCallError("ModelReplyInvalid", message, retryable=True, usage=answer.usage) from None


def to_application_error(error: ModelCallError) -> ApplicationError:
    """Translate the failure of a model call into one of the activity; it says if a retry can help."""
    if error.kind == "ModelReplyInvalid" and error.retryable:
        return ApplicationError(error.message, type=REPLY_BROKEN, non_retryable=True)
    return ApplicationError(
        error.message,
        type=error.kind,
        non_retryable=not error.retryable,
        next_retry_delay=error.retry_after,
    )


def failure_of_call(error: ModelCallError, model: str, port: ModelPort) -> ApplicationError:
    """Translate the failure of a call of *model*, with what it has cost."""
    failed = to_application_error(error)
    return failed if error.usage is None else with_spent(failed, priced_usage(error.usage, port, model), model)


def refuse_unpriced(agent: Agent, port: ModelPort, asked: Asked, *, limited: bool) -> None:
    """Refuse a model without a price where a limit of money holds: nobody could say when it is reached.

    Raises:
        ApplicationError: ``ModelRefused``.
    """
    if (limited or agent.max_cost is not None) and price_of(port, asked.model) is None:
        raise ApplicationError(
            f"a limit of money holds for agent {agent.name}, and the model entry {asked.client!r} has no price for "
            f"{asked.model or 'the model of a prompt template'!r}; add it to its prices",
            type="ModelRefused",
            non_retryable=True,
        )


def with_spent(error: ApplicationError, usage: Usage, model: str) -> ApplicationError:
    """Return *failed* with the cost of its reply."""
    return ApplicationError(
        error.message,
        Spent(usage=usage, model=model).to_wire(),
        type=error.type,
        non_retryable=error.non_retryable,
        next_retry_delay=error.next_retry_delay,
    )


LOGPROBS: Final = "message.output_text.logprobs"


def settings_of(agent: Agent, facts: RunFacts) -> JsonObject:
    """Return the agent's settings with those of the run before them."""
    return merged_settings(agent.model_settings, facts.model_settings or {})


def transport_of(settings: JsonObject) -> Transport:
    """Return the part of *settings* that says how a request is sent."""
    return Transport(
        headers=settings.get("extra_headers") or {},
        query=settings.get("extra_query") or {},
        timeout_s=settings.get("timeout"),
    )


def body_settings(agent: Agent, given: JsonObject, prompt: JsonObject | None = None) -> JsonObject:
    """Return the fields that *given* settings add to every request of the agent's, whatever it is for."""
    settings = {name: value for name, value in given.items() if name not in TRANSPORT_SETTINGS}
    settings |= given.get("extra_body") or {}
    include = [*settings.get("include", ()), *(name for each in agent.hosted for name in each.include)]
    if settings.get("top_logprobs"):
        include.append(LOGPROBS)
    if include:
        settings["include"] = list(dict.fromkeys(include))
    return settings if prompt is None else {**settings, "prompt": prompt}


def request_settings(
    agent: Agent, given: JsonObject, prompt: JsonObject | None = None, *, called: bool = False
) -> Mapping[str, Any]:
    """Return the fields of the agent's requests, with the format of its answer where it has an output type.

    Args:
        agent: The agent.
        given: Its settings, with those of the run.
        prompt: The prompt template.
        called: True once the agent has made a call in this loop: a tool that it must call would be called for ever.
    """
    settings = body_settings(agent, given, prompt)
    if agent.compaction is not None and agent.compaction.within_replies:
        settings["context_management"] = [{"type": "compaction", "compact_threshold": agent.compaction.at_tokens}]
    if called and agent.reset_tool_choice and "tool_choice" in settings:
        settings["tool_choice"] = _freed(settings["tool_choice"])
    return settings if agent.output is None else agent.output.settings(settings, f"agent {agent.name!r}")


def _freed(choice: object) -> object:
    """Return the tool choice without its demand for a call."""
    if isinstance(choice, Mapping) and choice.get("type") == "allowed_tools":
        return {**choice, "mode": "auto"}
    return choice if choice == "none" else "auto"


def input_guardrails(agent: Agent) -> list[NamedGuardrail] | None:
    """Return the input guardrails of the agent, blocking ones first; None where it has none."""
    ordered = sorted(agent.input_guardrails, key=lambda each: each.parallel)
    return [NamedGuardrail(name=each.name, parallel=each.parallel) for each in ordered] or None


async def structured(agent: Agent, items: Sequence[JsonObject], runtime: Runtime) -> StructuredOutput | None:
    """Check a final answer against the agent's output type, if it has one."""
    output = agent.output
    if output is None:
        return None
    try:
        await validated_output(
            output.check_text,
            answer_text(items),
            of=output,
            threads=runtime.validation_threads,
            then="the model is asked again",
        )
    except OutputInvalidError as error:
        return StructuredOutput(problem=scrub(str(error))[:PROBLEM_CHARACTERS])
    return StructuredOutput(wrapped=output.wrapped or None)


async def offered_now(agent: Agent, context: RunContext[Any], threads: Executor) -> Mapping[str, Offered]:
    """Ask every `enabled` rule of *agent*, side by side; a rule that raises or hangs leaves its tool out."""
    offered = agent.offered
    answers = await asyncio.gather(*(_enabled(each, context, threads) for each in offered.values()))
    return {name: each for (name, each), enabled in zip(offered.items(), answers, strict=True) if enabled}


async def _enabled(offered: Offered, context: RunContext[Any], threads: Executor) -> bool:
    rule = offered.enabled
    if isinstance(rule, bool):
        return rule
    name, then = f"the enabled rule of {offered.name}", "it is not offered"
    set_tool(offered.name)
    answer = await ask(rule, context, name=name, within=RULE_S, threads=threads, then=then)
    if isinstance(answer, bool):
        return answer
    if not isinstance(answer, Problem):
        log_answer(name, f"answered {type(answer).__name__}, not True or False", then)
    return False
