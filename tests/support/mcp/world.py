"""The world behind an MCP server of a test: the server's process asks it what to list, and tells it of every call."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from handfast import McpServer
from handfast.payloads.json_profile import JsonObject

SERVER: Final = Path(__file__).with_name("server.py")
WAIT_S: Final = 30.0


def listed(name: str, *fields: str, description: str = "", **hints: bool) -> JsonObject:
    """A tool as an MCP server lists it, whose arguments are texts."""
    schema = {"type": "object", "properties": {each: {"type": "string"} for each in fields}, "required": list(fields)}
    definition: JsonObject = {"name": name, "description": description or f"{name} it", "inputSchema": schema}
    return {**definition, "annotations": hints} if hints else definition


def said(text: str, **more: Any) -> JsonObject:
    """A result with one text."""
    return {"content": [{"type": "text", "text": text}], **more}


class Called:
    """A call that has reached the server, which waits for what it is to answer.

    Attributes:
        tool: The server's own name of it.
        pid: Of the server's process.
        params: As they came: ``arguments``, ``inputResponses``, ``requestState``, ``_meta``.
        authorization: What came with it, by HTTP.
        ended: Set when the server's handler waits no more: it was cancelled, or its process is gone.
    """

    def __init__(self, told: JsonObject, writer: asyncio.StreamWriter) -> None:
        self.tool = str(told["params"]["name"])
        self.pid = int(told["pid"])
        self.params: JsonObject = told["params"]
        self.authorization: str | None = told["authorization"]
        self.ended = asyncio.Event()
        self._writer = writer

    def answer(self, result: JsonObject) -> None:
        """Let the server return *result*: one of a call, or ``input_required``."""
        self._say({"result": result})

    def progress(self, done: float, total: float | None = None, message: str | None = None) -> None:
        """Let the server report progress."""
        self._say({"progress": [done, total, message]})

    def elicit(self, message: str, schema: JsonObject) -> None:
        """Let a server of the older protocol ask the client in the middle of the call."""
        self._say({"elicit": {"message": message, "requestedSchema": schema}})

    def _say(self, order: JsonObject) -> None:
        self._writer.write(json.dumps(order).encode() + b"\n")


@dataclass(frozen=True)
class Served:
    """A server that is reached by HTTP."""

    process: asyncio.subprocess.Process
    port: int

    def http(self, name: str = "store", **options: Any) -> McpServer:
        """It, for an agent."""
        return McpServer.http(name, f"http://127.0.0.1:{self.port}/mcp", **options)


class World:
    """What a test and the processes of its MCP server share.

    Attributes:
        tools: What the server lists from now on.
        effects: Every call that has reached a server, as ``"tool arguments"``.
        listings: How often the tools were listed.
        answers: Answers a call at once; without it, or where it returns None, a test takes it from `called`.
        starts: Process ids of the servers that have been started.
    """

    def __init__(self, path: Path, tools: Sequence[JsonObject] = ()) -> None:
        self.path = path
        self.tools: list[Any] = list(tools)
        self.effects: list[str] = []
        self.listings = 0
        self.answers: Callable[[Called], JsonObject | None] | None = None
        self.starts: list[int] = []
        self._calls: asyncio.Queue[Called] = asyncio.Queue()
        self._ports: asyncio.Queue[int] = asyncio.Queue()
        self._under_way: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_unix_server(self._serve, path=str(self.path), limit=16_000_000)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._under_way:
            task.cancel()

    def stdio(self, name: str = "store", *arguments: str, **options: Any) -> McpServer:
        """The server, as a process of the worker's."""
        return McpServer.stdio(name, sys.executable, str(SERVER), str(self.path), *arguments, **options)

    @asynccontextmanager
    async def served(self, port: int = 0) -> AsyncIterator[Served]:
        """The server as a process of its own, reached by HTTP, at any free port or at *port*."""
        process = await asyncio.create_subprocess_exec(sys.executable, str(SERVER), str(self.path), "http", str(port))
        try:
            async with asyncio.timeout(WAIT_S):
                port = await self._ports.get()
            yield Served(process, port)
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()

    async def called(self) -> Called:
        """The next call that nothing has answered yet."""
        async with asyncio.timeout(WAIT_S):
            return await self._calls.get()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._under_way.add(task)
        try:
            with suppress(ConnectionError):
                await self._answered(reader, writer)
        finally:
            self._under_way.discard(task)
            writer.close()

    async def _answered(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        told = json.loads(await reader.readline())
        match told["what"]:
            case "start":
                self.starts.append(told["pid"])
                self._ports.put_nowait(told["port"])
                writer.write(b"{}\n")
            case "list":
                self.listings += 1
                writer.write(json.dumps({"tools": self.tools}).encode() + b"\n")
            case "call":
                call = Called(told, writer)
                self.effects.append(f"{call.tool} {' '.join(map(str, (call.params.get('arguments') or {}).values()))}")
                result = None if self.answers is None else self.answers(call)
                if result is not None:
                    call.answer(result)
                else:
                    self._calls.put_nowait(call)
                await reader.read()
                call.ended.set()
        await writer.drain()
