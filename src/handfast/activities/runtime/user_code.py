"""Calls the user's code other than tools: rules, guardrails, hooks, filters and functions that word a text."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import json
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from handfast.activities.runtime.outputs import described
from handfast.activities.runtime.user_errors import log_answer, log_error, log_timeout
from handfast.definitions.context import RunContext


@dataclass(frozen=True)
class Problem:
    """The reason why a function of the user's gave no answer.

    Attributes:
        brief: "raised ValueError", or "took longer than 5 s". It quotes nothing that the function saw.
        error: "ValueError: no such order": the exception with its message. None: the function took too long.
        raised: The exception itself, likewise.
    """

    brief: str
    error: str | None = None
    raised: BaseException | None = None

    @property
    def text(self) -> str:
        """ "raised ValueError: no such order", or "took longer than 5 s"."""
        return self.brief if self.error is None else f"raised {self.error}"


async def ask(
    function: Callable[..., Any],
    *args: Any,
    name: str,
    within: float,
    threads: Executor,
    then: str = "",
    retried: bool = False,
    keeps_context: bool = False,
) -> Any | Problem:
    """Call a function of the user's, sync or async, and wait for its answer.

    Whatever the function does, it neither blocks the worker's event loop nor raises here: a sync function runs in
    *threads*, one that takes too long is left behind, and every exception becomes a `Problem`, SystemExit and a
    CancelledError of the function's own included. Each problem is logged, with the user's own frames; and so is a
    change of the run's context that nobody will record.

    Args:
        function: The function to call.
        args: Its arguments.
        name: Its name in the log, as in "the approval rule of refund".
        within: Seconds that it may take.
        threads: Where a sync function runs.
        then: For the log: what follows from a problem.
        retried: A problem makes the server try the activity again.
        keeps_context: The caller records what the function changes in the run's context.
    """
    context = None if keeps_context else next((each for each in args if isinstance(each, RunContext)), None)
    before = None if context is None else _written(context)
    calling = asyncio.create_task(_answer(function, args, threads))
    try:
        await asyncio.wait({calling}, timeout=within)
    except asyncio.CancelledError:
        calling.cancel()
        raise
    if not calling.done():
        # Not awaited: a coroutine that swallows its cancellation would hold up the activity.
        calling.cancel()
        problem = Problem(f"took longer than {within:g} s")
        log_timeout(name, problem.brief, then, retried=retried)
        return problem
    answer = calling.result()
    if context is not None and before != _written(context):
        log_answer(name, "changed ctx.context", "the change is lost, as only tools and on_handoff may change it")
    if not isinstance(answer, _Raised):
        return answer
    log_error(name, answer.error, then, function=function, retried=retried)
    return Problem(f"raised {type(answer.error).__name__}", described(answer.error), answer.error)


def _written(context: RunContext[Any]) -> str | None:
    """Return the run's context as a text to compare; None where it cannot be written."""
    held: object = context.context
    try:
        if isinstance(held, BaseModel):
            return held.model_dump_json(round_trip=True, warnings=False)
        return json.dumps(held, sort_keys=True)
    except Exception:  # noqa: BLE001 - serializers of the user's run here
        return None


class _Raised:
    """Carries an exception as a value: out of a task, SystemExit would end the event loop."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


async def _answer(function: Callable[..., Any], args: tuple[Any, ...], threads: Executor) -> Any:
    try:
        if inspect.iscoroutinefunction(function):
            return await function(*args)
        # The thread gets a copy of the context, as from `asyncio.to_thread`: `activity.info()` works there too.
        context = contextvars.copy_context()
        loop = asyncio.get_running_loop()
        value = await loop.run_in_executor(threads, context.run, _in_thread, function, args)
        return await value if inspect.isawaitable(value) else value
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        return _Raised(error)
    except BaseException as error:  # noqa: BLE001 - every ending of user code becomes an answer
        return _Raised(error)


def _in_thread(function: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    try:
        return function(*args)
    except BaseException as error:  # noqa: BLE001 - a thread's SystemExit would be raised again in the loop
        return _Raised(error)
