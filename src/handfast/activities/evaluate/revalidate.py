"""Asks a tool right before it runs if its approval still holds. Where the tool cannot tell, a person is asked anew."""

from __future__ import annotations

import json
from typing import Final

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from handfast.activities.runtime.calls import arguments_of, tool_context
from handfast.activities.runtime.outputs import bounded_text
from handfast.activities.runtime.runtime import Runtime
from handfast.activities.runtime.user_code import Problem, ask
from handfast.activities.runtime.user_errors import log_answer
from handfast.activities.runtime.validation import ValidatorFailedError, validated
from handfast.definitions.context import ToolContext
from handfast.definitions.gates.revalidation import Changed, Revalidate
from handfast.errors import ArgumentsInvalidError, JsonProfileError
from handfast.payloads.base import json_size
from handfast.payloads.cutting import cut
from handfast.payloads.evaluation import RevalidateCall, Revalidated
from handfast.payloads.json_profile import JsonValue, check_json, scrub, scrub_json
from handfast.payloads.requests import SHOWN_BYTES, WHY_BYTES, Difference

REVALIDATE_S: Final = 30.0
"""Time limit of a tool's `revalidate`."""


async def revalidated(asked: RevalidateCall, runtime: Runtime) -> Revalidated:
    """Return the change since the call was approved; None where the approval holds."""
    tool = runtime.tool(asked.tool)
    if tool.revalidate is None:  # an older worker, or a later deploy: neither loosens what was approved with it
        problem = "is not there on this worker"
        log_answer(f"revalidate of {asked.tool}", problem, "a person is asked about the call again")
        return Revalidated(changed=_unknown(problem))
    arguments = await arguments_of(runtime, asked)
    try:
        model = await validated(tool.validate, arguments, of=tool, threads=runtime.validation_threads)
    except (ArgumentsInvalidError, ValidatorFailedError):
        return Revalidated()  # the tool's wrapper validates too, tells the model, and runs nothing
    context = await tool_context(runtime, asked.origin, tool, call_id=asked.call_id, arguments=arguments, key=asked.key)
    return Revalidated(changed=await _difference(tool.revalidate, context, model, runtime))


async def _difference(
    function: Revalidate, context: ToolContext[object], arguments: BaseModel, runtime: Runtime
) -> Difference | None:
    name, then = f"revalidate of {context.tool}", "a person is asked about the call again"
    answer = await ask(function, context, arguments, name=name, within=REVALIDATE_S, threads=runtime.threads, then=then)
    if isinstance(answer, Problem):
        return _unknown(answer.brief)
    if answer is None:
        return None
    if isinstance(answer, str):
        answer = Changed(answer) if answer.strip() else Changed("something")
    if not isinstance(answer, Changed):
        problem = f"answered {type(answer).__name__}, not Changed, a text or None"
        log_answer(name, problem, then)
        return _unknown(problem)
    return Difference(why=cut(scrub(answer.why), WHY_BYTES)[0], before=_shown(answer.before), now=_shown(answer.now))


def _unknown(problem: str) -> Difference:
    return Difference(why=f"whether it still holds could not be found out: revalidate {problem}")


def _shown(value: object) -> JsonValue:
    """Return a value as JSON that a person is shown; a large one, or no JSON, as text."""
    shaped: JsonValue = scrub_json(to_jsonable_python(value, fallback=str, inf_nan_mode="strings"))
    try:
        check_json(shaped)
    except JsonProfileError:
        return bounded_text(str(shaped))[:SHOWN_BYTES]
    if json_size(shaped) <= SHOWN_BYTES:
        return shaped
    return cut(json.dumps(shaped, ensure_ascii=False), SHOWN_BYTES)[0]
