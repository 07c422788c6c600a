"""Asks a tool's `verify` if a call in doubt took effect."""

from __future__ import annotations

from typing import Any, Final

from temporalio.exceptions import ApplicationError

from handfast.activities.runtime.calls import arguments_of, of_call
from handfast.activities.runtime.outputs import bounded_output
from handfast.activities.runtime.runtime import Runtime
from handfast.activities.runtime.user_code import Problem, ask
from handfast.activities.runtime.user_errors import is_last_attempt
from handfast.activities.runtime.validation import ValidatorFailedError, validated
from handfast.definitions.tools.existing_activity import ActivityTool
from handfast.definitions.tools.function_tool import Tool
from handfast.errors import ArgumentsInvalidError, UnknownToolError
from handfast.payloads.cutting import cut
from handfast.payloads.evaluation import Verified, VerifyCall
from handfast.payloads.requests import Ran, RunAgain
from handfast.payloads.tool_call import ERROR_TEXT_BYTES

VERIFY_S: Final = 20.0
"""Time limit of one answer."""


async def verify_call(asked: VerifyCall, runtime: Runtime) -> Verified:
    """Ask the tool. Where it cannot tell, or gives no valid answer, a person has to.

    Raises:
        ApplicationError: ``VerifyFailed``: it raised, or took too long. It is asked again, a few times.
        UnknownToolError: This worker does not have it.
    """
    tool = _tool(asked, runtime)
    if tool.verify is None:
        return Verified(problem=f"{asked.tool} has no verify here")
    arguments = await arguments_of(runtime, asked)
    try:
        await validated(tool.validate, arguments, of=tool, threads=runtime.validation_threads, then="a person is asked")
    except (ArgumentsInvalidError, ValidatorFailedError) as error:
        return Verified(problem=f"Error: {error}")
    agent = runtime.registry.agents.get(asked.origin.agent)
    own = tool.context_type if isinstance(tool, Tool) else None
    run = await runtime.run_context(asked.origin, own or (agent.context_type if agent else None))
    context = of_call(
        run,
        asked.tool,
        call_id=asked.call_id,
        arguments=arguments,
        key=asked.key,
        attempt=1,
        resources=runtime.resources,
    )
    answer = await ask(
        tool.verify,
        context,
        name=f"verify of {asked.tool}",
        within=VERIFY_S,
        threads=runtime.threads,
        then="a person is asked",
        retried=not is_last_attempt(),
    )
    if isinstance(answer, Problem):
        raise ApplicationError(cut(f"verify {answer.text}", ERROR_TEXT_BYTES)[0], type="VerifyFailed")
    return _evaluated(answer)


def _tool(asked: VerifyCall, runtime: Runtime) -> Tool[..., Any] | ActivityTool:
    known = runtime.registry.tools.get(asked.tool)
    if known is not None:
        return known
    offered = runtime.registry.agent(asked.origin.agent).offered
    tool = offered.get(asked.tool)
    if not isinstance(tool, ActivityTool):
        raise UnknownToolError(asked.tool, sorted(offered))
    return tool


def _evaluated(answer: object) -> Verified:
    match answer:
        case None:
            return Verified(problem="verify could not tell")
        case RunAgain():
            return Verified(verified="run_again")
        case Ran(output=output):
            shaped = bounded_output(output)
            if shaped.problem is not None:
                return Verified(problem="verify says that it ran, with an output that cannot be given to the model")
            return Verified(verified="ran", output=shaped.output)
    return Verified(problem=f"verify answered {type(answer).__name__}, not Ran, RunAgain or None")
