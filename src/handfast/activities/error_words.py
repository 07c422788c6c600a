"""Words a tool's exception for the model, where the tool has a function for that."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

from handfast.activities.outputs import bounded_text
from handfast.activities.runtime import Runtime
from handfast.activities.user_code import UserCodeError, call_user_code
from handfast.context import ToolContext
from handfast.payloads.tool_call import ToolOutcome
from handfast.tools import Tool

logger = logging.getLogger(__name__)

WORDING_S: Final = 5.0
"""How long a tool's `on_error` may take before the default words are used."""


async def worded(
    runtime: Runtime, tool: Tool[..., Any], context: ToolContext[Any], error: BaseException, ended: ToolOutcome
) -> ToolOutcome:
    """Let the tool's `on_error` say what the model reads; in the default words where it gives no text."""
    if not callable(tool.on_error):
        return ended
    try:
        asking = call_user_code(tool.on_error, context, error, threads=runtime.threads)
        text = await asyncio.wait_for(asking, WORDING_S)
    except TimeoutError:
        logger.error("on_error of tool %s took longer than %g s, the default text is used", tool.name, WORDING_S)
        return ended
    except UserCodeError as problem:
        logger.error("on_error of tool %s raised, the default text is used: %s", tool.name, problem.kind)
        return ended
    if not isinstance(text, str):
        logger.error("on_error of tool %s answered no text, the default text is used", tool.name)
        return ended
    return ended.model_copy(update={"output": bounded_text(text)})
