"""How an agent asks its model: which one, through which client, with which instructions, and what its failures are."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Any, Final

from temporalio import activity
from temporalio.exceptions import ApplicationError

from handfast.activities.runtime import Runtime
from handfast.activities.user_code import UserCodeError, call_user_code
from handfast.agent import Agent
from handfast.context import RunContext
from handfast.models.port import ModelAnswer, ModelCallError, ModelPort, ModelRequest
from handfast.payloads.json_profile import scrub
from handfast.payloads.model_call import REPLY_BROKEN
from handfast.payloads.usage import Spent, Usage

logger = logging.getLogger(__name__)

INSTRUCTIONS_S: Final = 30.0
"""How long instructions that are a function may take."""


def model_name(runtime: Runtime, agent: Agent) -> str:
    """The name of the model that *agent* asks.

    Raises:
        ApplicationError: ``ModelRefused``: nobody named one.
    """
    name = agent.model or runtime.default_model
    if name is None:
        raise ApplicationError(
            f"agent {agent.name} names no model, and HandfastPlugin has no default_model",
            type="ModelRefused",
            non_retryable=True,
        )
    return name


def port_of(runtime: Runtime, agent: Agent) -> ModelPort:
    """The client through which *agent* asks.

    Raises:
        ApplicationError: ``ModelRefused``: the plugin has no such client.
    """
    port = runtime.models.get(agent.client)
    if port is None:
        known = ", ".join(sorted(runtime.models)) or "none"
        raise ApplicationError(
            f"agent {agent.name} wants the model client {agent.client!r}; HandfastPlugin(models=…) has {known}",
            type="ModelRefused",
            non_retryable=True,
        )
    return port


async def instructions_of(runtime: Runtime, agent: Agent, context: RunContext[Any]) -> str:
    """The instructions of *agent* for one request.

    Raises:
        ApplicationError: ``InstructionsFailed``: they are a function, and it gave none.
    """
    if isinstance(agent.instructions, str):
        return agent.instructions
    try:
        asking = call_user_code(agent.instructions, context, threads=runtime.threads)
        text = await asyncio.wait_for(asking, INSTRUCTIONS_S)
    except TimeoutError:
        problem = f"took longer than {INSTRUCTIONS_S:g} s"
    except UserCodeError as error:
        problem = f"raised {error}"
    else:
        return scrub(str(text))
    raise ApplicationError(f"the instructions of {agent.name} {problem}", type="InstructionsFailed", non_retryable=True)


async def answered(port: ModelPort, request: ModelRequest) -> ModelAnswer:
    """Call the model; a background response that the provider has forgotten is made anew.

    Raises:
        ApplicationError: It did not answer, or not with a reply.
        StillUnderwayError: A background response takes longer than the attempt can wait.
    """
    try:
        try:
            return await port.answer(request)
        except ModelCallError as error:
            if error.kind != "ResponseForgotten" or request.background is None:
                raise
            logger.warning("%s: %s; it is made anew", activity.info().workflow_id, error.kind)
        await request.background.remember(None)
        return await port.answer(replace(request, background=replace(request.background, resume=None)))
    except ModelCallError as error:
        # Without its cause: a vendor's error quotes the body, and one that cannot be recorded would be retried.
        failed = to_application_error(error)
        raise failed if error.usage is None else with_spent(failed, error.usage, request.model) from None


def to_application_error(error: ModelCallError) -> ApplicationError:
    """The failure of an activity that a model's is: it says whether a retry can help."""
    if error.kind == "ModelReplyInvalid" and error.retryable:
        return ApplicationError(error.message, type=REPLY_BROKEN, non_retryable=True)
    return ApplicationError(
        error.message,
        type=error.kind,
        non_retryable=not error.retryable,
        next_retry_delay=error.retry_after,
    )


def with_spent(error: ApplicationError, usage: Usage, model: str) -> ApplicationError:
    """The same failure, with what its reply has cost."""
    return ApplicationError(
        error.message,
        Spent(usage=usage, model=model).to_wire(),
        type=error.type,
        non_retryable=error.non_retryable,
        next_retry_delay=error.next_retry_delay,
    )
