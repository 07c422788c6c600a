"""The MCP servers of one worker: one connection to each, started when it is first needed and again when it is gone."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, TypeVar

from handfast.definitions.context import ToolContext
from handfast.definitions.secret import Secret
from handfast.definitions.tools.mcp import McpServer
from handfast.errors import McpUnavailableError, UnknownToolError
from handfast.mcp.readable import readable
from handfast.mcp.tool import McpTool, StillWaits, ToolRefusedError, made_tool, offered_name
from handfast.payloads.json_profile import JsonObject
from handfast.payloads.mcp import McpAsked

if TYPE_CHECKING:
    from handfast.mcp.connection import Connection
    from handfast.mcp.live_call import LiveCall

__all__ = ["McpPool"]

logger = logging.getLogger("handfast.mcp")

LISTING_S: Final = 60.0
"""Time for which a listing is taken for true, where the server does not say that its tools have changed."""
RESTART_PAUSE_S: Final = 1.0
"""From one failed start to the next: whoever asks meanwhile hears of the failure."""
MOST_ASKED: Final = 10_000

ResolveSecrets = Callable[[McpServer], Awaitable[Mapping[Secret, str]]]
SharedT = TypeVar("SharedT")


@dataclass(frozen=True)
class Listing:
    """The tools of a server, as it listed them last.

    Attributes:
        tools: By the name that the model calls.
        at: When it was asked for, by `time.monotonic`.
        connection: On which it came.
    """

    tools: Mapping[str, McpTool]
    at: float
    connection: Connection


class Pooled:
    """One server of the pool.

    Attributes:
        held: Calls whose server waits for an answer in its session, by their idempotency keys.
    """

    def __init__(self, server: McpServer, secrets: ResolveSecrets) -> None:
        self._server = server
        self._secrets = secrets
        self._connection: Connection | None = None
        self._starting: asyncio.Task[Connection] | None = None
        self._listing: Listing | None = None
        self._refreshing: asyncio.Task[Listing] | None = None
        self._failed: tuple[float, McpUnavailableError] | None = None
        self._told: set[str] = set()
        self.held: dict[str, LiveCall] = {}

    async def listing(self, since: float | None = None) -> Listing:
        """Return the server's tools.

        Args:
            since: The listing must have been asked for then or later; None takes one that is as good as new.

        Raises:
            McpUnavailableError: The server cannot be reached, or lists what is no tool.
        """
        while True:
            known = self._listing
            if known is not None and self._is_good(known, since):
                return known
            if self._refreshing is None or self._refreshing.done():
                self._refreshing = asyncio.create_task(self._refreshed())
            found = await _shared(self._refreshing)
            if since is None or found.at >= since:
                return found

    @property
    def secrets(self) -> tuple[str, ...]:
        """Values that the server was reached with."""
        return () if self._connection is None else self._connection.secrets

    async def close(self) -> None:
        """End what is under way, and the connection."""
        under_way = [each for each in (self._refreshing, self._starting) if each is not None and not each.done()]
        for each in under_way:
            each.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        for live in self.held.values():
            live.cancel()
        if self._connection is not None:
            await self._connection.close()

    def _is_good(self, known: Listing, since: float | None) -> bool:
        connection = known.connection
        if connection is not self._connection or not connection.alive or connection.changed.is_set():
            return False
        if since is not None:
            return known.at >= since
        return connection.tells_changes or time.monotonic() - known.at < LISTING_S

    async def _refreshed(self) -> Listing:
        connection = await self._connected()
        at = time.monotonic()
        self._listing = Listing(self._read(connection, await connection.tools()), at, connection)
        return self._listing

    async def _connected(self) -> Connection:
        if self._connection is not None and self._connection.alive:
            return self._connection
        if self._failed is not None and time.monotonic() - self._failed[0] < RESTART_PAUSE_S:
            raise self._failed[1]
        if self._starting is None or self._starting.done():
            self._starting = asyncio.create_task(self._started())
        return await _shared(self._starting)

    async def _started(self) -> Connection:
        # The SDK takes most of a second to load: heartbeats go on meanwhile.
        loaded = await asyncio.to_thread(import_module, "handfast.mcp.connection")
        if self._connection is not None:
            await self._connection.close()
            self._connection = None
        connection: Connection = loaded.Connection(self._server)
        try:
            await connection.start(await self._secrets(self._server))
        except McpUnavailableError as error:
            self._failed = (time.monotonic(), error)
            raise
        self._connection = connection
        return connection

    async def _call(
        self,
        connection: Connection,
        name: str,
        context: ToolContext[Any],
        arguments: JsonObject,
        asked: McpAsked | None = None,
        *,
        waits: StillWaits,
    ) -> object:
        from handfast.mcp.live_call import LiveCall  # noqa: PLC0415 - needs an optional extra
        from handfast.mcp.results import value_of  # noqa: PLC0415 - likewise

        async def told(progress: float, total: float | None, message: str | None) -> None:
            if math.isfinite(progress) and (total is None or math.isfinite(total)):
                context.progress(message or "", done=progress, total=total)

        key = context.idempotency_key
        live = self.held.pop(key, None) if asked is not None and asked.held else None
        if live is None:
            live = LiveCall()
            meta = {"handfast/idempotency-key": key}
            live.begin(connection.call(name, arguments, meta=meta, progress=live.told, asked=asked))
            if not connection.is_modern:
                connection.live_calls.add(live)
        elif asked is not None:
            live.answer(asked.answers[-1])
        live.heard = told
        answer = await live.next()
        if not isinstance(answer, McpAsked):
            return value_of(answer)
        if answer.held:
            self.held[key] = live
            live.hold(waits, lambda: self.held.pop(key, None))
        return answer

    def _read(self, connection: Connection, listed: Sequence[JsonObject]) -> dict[str, McpTool]:
        """Make tools of what a server lists. What cannot be one is left out, with a word in the log."""
        server = self._server
        for called, why in connection.left_out.items():
            self._warn(f"{called} is not offered: {why}")
        wanted = [each for each in listed if server.offers(str(each["name"]))]
        names = Counter(offered_name(server, str(each["name"])) for each in wanted)
        tools: dict[str, McpTool] = {}
        for each in wanted:
            name = str(each["name"])
            called = offered_name(server, name)
            if names[called] > 1:
                self._warn(f"{name} is not offered: {names[called]} tools of it are called {called}")
                continue
            try:
                tools[called] = made_tool(server, each, partial(self._call, connection, name))
            except ToolRefusedError as error:
                self._warn(f"{name} is not offered: {error}")
        for tool in readable(server, connection):
            if tools.setdefault(tool.name, tool) is not tool:
                self._warn(f"{tool.listed} is not offered: a tool of it is called {tool.name}")
        for missing in sorted(set(server.tools or ()) - {str(each["name"]) for each in wanted}):
            self._warn(f"it has no tool {missing}, which tools=[…] names")
        return tools

    def _warn(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            logger.warning("the MCP server %s: %s", self._server.name, text)


class McpPool:
    """The servers of one worker, by name.

    Nothing is started before it is needed; `close` ends what was.
    """

    def __init__(self, servers: Mapping[str, McpServer], secrets: ResolveSecrets) -> None:
        """Take the servers, and what resolves their secrets."""
        self._pooled = {name: Pooled(server, secrets) for name, server in servers.items()}
        self._servers = servers
        self._asked: dict[object, float] = {}
        self._told: set[str] = set()

    async def offered(self, servers: Sequence[McpServer], taken: Collection[str]) -> dict[str, McpTool]:
        """Return what the model is offered of *servers*, by name; a name that is taken already is not offered again.

        Raises:
            McpUnavailableError: A server that is required cannot be reached.
        """
        listings = await asyncio.gather(*(self._listing_of(each) for each in servers))
        found: dict[str, McpTool] = {}
        for server, listing in zip(servers, listings, strict=True):
            for name, tool in ({} if listing is None else listing.tools).items():
                if name in taken or name in found:
                    self.warn(f"the MCP server {server.name}: {name} is not offered, as another tool has that name; "
                               "give the server prefix=…")  # fmt: skip
                else:
                    found[name] = tool
        return found

    async def tool(self, server: str, name: str, *, about: object = None) -> McpTool:
        """Return a tool as its server lists it now.

        Args:
            server: Name of the server.
            name: As the model calls it.
            about: What it is wanted for: its listing is asked for after this was named for the first time. None takes
                one that is as good as new.

        Raises:
            McpUnavailableError: The server cannot be reached.
            UnknownToolError: It lists no such tool.
        """
        pooled = self._pooled.get(server)
        if pooled is None:
            raise McpUnavailableError(server, "is not known to this worker")
        since = None if about is None else self._asked.setdefault(about, time.monotonic())
        while len(self._asked) > MOST_ASKED:
            del self._asked[next(iter(self._asked))]
        listing = await pooled.listing(since)
        self._asked.pop(about, None)
        tool = listing.tools.get(name)
        if tool is None:
            raise UnknownToolError(name, sorted(listing.tools))
        return tool

    def secrets_of(self, server: str) -> tuple[str, ...]:
        """Return the values that a server was reached with, which nothing that it says may tell on."""
        return self._pooled[server].secrets if server in self._pooled else ()

    def holds(self, server: str, key: str) -> bool:
        """Return whether the server of a call waits for an answer in a session of this worker.

        Args:
            server: Name of the server.
            key: Idempotency key of the call.
        """
        return server in self._pooled and key in self._pooled[server].held

    def warn(self, text: str) -> None:
        """Log a warning, once."""
        if text not in self._told:
            self._told.add(text)
            logger.warning("%s", text)

    async def close(self) -> None:
        """End every connection."""
        await asyncio.gather(*(each.close() for each in self._pooled.values()))

    async def _listing_of(self, server: McpServer) -> Listing | None:
        try:
            return await self._pooled[server.name].listing()
        except McpUnavailableError as error:
            if server.required:
                raise
            self.warn(f"{error}; its tools are not offered meanwhile")
            return None


async def _shared(task: asyncio.Task[SharedT]) -> SharedT:
    """Await a task that others await too: whoever is cancelled leaves it to them."""
    task.add_done_callback(_heard)
    return await asyncio.shield(task)


def _heard(task: asyncio.Task[Any]) -> None:
    """Take notice of how a task ended that nobody may await any more."""
    if not task.cancelled():
        task.exception()
