"""Asks a tool's own function for the idempotency key of a call."""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor
from typing import Any, Final

from pydantic import BaseModel

from handfast.activities.rules import RULE_S
from handfast.activities.user_code import UserCodeError, call_user_code
from handfast.context import RunContext
from handfast.offered import Offered
from handfast.payloads.json_profile import scrub
from handfast.tools import Tool

LONGEST_KEY: Final = 255
"""Characters of a key: services that take one take no more."""


class KeyFailedError(Exception):
    """The function made no key: the call must not run under a wrong one."""


async def own_key(offered: Offered, context: RunContext[Any], arguments: BaseModel, threads: Executor) -> str | None:
    """The key that the tool's own function makes of *arguments*; None where it has none, and the call's is taken.

    Raises:
        KeyFailedError: It raised, took too long, or made no text that can be a key.
    """
    function = offered.idempotency_key if isinstance(offered, Tool) else None
    if function is None:
        return None
    try:
        asking = call_user_code(function, context, arguments, threads=threads)
        key: object = await asyncio.wait_for(asking, RULE_S)
    except TimeoutError:
        raise KeyFailedError(f"the idempotency key took over {RULE_S:g} s") from None
    except UserCodeError as error:
        raise KeyFailedError(f"the idempotency key raised {error.kind}") from None
    if not isinstance(key, str):
        raise KeyFailedError(f"the idempotency key is a {type(key).__name__}, not a text")
    if not 0 < len(key) <= LONGEST_KEY or key != scrub(key):
        raise KeyFailedError(f"the idempotency key is no valid text of 1 to {LONGEST_KEY} characters")
    return key
