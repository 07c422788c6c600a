"""An MCP server, by the SDK's own, whose tools are those of a `support.mcp.world`: started as ``server.py SOCKET``.

With ``http PORT`` it is reached by streamable HTTP, at a port that it tells the world.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from typing import Any

import mcp_types as types
from mcp.server import Server
from mcp.server.context import ServerRequestContext
from mcp.server.stdio import stdio_server

SOCKET = sys.argv[1]
OPTIONS = sys.argv[2:]


async def ask(told: dict[str, Any]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Tell the world something; what it answers is read from the stream."""
    reader, writer = await asyncio.open_unix_connection(SOCKET, limit=16_000_000)
    writer.write(json.dumps({"pid": os.getpid(), **told}).encode() + b"\n")
    return reader, writer


async def list_tools(_: ServerRequestContext[Any], __: types.PaginatedRequestParams | None) -> types.ListToolsResult:
    """List what the world has."""
    reader, writer = await ask({"what": "list"})
    tools = json.loads(await reader.readline())["tools"]
    writer.close()
    return types.ListToolsResult(tools=[types.Tool.model_validate(each) for each in tools])


async def call_tool(
    context: ServerRequestContext[Any], params: types.CallToolRequestParams
) -> types.CallToolResult | types.InputRequiredResult:
    """Tell the world of a call, and do what it says."""
    wire = params.model_dump(mode="json", by_alias=True, exclude_none=True)
    sent = None if context.request is None else context.request.headers.get("authorization")
    reader, writer = await ask({"what": "call", "params": wire, "authorization": sent})
    try:
        while True:
            order = json.loads(await reader.readline())
            if "progress" in order:
                await context.session.report_progress(*order["progress"])
            elif "elicit" in order:
                asked = order["elicit"]
                answer = await context.session.elicit_form(
                    asked["message"], asked["requestedSchema"], related_request_id=context.request_id
                )
                said = json.dumps(answer.model_dump(mode="json", exclude_none=True))
                return types.CallToolResult(content=[types.TextContent(text=said)])
            elif order["result"].get("resultType") == "input_required":
                return types.InputRequiredResult.model_validate(order["result"])
            else:
                return types.CallToolResult.model_validate(order["result"])
    finally:
        writer.close()


async def main() -> None:
    """Serve until the client goes."""
    listening = socket.create_server(("127.0.0.1", int(OPTIONS[1]) if "http" in OPTIONS else 0))
    _, writer = await ask({"what": "start", "port": listening.getsockname()[1]})
    writer.close()
    server: Server[Any] = Server("store", version="1", on_list_tools=list_tools, on_call_tool=call_tool)
    if "http" in OPTIONS:
        import uvicorn  # noqa: PLC0415 - the process that speaks over stdio starts sooner without it

        app = server.streamable_http_app()
        await uvicorn.Server(uvicorn.Config(app, log_level="warning")).serve(sockets=[listening])
        return
    listening.close()
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


asyncio.run(main())
