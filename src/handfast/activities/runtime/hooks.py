"""Calls hooks. They observe: whatever they do, the call goes on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import Any, Final

from temporalio import activity

from handfast.activities.runtime.user_code import ask
from handfast.definitions.agents.hooks import AgentHooks, ModelEnd, ModelStart, ToolEnd
from handfast.definitions.agents.rejection import Rejection
from handfast.definitions.context import ToolContext
from handfast.models.port import ModelRequest
from handfast.payloads.call_items import CALLS, arguments_of, id_of, tool_of
from handfast.payloads.json_profile import JsonObject
from handfast.payloads.model_call import ModelReply, ToldHooks
from handfast.payloads.tool_call import ToolOutcome
from handfast.workflows.frame.items import text_of_reply

HOOK_S: Final = 5.0
"""Time limit of a hook; after it the call goes on without it."""


def model_start(request: ModelRequest) -> ModelStart:
    """Describe a model call that begins, for hooks."""
    tools = tuple(str(each.get("name", each.get("type"))) for each in request.tools)
    return ModelStart(model=request.model, items=len(request.items), tools=tools)


def model_end(model: str, reply: ModelReply, took_s: float) -> ModelEnd:
    """Describe a reply, for hooks."""
    calls = tuple(tool_of(reply.items[each.index]) for each in reply.calls)
    return ModelEnd(model=model, text=text_of_reply(reply.items), calls=calls, usage=reply.usage, seconds=took_s)


def rejection_of(told: ToldHooks, items: Sequence[JsonObject]) -> Rejection:
    """Return a rejected call, with the arguments that the model wrote; *items* hold it."""
    found = next((each for each in items if each.get("type") in CALLS and id_of(each) == told.call), None)
    return Rejection(tool=told.tool or "", arguments={} if found is None else arguments_of(found), decided_by=told.by)


class Observers:
    """Calls the hooks of a worker and of one agent, side by side."""

    def __init__(self, hooks: Sequence[AgentHooks], threads: Executor) -> None:
        self._hooks = hooks
        self._threads = threads

    def beside(self, others: Observers) -> Observers:
        """Return these and *others*, each hook once."""
        return Observers(tuple(dict.fromkeys((*self._hooks, *others._hooks))), self._threads)

    def hear(self, *events: str) -> bool:
        """Return True where a hook listens to one of these events."""
        return any(self._listening(event) for event in events)

    async def tell(self, event: str, *told: object) -> None:
        """Call every hook that listens to *event*, by its method's name."""
        listening = self._listening(event)
        if listening:
            await asyncio.gather(*(self._tell(each, event, told) for each in listening))

    def _listening(self, event: str) -> list[AgentHooks]:
        return [each for each in self._hooks if getattr(type(each), event) is not getattr(AgentHooks, event)]

    async def _tell(self, hook: AgentHooks, event: str, told: Sequence[object]) -> None:
        name = f"the hook {type(hook).__name__}.{event}"
        then = "the run goes on"
        await ask(
            getattr(hook, event),
            *told,
            name=name,
            within=HOOK_S,
            threads=self._threads,
            then=then,
            keeps_context=event == "on_tool_start",  # it is told with the tool's own context, before the tool runs
        )


class ObservedCall:
    """Tells hooks of one tool call."""

    def __init__(self, observers: Observers, context: ToolContext[Any] | None) -> None:
        """Take the call's context; None where nobody listens."""
        self._observers = observers
        self._context = context
        self._began = time.monotonic()

    async def start(self, stop: Callable[[str], None]) -> bool:
        """Tell hooks that the tool is about to run.

        Args:
            stop: Called where the server wants the call to end meanwhile.

        Returns:
            False where the worker shuts down, so that the tool must not begin.
        """
        if not await self._tell("on_tool_start"):
            details = activity.cancellation_details()
            if details is None or details.worker_shutdown:
                return False
            stop("cancel")
        self._began = time.monotonic()
        return True

    async def end(self, ended: ToolOutcome) -> None:
        """Tell hooks that the tool has returned or raised; its outcome stands whatever they do."""
        if ended.kind in ("ok", "error"):
            took_s = time.monotonic() - self._began
            await self._tell("on_tool_end", ToolEnd(output=ended.output, failed=ended.kind == "error", seconds=took_s))

    async def _tell(self, event: str, *told: object) -> bool:
        """Tell hooks; return False where the activity is cancelled meanwhile."""
        if self._context is None:
            return True
        telling = asyncio.create_task(self._observers.tell(event, self._context, *told))
        try:
            await asyncio.wait({telling})
        except asyncio.CancelledError:
            telling.cancel()
            return False
        return True
