"""Asks a tool whether what was approved still holds, right before it runs. What cannot be found out is asked anew."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Final

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from handfast.activities.runtime.calls import arguments_of, tool_context
from handfast.activities.runtime.outputs import bounded_text
from handfast.activities.runtime.runtime import Runtime
from handfast.activities.runtime.user_code import UserCodeError, call_user_code
from handfast.definitions.context import ToolContext
from handfast.definitions.gates.revalidation import Changed, Revalidate
from handfast.errors import JsonProfileError
from handfast.payloads.base import json_size
from handfast.payloads.changed import SHOWN_BYTES, WHY_BYTES, Difference
from handfast.payloads.cutting import cut
from handfast.payloads.evaluation import Evaluated, RevalidateCall
from handfast.payloads.json_profile import JsonValue, check_json, scrub, scrub_json

logger = logging.getLogger(__name__)

REVALIDATE_S: Final = 30.0
"""How long a tool's `revalidate` may take."""


async def revalidated(asked: RevalidateCall, runtime: Runtime) -> Evaluated:
    """Say what has changed since the call was approved; nothing where the approval holds."""
    tool = runtime.tool(asked.tool)
    if tool.revalidate is None:  # an older worker, or a later deploy: neither loosens what was approved with it
        return Evaluated(changed=_unknown(asked.tool, "is not there on this worker"))
    arguments = await arguments_of(runtime, asked)
    try:
        model = tool.validate(arguments)
    except Exception:  # noqa: BLE001 - a validator of the user's may raise anything
        return Evaluated()  # the tool's wrapper validates too, tells the model, and runs nothing
    context = await tool_context(runtime, asked.origin, tool, call_id=asked.call_id, arguments=arguments, key=asked.key)
    return Evaluated(changed=await _difference(tool.revalidate, context, model, runtime))


async def _difference(
    function: Revalidate, context: ToolContext[object], arguments: BaseModel, runtime: Runtime
) -> Difference | None:
    try:
        asking = call_user_code(function, context, arguments, threads=runtime.threads)
        answer: object = await asyncio.wait_for(asking, REVALIDATE_S)
    except TimeoutError:
        return _unknown(context.tool, f"took longer than {REVALIDATE_S:g} s")
    except UserCodeError as error:
        return _unknown(context.tool, f"raised {error.kind}", str(error))
    if answer is None:
        return None
    if isinstance(answer, str):
        answer = Changed(answer) if answer.strip() else Changed("something")
    if not isinstance(answer, Changed):
        return _unknown(context.tool, f"answered {type(answer).__name__}, not Changed, a text or None")
    return Difference(why=cut(scrub(answer.why), WHY_BYTES)[0], before=_shown(answer.before), now=_shown(answer.now))


def _unknown(tool: str, problem: str, detail: str = "") -> Difference:
    logger.error("a call of %s is asked about again: its revalidate %s %s", tool, problem, detail)
    return Difference(why=f"whether it still holds could not be found out: revalidate {problem}")


def _shown(value: object) -> JsonValue:
    """A value as JSON that a person is shown: of a large one, and of what is no JSON, text."""
    shaped: JsonValue = scrub_json(to_jsonable_python(value, fallback=str, inf_nan_mode="strings"))
    try:
        check_json(shaped)
    except JsonProfileError:
        return bounded_text(str(shaped))[:SHOWN_BYTES]
    if json_size(shaped) <= SHOWN_BYTES:
        return shaped
    return cut(json.dumps(shaped, ensure_ascii=False), SHOWN_BYTES)[0]
