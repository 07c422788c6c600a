"""One session with an MCP server. It is held by a task of its own: the SDK's scopes end in the task that began them."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable
from importlib.metadata import version
from typing import Any, Final, TypeVar, cast

import anyio
import mcp_types as types
from mcp import Client, MCPError
from mcp.shared.dispatcher import ProgressFnT
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError

from handfast.definitions.tools.mcp import McpServer, StdioTransport
from handfast.errors import McpUnavailableError, OutcomeUnknownError
from handfast.mcp.transport import LOST, NOT_REACHED, Stderr, Values, opened, quiet_client
from handfast.payloads.base import problems_of
from handfast.payloads.cutting import cut
from handfast.payloads.json_profile import JsonObject, scrub

__all__ = ["Connection"]

logger = logging.getLogger("handfast.mcp")

CLOSE_S: Final = 10.0
"""How long a server may take to end: the SDK gives it two seconds, then asks, then kills."""
PROBLEM_BYTES: Final = 600
MOST_PAGES: Final = 100
MOST_TOOLS: Final = 1000
UNASKED_PAUSE: Final = (0.05, 2.0)
"""Shortest and longest pause before a call goes on that a server handed back without a question."""

AnswerT = TypeVar("AnswerT")


class Connection:
    """A session, from its start to its end; it is not started twice.

    Attributes:
        changed: Set while the server has said that its tools have changed, and nobody has looked yet.
    """

    def __init__(self, server: McpServer) -> None:
        """Take the server; `start` reaches it."""
        self._server = server
        self._stderr = Stderr(server.name)
        self._ended = asyncio.Event()
        self._closing = asyncio.Event()
        self._client: Client | None = None
        self._holding: asyncio.Task[None] | None = None
        self._listening: asyncio.Task[None] | None = None
        self._told_of_noise = False
        self.changed = asyncio.Event()

    @property
    def alive(self) -> bool:
        """True from its start on until the server or the connection has gone."""
        held = self._holding is not None and not self._holding.done()
        return held and self._client is not None and not self._ended.is_set() and not self._closing.is_set()

    @property
    def tells_changes(self) -> bool:
        """True where the server has promised to say when its tools change, and there is a way on which it can."""
        if self._client is None:
            return False
        if self._client.protocol_version in MODERN_PROTOCOL_VERSIONS:
            return self._listening is not None and not self._listening.done()
        tools = self._client.server_capabilities.tools
        return isinstance(self._server.transport, StdioTransport) and tools is not None and bool(tools.list_changed)

    async def start(self, values: Values) -> None:
        """Reach the server and agree on the protocol.

        Raises:
            McpUnavailableError: That failed, or took too long.
        """
        quiet_client()
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._holding = asyncio.create_task(self._hold(values, ready), name=f"mcp {self._server.name}")
        try:
            await asyncio.shield(ready)
        except asyncio.CancelledError:
            self._holding.cancel()
            raise

    async def close(self) -> None:
        """End the session, and the server's process."""
        self._closing.set()
        if self._listening is not None:
            self._listening.cancel()
        if self._holding is not None:
            await asyncio.wait({self._holding}, timeout=CLOSE_S)
            self._holding.cancel()

    async def tools(self) -> list[JsonObject]:
        """List all tools of the server, as JSON.

        Raises:
            McpUnavailableError: It cannot be reached, or lists what is no tool.
        """
        self.changed.clear()
        listed: list[JsonObject] = []
        cursor: str | None = None
        for _ in range(MOST_PAGES):
            page = await self._asked("lists its tools", self._list_page(cursor))
            listed += [each.model_dump(mode="json", by_alias=True, exclude_none=True) for each in page.tools]
            if page.next_cursor is None:
                return listed
            if len(listed) > MOST_TOOLS or page.next_cursor == cursor:
                break
            cursor = page.next_cursor
        raise McpUnavailableError(self._server.name, f"lists more than {MOST_TOOLS:,} tools, or a list without end")

    async def call(
        self, name: str, arguments: JsonObject, *, meta: JsonObject, progress: ProgressFnT
    ) -> types.CallToolResult:
        """Call a tool.

        Raises:
            McpUnavailableError: The call was not made.
            OutcomeUnknownError: It was sent, and what became of it is not known.
            MCPError: The server refused it.
        """
        session = self._live().session
        told = cast(types.RequestParamsMeta, meta)
        return await self._sent(session.call_tool(name, arguments, progress_callback=progress, meta=told))

    # --- inside ---

    def _live(self) -> Client:
        if self._client is None or not self.alive:
            raise McpUnavailableError(self._server.name, "has ended; the call was not made")
        return self._client

    async def _list_page(self, cursor: str | None) -> types.ListToolsResult:
        return await self._live().session.list_tools(params=types.PaginatedRequestParams(cursor=cursor))

    async def _asked(self, what: str, asking: Awaitable[AnswerT]) -> AnswerT:
        """Await what may be asked again.

        Raises:
            McpUnavailableError: There was no answer that can be used.
        """
        try:
            async with asyncio.timeout(self._server.start_within.total_seconds()):
                return await asking
        except TimeoutError:
            problem = f"did not answer within {self._server.start_within.total_seconds():g} s"
        except ValidationError as error:
            problem = f"{what} in another form than the protocol's: {'; '.join(problems_of(error))}"
        except MCPError as error:
            if error.code in (types.CONNECTION_CLOSED, types.INVALID_REQUEST):
                self._ended.set()  # a session that the server has forgotten is as good as none
            problem = _told(error)
        raise McpUnavailableError(self._server.name, cut(scrub(problem), PROBLEM_BYTES)[0])

    async def _sent(self, sending: Awaitable[AnswerT]) -> AnswerT:
        """Await what may have an effect, and tell apart whether it may have had one."""
        try:
            return await sending
        except MCPError as error:
            if error.code == NOT_REACHED:
                raise McpUnavailableError(self._server.name, f"{error.message}; the call was not made") from None
            if error.code in (LOST, types.CONNECTION_CLOSED, types.PARSE_ERROR):
                said = cut(scrub(error.message), PROBLEM_BYTES)[0]
                problem = f"the connection to the MCP server {self._server.name} broke during the call: {said}"
                raise OutcomeUnknownError(problem) from None
            raise

    async def _hold(self, values: Values, ready: asyncio.Future[None]) -> None:
        within = self._server.start_within.total_seconds()
        problem = "has ended"
        try:
            with anyio.CancelScope(deadline=anyio.current_time() + within) as scope:
                async with (
                    opened(self._server, values, self._ended, self._stderr) as streams,
                    Client(
                        _Given(streams),
                        mode="auto",
                        cache=None,
                        message_handler=self._heard,
                        client_info=types.Implementation(name="handfast", version=version("handfast")),
                    ) as client,
                ):
                    scope.deadline = math.inf
                    self._client = client
                    self._listening = asyncio.create_task(self._listen(client))
                    ready.set_result(None)
                    await self._until_end()
            if scope.cancelled_caught and self._client is None:
                problem = f"did not answer within {within:g} s"
        except Exception as error:  # noqa: BLE001 - whatever a transport raises: the server is not there
            problem = self._problem(error)
            if self._client is not None and not self._closing.is_set():
                gone = "the MCP server %s has gone (%s); it is started again when it is needed"
                logger.warning(gone, self._server.name, type(error).__name__)
        finally:
            self._ended.set()
            if self._listening is not None:
                self._listening.cancel()
            if not ready.done():
                ready.set_exception(McpUnavailableError(self._server.name, problem))

    async def _until_end(self) -> None:
        waits = [asyncio.create_task(event.wait()) for event in (self._ended, self._closing)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()

    async def _listen(self, client: Client) -> None:
        """Hear of changes of the tools, where the server tells of them to those who ask for it."""
        tools = client.server_capabilities.tools
        if client.protocol_version not in MODERN_PROTOCOL_VERSIONS or tools is None or not tools.list_changed:
            return
        try:
            async with client.listen(tools_list_changed=True) as subscription:
                async for _ in subscription:
                    self.changed.set()
        except Exception as error:  # noqa: BLE001 - without it the tools are listed more often
            logger.debug("the MCP server %s tells of no changes: %s", self._server.name, type(error).__name__)

    async def _heard(self, message: object) -> None:
        if isinstance(message, types.ToolListChangedNotification):
            self.changed.set()
        elif isinstance(message, Exception) and not self._told_of_noise:
            self._told_of_noise = True
            noise = "the MCP server %s sends what is no message, on its stdout perhaps; it is passed over"
            logger.warning(noise, self._server.name)

    def _problem(self, error: BaseException) -> str:
        """Why it could not be reached, in one sentence."""
        leaves = list(_leaves(error))
        said = next((each for each in leaves if isinstance(each, MCPError)), leaves[0])
        last = self._stderr.last
        if isinstance(said, OSError) and isinstance(self._server.transport, StdioTransport):
            text = f"could not be started: {said.strerror or said}: {self._server.transport.command}"
        elif isinstance(said, MCPError) and said.code == types.CONNECTION_CLOSED:
            text = f"ended at its start{f': {last}' if last else ''}"
        elif isinstance(said, MCPError):
            text = _told(said)
        elif isinstance(said, ValidationError):
            text = f"answers in another form than the protocol's: {'; '.join(problems_of(said))}"
        else:
            text = f"cannot be reached: {type(said).__name__}: {said}"
        return cut(scrub(text), PROBLEM_BYTES)[0]


class _Given:
    """Streams that are open already, as the SDK wants to enter them."""

    def __init__(self, streams: Any) -> None:
        self._streams = streams

    async def __aenter__(self) -> Any:
        return self._streams

    async def __aexit__(self, *_: object) -> None:
        return None


def _told(error: MCPError) -> str:
    if error.code in (NOT_REACHED, LOST):
        return error.message
    if error.code == types.METHOD_NOT_FOUND and error.message == "Not Found":
        return "answers HTTP 404: there is no MCP server at this address"
    return f"answers: {error.message}"


def _leaves(error: BaseException) -> Any:
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _leaves(each)
    else:
        yield error
