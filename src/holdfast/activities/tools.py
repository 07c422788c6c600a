"""The activities `holdfast.tool.<name>`: one wrapper around every tool's body."""

from __future__ import annotations

import asyncio
import contextvars
import dataclasses
import inspect
import threading
import uuid
from collections.abc import Callable, Coroutine
from typing import Any, Final

from temporalio import activity
from temporalio.exceptions import ApplicationError

from holdfast.activities.beats import NotAcknowledgedError
from holdfast.activities.outputs import bounded_error, bounded_output
from holdfast.activities.runtime import Runtime
from holdfast.context import ToolContext
from holdfast.errors import ArgumentsInvalidError, JsonProfileError, PayloadInvalidError, UnknownToolError
from holdfast.payloads.canonical import sha256_digest
from holdfast.payloads.json_profile import JsonObject, parse_json
from holdfast.payloads.tool_call import ToolCall, ToolOutcome
from holdfast.tools import Tool

MARK: Final[list[JsonObject]] = [{"begun": 1}]
"""Heartbeat details that say: the body was entered. The same with every beat, so that none erases it."""
SETTLE_S: Final = 60.0
"""How long a tool that ignores its cancellation is waited for."""


class ToolActivities:
    """Makes one activity per tool of the registry."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def all(self) -> list[Callable[..., Any]]:
        """The activities, one type per tool."""
        return [self._activity(name) for name in self._runtime.registry.tools]

    def _activity(self, name: str) -> Callable[[object], Coroutine[Any, Any, JsonObject]]:
        @activity.defn(name=f"holdfast.tool.{name}")
        async def run(arg: object) -> JsonObject:
            outcome = await self._run(arg)
            return outcome.to_wire()

        return run

    async def _run(self, arg: object) -> ToolOutcome:
        """Run one call. Every ending is a typed outcome; only what must be retried is raised."""
        try:
            call = ToolCall.from_wire(arg)
            tool = self._runtime.registry.tool(call.tool)
        except (PayloadInvalidError, UnknownToolError) as error:
            return _outcome("refused", reason=str(error))
        info = activity.info()
        at_most_once = call.effect == "at_most_once"
        if at_most_once and (info.attempt > 1 or info.heartbeat_details):
            return _outcome("unknown", reason="an earlier attempt had begun")
        try:
            arguments = await self._arguments(call)
            bound = tool.bind(arguments)
            context = await self._context(call, tool, arguments)
        except ArgumentsInvalidError as error:
            return _outcome("error", output=f"Error: {error}")
        except ApplicationError as error:
            if error.non_retryable:
                return _outcome("error", output=f"Error: {error.message}")
            return _outcome("not_begun", reason=error.message)
        except Exception as error:  # noqa: BLE001 - a validator of the user's may raise anything
            return _outcome("error", output=bounded_error(error))
        if call.digest is not None and call.digest != _digest(call, arguments):
            return _outcome("refused", reason="the arguments in hand are not those that were approved")
        body = _Body(tool, context, bound, self._runtime)
        try:
            async with self._runtime.beats.kept(MARK, body.stop):
                return await body.run(call.timeout_s, at_most_once=at_most_once)
        except NotAcknowledgedError as error:
            return _outcome("not_begun", reason=str(error))

    async def _arguments(self, call: ToolCall) -> JsonObject:
        if call.arguments is not None:
            return call.arguments
        if call.at is None:
            raise ArgumentsInvalidError(call.tool, ["no arguments came with the call"])
        items = await self._runtime.blocks.block(call.origin, call.at.block)
        try:
            arguments = parse_json(items[call.at.index]["arguments"])
        except JsonProfileError as error:
            raise ArgumentsInvalidError(call.tool, [error.problem]) from None
        if not isinstance(arguments, dict):
            raise ArgumentsInvalidError(call.tool, ["arguments: Input should be a JSON object"])
        return arguments

    async def _context(self, call: ToolCall, tool: Tool[..., Any], arguments: JsonObject) -> ToolContext[Any] | None:
        if not tool.takes_context:
            return None
        agent = self._runtime.registry.agents.get(call.origin.agent)
        run = await self._runtime.run_context(call.origin, tool.context_type or (agent.context_type if agent else None))
        info = activity.info()
        return ToolContext(
            **{field.name: getattr(run, field.name) for field in dataclasses.fields(run)},
            tool=call.tool,
            call_id=call.call_id,
            arguments=arguments,
            resources=self._runtime.resources,
            idempotency_key=call.key,
            attempt=info.attempt,
        )


class _Body:
    """One execution of a tool's function, and the ways in which it can end."""

    def __init__(
        self,
        tool: Tool[..., Any],
        context: ToolContext[Any] | None,
        arguments: dict[str, Any],
        runtime: Runtime,
    ) -> None:
        self._tool = tool
        self._args = () if context is None else (context,)
        self._kwargs = arguments
        self._runtime = runtime
        self._cancelled = context.cancel_event if context is not None else threading.Event()
        self._stop = asyncio.Event()

    def stop(self, _why: str) -> None:
        """Called by the beats: the server wants this call to end."""
        self._cancelled.set()
        self._stop.set()

    async def run(self, timeout_s: float, *, at_most_once: bool) -> ToolOutcome:
        running = asyncio.create_task(self._guarded())
        stopping = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({running, stopping}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                return self._ended(running.result())
            if self._stop.is_set():
                return await self._stopped(running, at_most_once=at_most_once)
            return await self._timed_out(running, timeout_s, at_most_once=at_most_once)
        except asyncio.CancelledError:
            # The worker is shutting down, and its grace is over.
            self._cancelled.set()
            running.cancel()
            if at_most_once:
                return _outcome("unknown", reason="the worker shut down while the tool was running")
            raise ApplicationError("the worker shut down while the tool was running", type="WorkerShutdown") from None
        finally:
            stopping.cancel()

    async def _guarded(self) -> tuple[bool, object]:
        """Run the function: whether it returned, and what. No exception leaves a task: SystemExit would end the
        loop."""
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

        returned, value = await asyncio.get_running_loop().run_in_executor(self._runtime.threads, in_thread)
        if not returned:
            raise _InThreadError(value)
        return await value if inspect.isawaitable(value) else value

    def _ended(self, result: tuple[bool, object]) -> ToolOutcome:
        returned, value = result
        if returned:
            output, size, problem = bounded_output(value)
            if problem is not None:
                return _outcome("error", output=problem)
            return _outcome("ok", output=output, size=size)
        error = value.error if isinstance(value, _InThreadError) else value
        if isinstance(error, asyncio.CancelledError) and self._stop.is_set():
            return _outcome("cancelled", reason="cancelled while it was running")
        return _outcome("error", output=bounded_error(error))

    async def _stopped(self, running: asyncio.Task[tuple[bool, object]], *, at_most_once: bool) -> ToolOutcome:
        """End a cancelled call. What finishes all the same is kept; a thread cannot be interrupted, only asked."""
        if self._tool.is_async:
            running.cancel()
        done, _ = await asyncio.wait({running}, timeout=SETTLE_S)
        if done:
            return self._ended(running.result())
        return _outcome("unknown", reason=f"unsettled: it ignored its cancellation for {SETTLE_S:g} s")

    async def _timed_out(
        self, running: asyncio.Task[tuple[bool, object]], timeout_s: float, *, at_most_once: bool
    ) -> ToolOutcome:
        self._cancelled.set()
        running.cancel()
        text = f"it took longer than its {timeout_s:g} s"
        if at_most_once:
            return _outcome("unknown", reason=text)
        return _outcome("error", output=f"Error: {self._tool.name} was stopped: {text}")


class _InThreadError(Exception):
    """Carries what a sync tool raised over to the loop."""

    def __init__(self, error: object) -> None:
        super().__init__()
        self.error = error


def _outcome(kind: Any, *, output: Any = None, reason: str | None = None, size: int | None = None) -> ToolOutcome:
    return ToolOutcome(
        kind=kind,
        block=uuid.uuid4().hex,
        output=output,
        reason=reason,
        bytes=size,
        worker=activity.client().identity if kind == "unknown" else None,
    )


def _digest(call: ToolCall, arguments: JsonObject) -> str:
    return sha256_digest(
        {
            "request": call.request,
            "agent_path": call.origin.agent_path,
            "tool": call.tool,
            "arguments": arguments,
            "run": call.origin.workflow_run,
        }
    )
