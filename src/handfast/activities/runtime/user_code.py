"""The one way in which activities call agent code other than tools: instructions, rules, keys, formatters."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

from handfast.activities.runtime.outputs import described


class UserCodeError(Exception):
    """Agent code raised.

    Attributes:
        kind: Name of the exception's type.
    """

    def __init__(self, error: BaseException) -> None:
        super().__init__(described(error))
        self.kind = type(error).__name__


async def call_user_code(function: Callable[..., Any], *args: Any, threads: Executor | None = None) -> Any:
    """Call a function that may be sync or async.

    A SystemExit out of a task would end the worker's loop, and a CancelledError of the function's own would pass for a
    cancelled activity: both come out as a `UserCodeError`, like everything else that it raises.

    Args:
        function: What to call.
        args: Its arguments.
        threads: Where a sync function runs; None calls it here.

    Raises:
        UserCodeError: It raised.
    """
    try:
        if threads is None or inspect.iscoroutinefunction(function):
            value = function(*args)
        else:
            value = await asyncio.get_running_loop().run_in_executor(threads, _in_thread, function, args)
        return await value if inspect.isawaitable(value) else value
    except UserCodeError:
        raise
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise UserCodeError(error) from None
    except BaseException as error:  # noqa: BLE001 - see above
        raise UserCodeError(error) from None


def _in_thread(function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    try:
        return function(*args)
    except BaseException as error:  # noqa: BLE001 - a thread's SystemExit would be raised again in the loop
        raise UserCodeError(error) from None
