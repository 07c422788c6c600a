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
about a run.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
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
    "PollWorkflowTaskQueue": PollWorkflowTaskQueueResponse,
    "PollActivityTaskQueue": PollActivityTaskQueueResponse,
}
BEAT: Final = "RecordActivityTaskHeartbeat"
_UNLIMITED: Final = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
_HOP: Final = ("grpc-", "user-agent", "content-type", "te", ":")


@dataclass(frozen=True, order=True)
class Point:
    """A place in a run: the *nth* effective message of a method, from 1."""

    method: str
    nth: int
    side: Side

    def __str__(self) -> str:
        return f"{self.method}-{self.nth}-{self.side}"


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
        counted: Effective messages by method.
        seen: The same one by one: method, and when it came by (``time.monotonic()``).
        crossed_at: When a run last left its history for a fresh one.
        hit: Set when a planned point was reached.
        hit_at: When that was.
    """

    def __init__(self, target: str) -> None:
        self._target = target
        self._plan: dict[Point, Fault] = {}
        self._by_share: Callable[[str, Side], Fault | None] | None = None
        self._beaten: set[bytes] = set()
        self.counted: Counter[str] = Counter()
        self.seen: list[tuple[str, float]] = []
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
        nth = self._count(name) if self._request_counts(name, request) else 0

        async def send() -> bytes:
            return await self._send(method, request, context)

        try:
            if name in POLLS:
                reply = await send()
                if POLLS[name].FromString(reply).task_token:
                    await self._met(name, self._count(name), "after", send, reply)
                return reply
            early = await self._met(name, nth, "before", send, None) if nth else None
            reply = await send() if early is None else early
            late = await self._met(name, nth, "after", send, reply) if nth else None
            return reply if late is None else late
        except Lost:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "lost on the way")
        except aio.AioRpcError as error:
            details = error.trailing_metadata()
            await context.abort(error.code(), error.details() or "", tuple(details) if details else ())
        raise AssertionError("unreachable: abort raises")

    async def _met(
        self, name: str, nth: int, side: Side, send: Callable[[], Awaitable[bytes]], reply: bytes | None
    ) -> bytes | None:
        """Do what is planned here; the reply that the worker gets instead, if any."""
        fault = self._plan.pop(Point(name, nth, side), None)
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

    def _count(self, name: str) -> int:
        self.counted[name] += 1
        self.seen.append((name, time.monotonic()))
        return self.counted[name]

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
