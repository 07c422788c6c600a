"""A gRPC proxy between a worker and the server: it counts messages, and does something to a chosen one.

Requests and replies pass as bytes. Only to tell which of them matter does it look into some. A message is *effective*
where its loss can change something:

- ``RespondWorkflowTaskCompleted``, ``RespondWorkflowTaskFailed``, ``RespondActivityTaskCompleted``,
  ``RespondActivityTaskFailed``, ``RespondActivityTaskCanceled``, ``RespondQueryTaskCompleted``: each carries a result.
- ``RecordActivityTaskHeartbeat`` that says something, the first of each attempt: the begun mark. Later ones repeat it.
- ``QueryWorkflow``: how a worker asks a run for what its cache lacks.
- ``UpdateWorkflowExecution``: how a client decides, where it is a client that is behind the proxy.
- ``PollWorkflowTaskQueue`` and ``PollActivityTaskQueue`` whose reply hands out a task: lost with it is the attempt.
  Polls that come back empty are not counted: how many there are is a matter of time.

The others (``GetSystemInfo``, ``DescribeNamespace``, ``DescribeTaskQueue``, ``ShutdownWorker``, health, …) say nothing
about a run. What each of them is about `steps` says.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Literal, Self

import grpc
from grpc import aio
from temporalio.api.enums.v1 import CommandType
from temporalio.api.workflowservice.v1 import (
    PollActivityTaskQueueResponse,
    PollWorkflowTaskQueueResponse,
    RecordActivityTaskHeartbeatRequest,
    RespondWorkflowTaskCompletedRequest,
)

from support.crash.steps import ACTIVITY_POLL, BEAT, WORKFLOW_POLL, RunStep, Steps

Side = Literal["before", "after"]
"""Before the request is passed on, or after its reply came back and before the worker has it."""

ANSWERS: Final = frozenset(
    {
        "RespondWorkflowTaskCompleted",
        "RespondWorkflowTaskFailed",
        "RespondActivityTaskCompleted",
        "RespondActivityTaskFailed",
        "RespondActivityTaskCanceled",
        "RespondQueryTaskCompleted",
        "QueryWorkflow",
        "UpdateWorkflowExecution",
    }
)
POLLS: Final[dict[str, Any]] = {
    WORKFLOW_POLL: PollWorkflowTaskQueueResponse,
    ACTIVITY_POLL: PollActivityTaskQueueResponse,
}
_UNLIMITED: Final = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
_HOP: Final = ("grpc-", "user-agent", "content-type", "te", ":")


@dataclass(frozen=True, order=True)
class Point:
    """A place in a run: the first effective message that is this step of it."""

    method: str
    about: str
    side: Side

    def __str__(self) -> str:
        return f"{self.method} of {self.about}, {self.side}"


@dataclass(frozen=True)
class Kill:
    """Call *kill*, which ends the worker at once; the message goes no further."""

    kill: Callable[[], None]


@dataclass(frozen=True)
class Drop:
    """Lose the request (before) or its reply (after): the worker is told that the connection broke."""


@dataclass(frozen=True)
class Double:
    """Send the request twice; the worker gets the second answer (after) or the first one (before)."""


@dataclass(frozen=True)
class Delay:
    """Hold the request (before) or its reply (after) up."""

    seconds: float


Fault = Kill | Drop | Double | Delay


class Lost(Exception):
    """The message goes no further."""


class GrpcProxy:
    """Passes everything on to the server at *target*, but for what `plan` names.

    Attributes:
        address: Where it listens.
        seen: When effective messages came by (``time.monotonic()``).
        steps: Which steps they were, in order, and when each was first seen. Activities that come in the reply to a
            workflow task's answer are not among them: that answer is.
        crossed_at: When a run last left its history for a fresh one.
        hit: Set when a planned point was reached.
        hit_at: When that was.
    """

    def __init__(self, target: str) -> None:
        self._target = target
        self._plan: dict[Point, Fault] = {}
        self._by_share: Callable[[str, Side], Fault | None] | None = None
        self._beaten: set[bytes] = set()
        self._names = Steps()
        self.seen: list[float] = []
        self.steps: dict[RunStep, float] = {}
        self.crossed_at: float | None = None
        self.hit = asyncio.Event()
        self.hit_at: float | None = None

    async def __aenter__(self) -> Self:
        """Listen on a free port of loopback."""
        self._channel = aio.insecure_channel(self._target, options=_UNLIMITED)
        self._server = aio.server(options=[*_UNLIMITED, ("grpc.so_reuseport", 0)])
        self._server.add_generic_rpc_handlers((_EveryMethod(self._call),))
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        await self._server.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close every connection."""
        await self._server.stop(None)
        await self._channel.close()

    def plan(self, point: Point, fault: Fault) -> None:
        """Do that at this point, once."""
        self._plan[point] = fault

    def plan_by(self, choose: Callable[[str, Side], Fault | None] | None) -> None:
        """Ask *choose* at every effective message of every method; None stops that."""
        self._by_share = choose

    async def _call(self, method: str, request: bytes, context: Any) -> bytes:
        name = method.rpartition("/")[2]
        counts = self._request_counts(name, request)

        async def send() -> bytes:
            return await self._send(method, request, context)

        try:
            if name in POLLS:
                reply = await send()
                if POLLS[name].FromString(reply).task_token:
                    await self._met(name, self._saw(self._names.of_reply(name, reply)), "after", send, reply)
                return reply
            steps = self._saw(self._names.of_request(name, request)) if counts else []
            early = await self._met(name, steps, "before", send, None) if counts else None
            reply = await send() if early is None else early
            steps += self._handed_out(name, reply)
            late = await self._met(name, steps, "after", send, reply) if counts else None
            return reply if late is None else late
        except Lost:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "lost on the way")
        except aio.AioRpcError as error:
            if name == BEAT:  # the next one is the first that the server has
                self._beaten.discard(RecordActivityTaskHeartbeatRequest.FromString(request).task_token)
            details = error.trailing_metadata()
            await context.abort(error.code(), error.details() or "", tuple(details) if details else ())
        raise AssertionError("unreachable: abort raises")

    async def _met(
        self, name: str, steps: Sequence[RunStep], side: Side, send: Callable[[], Awaitable[bytes]], reply: bytes | None
    ) -> bytes | None:
        """Do what is planned here; the reply that the worker gets instead, if any."""
        planned = [Point(*step, side) for step in steps if Point(*step, side) in self._plan]
        fault = self._plan.pop(planned[0]) if planned else None
        if fault is None and self._by_share is not None:
            fault = self._by_share(name, side)
        if fault is None:
            return None
        self.hit_at = time.monotonic()
        match fault:
            case Kill(kill):
                kill()
                self.hit.set()
                raise Lost
            case Drop():
                self.hit.set()
                raise Lost
            case Delay(seconds):
                self.hit.set()
                await asyncio.sleep(seconds)  # the fault itself
                return None
            case Double():
                self.hit.set()
                first = reply if reply is not None else await send()
                try:
                    second = await send()
                except aio.AioRpcError:
                    if side == "after":
                        raise
                    return first
                return second if side == "after" else first

    def _request_counts(self, name: str, request: bytes) -> bool:
        if name == "RespondWorkflowTaskCompleted" and _leaves(request):
            self.crossed_at = time.monotonic()
        if name != BEAT:
            return name in ANSWERS
        beat = RecordActivityTaskHeartbeatRequest.FromString(request)
        if not beat.details.payloads or beat.task_token in self._beaten:
            return False
        self._beaten.add(beat.task_token)
        return True

    def _saw(self, steps: list[RunStep]) -> list[RunStep]:
        now = time.monotonic()
        self.seen.append(now)
        for step in steps:
            self.steps.setdefault(step, now)
        return steps

    def _handed_out(self, name: str, reply: bytes) -> list[RunStep]:
        """The steps that the reply to an answer is, which may hand out what a poll would have."""
        steps = self._names.of_reply(name, reply)
        for step in steps:
            if step.method != ACTIVITY_POLL:
                self.steps.setdefault(step, time.monotonic())
        return steps

    async def _send(self, method: str, request: bytes, context: Any) -> bytes:
        metadata = tuple(pair for pair in context.invocation_metadata() or () if not pair[0].startswith(_HOP))
        ask: Any = self._channel.unary_unary(method)  # no serializers: bytes in, bytes out
        reply: bytes = await ask(request, timeout=context.time_remaining(), metadata=metadata)
        return reply


def _leaves(request: bytes) -> bool:
    commands = RespondWorkflowTaskCompletedRequest.FromString(request).commands
    return any(each.command_type == CommandType.COMMAND_TYPE_CONTINUE_AS_NEW_WORKFLOW_EXECUTION for each in commands)


class _EveryMethod(grpc.GenericRpcHandler):
    """Every method is one request and one reply, as all of Temporal's are."""

    def __init__(self, call: Callable[[str, bytes, Any], Awaitable[bytes]]) -> None:
        self._call = call

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any]:
        method = handler_call_details.method

        async def call(request: bytes, context: Any) -> bytes:
            return await self._call(method, request, context)

        return grpc.unary_unary_rpc_method_handler(call)
