"""Executes a tool's function once, and tells how it ended."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
import uuid
from collections.abc import Mapping
from typing import Any, Final, Literal

from temporalio import activity
from temporalio.exceptions import ApplicationError

from handfast.activities.runtime.outputs import bounded_error, bounded_output, described
from handfast.activities.runtime.runtime import Runtime
from handfast.activities.runtime.user_code import Problem, ask
from handfast.activities.runtime.user_errors import is_last_attempt, log_error
from handfast.activities.tool.errors import carries, is_left_unknown
from handfast.definitions.context import ToolContext
from handfast.definitions.tools.function_tool import Tool
from handfast.payloads.json_profile import JsonValue
from handfast.payloads.mcp import McpAsked
from handfast.payloads.tool_call import Attempt, ToolOutcome

SETTLE_S: Final = 60.0
"""Time after which a tool that ignores its cancellation is left behind."""

ON_CANCEL_S: Final = 10.0
"""Time limit of a tool's `on_cancel`."""

OutcomeKind = Literal["ok", "error", "cancelled", "not_begun", "unknown", "refused", "unproven", "changed", "asked"]


class ToolBody:
    """Runs the function in a task or thread of its own, and watches it to its end.

    Attributes:
        returned: The function's return value, once it has returned.
        raised: The exception that it ended with.
        whole: Its output as a text, where that was cut.
        media: Images and files that its output refers to.
    """

    def __init__(
        self,
        tool: Tool[..., Any],
        context: ToolContext[Any] | None,
        arguments: dict[str, Any],
        runtime: Runtime,
    ) -> None:
        """Take the function's arguments and context; `run` starts it."""
        self._tool = tool
        self._context = context
        self._args, self._kwargs = tool.form.passed(arguments, context)
        self._runtime = runtime
        self._cancelled = context.cancel_event if context is not None else threading.Event()
        self._stop = asyncio.Event()
        self._at_most_once = True
        self.returned: object = None
        self.raised: Exception | None = None
        self.whole: str | None = None
        self.media: Mapping[str, bytes] | None = None

    def stop(self, _why: str) -> None:
        """End the call: the server wants it to."""
        self._cancelled.set()
        self._stop.set()

    @property
    def stopping(self) -> bool:
        """True once the server wants this call to end."""
        return self._stop.is_set()

    async def run(self, timeout_s: float, *, at_most_once: bool) -> ToolOutcome:
        """Run the function to its end.

        Raises:
            ApplicationError: ``WorkerShutdown``, where the call may be retried on another worker; ``ToolRetried``,
                where the tool's `Retry` says that this exception is tried again.
        """
        if self.stopping:
            return outcome("cancelled", reason="cancelled before it began")
        self._at_most_once = at_most_once
        running = asyncio.create_task(self._guarded())
        watching = asyncio.create_task(self._watch(running, timeout_s, at_most_once=at_most_once))
        while not watching.done():
            try:
                await asyncio.wait({watching})
            except asyncio.CancelledError:
                # The SDK's word: of a cancel, which our beats mostly heard first, or of a worker whose grace is over.
                details = activity.cancellation_details()
                if details is None or details.worker_shutdown:
                    self._cancelled.set()
                    running.cancel()
                    watching.cancel()
                    return _shut_down(at_most_once=at_most_once)
                if details.cancel_requested or details.not_found or details.timed_out:
                    self.stop("cancel")
        return watching.result()

    async def _watch(
        self, running: asyncio.Task[tuple[bool, object]], timeout_s: float, *, at_most_once: bool
    ) -> ToolOutcome:
        stopping = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({running, stopping}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
        if running.done():
            return self._ended(running.result())
        if self._stop.is_set():
            return await self._stopped(running)
        return await self._timed_out(running, timeout_s, at_most_once=at_most_once)

    async def _guarded(self) -> tuple[bool, object]:
        """Run the function; return True and its value, or False and its exception: SystemExit would end the loop."""
        try:
            return True, await self._call()
        except BaseException as error:  # noqa: BLE001 - every ending of user code becomes an outcome
            return False, error

    async def _call(self) -> object:
        if self._tool.is_async:
            return await self._tool.function(*self._args, **self._kwargs)
        context = contextvars.copy_context()

        def in_thread() -> tuple[bool, object]:
            try:
                return True, context.run(self._tool.function, *self._args, **self._kwargs)
            except BaseException as error:  # noqa: BLE001 - a thread's exception would be lost or end the loop
                return False, error

        returned, value = await asyncio.get_running_loop().run_in_executor(self._runtime.tool_threads, in_thread)
        if not returned:
            raise _InThreadError(value)
        return await value if inspect.isawaitable(value) else value

    def _ended(self, result: tuple[bool, object]) -> ToolOutcome:
        returned, value = result
        if isinstance(value, McpAsked):
            return outcome("asked").model_copy(update={"asked": value})
        if returned:
            self.returned = value
            shaped = bounded_output(value, by_reference=True)
            if shaped.problem is not None:
                return outcome("error", output=shaped.problem)
            self.whole, self.media = shaped.whole, shaped.media
            return outcome("ok", output=shaped.output, size=shaped.size, json=shaped.json)
        error = value.error if isinstance(value, _InThreadError) else value
        if isinstance(error, asyncio.CancelledError) and self._stop.is_set():
            return outcome("cancelled", reason="cancelled while it was running")
        assert isinstance(error, BaseException)
        name, function = f"the tool {self._tool.name}", self._tool.function
        if self._at_most_once and is_left_unknown(error):
            log_error(name, error, "whether it took effect is not known", function=function)
            return outcome("unknown", reason=f"the tool raised {described(error)}")
        self.raised = error if isinstance(error, Exception) else None
        retry = self._tool.retry
        if retry is not None and carries(error, retry.on) and not self._stop.is_set() and not is_last_attempt():
            log_error(name, error, function=function, retried=True)
            raise ApplicationError(bounded_error(error), type="ToolRetried")
        log_error(name, error, function=function)
        return outcome("error", output=bounded_error(error))

    async def _stopped(self, running: asyncio.Task[tuple[bool, object]]) -> ToolOutcome:
        """End a cancelled call, and keep its output if it finishes all the same; a thread can only be asked to end."""
        if self._tool.is_async:
            running.cancel()
        waiting = asyncio.create_task(asyncio.wait({running}, timeout=SETTLE_S))
        problem = await self._on_cancel()
        done, _ = await waiting
        if done:
            ended = self._ended(running.result())
        else:
            ended = outcome("unknown", reason=f"unsettled: it ignored its cancellation for {SETTLE_S:g} s")
        return ended if problem is None else ended.model_copy(update={"reason": _joined(ended.reason, problem)})

    async def _on_cancel(self) -> str | None:
        """Call the tool's `on_cancel`; return its problem, if it had one."""
        hook = self._tool.on_cancel
        if hook is None:
            return None
        name = f"on_cancel of {self._tool.name}"
        answer = await ask(hook, self._context, name=name, within=ON_CANCEL_S, threads=self._runtime.threads)
        return f"on_cancel {answer.text}" if isinstance(answer, Problem) else None

    async def _timed_out(
        self, running: asyncio.Task[tuple[bool, object]], timeout_s: float, *, at_most_once: bool
    ) -> ToolOutcome:
        self._cancelled.set()
        running.cancel()
        text = f"it took longer than its {timeout_s:g} s"
        problem = await self._on_cancel()
        if at_most_once:
            return outcome("unknown", reason=text if problem is None else _joined(text, problem))
        return outcome("error", output=f"Error: {self._tool.name} was stopped: {text}")


def _shut_down(*, at_most_once: bool) -> ToolOutcome:
    if at_most_once:
        return outcome("unknown", reason="the worker shut down while the tool was running")
    raise ApplicationError("the worker shut down while the tool was running", type="WorkerShutdown")


def _joined(reason: str | None, problem: str) -> str:
    return problem if reason is None else f"{reason}; {problem}"


class _InThreadError(Exception):
    """Carries what a sync tool raised over to the loop."""

    def __init__(self, error: object) -> None:
        super().__init__()
        self.error = error


def outcome(
    kind: OutcomeKind,
    *,
    output: JsonValue = None,
    reason: str | None = None,
    size: int | None = None,
    json: bool = False,
    known: Attempt | None = None,
) -> ToolOutcome:
    """Shape an outcome of this attempt."""
    return ToolOutcome(
        kind=kind,
        block=uuid.uuid4().hex,
        output=output,
        form="json" if json else None,
        reason=reason,
        bytes=size,
        worker=activity.client().identity if kind == "unknown" else None,
        known=known,
    )
