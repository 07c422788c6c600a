"""Resources and prompts of an MCP server, as tools with which a model lists and reads them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from handfast.definitions.tools.mcp import McpServer
from handfast.mcp.tool import McpTool, made_tool
from handfast.payloads.json_profile import JsonObject

if TYPE_CHECKING:
    from handfast.mcp.connection import Connection

__all__ = ["readable"]

_READS: Final = {"readOnlyHint": True}
_PAGE: Final[JsonObject] = {
    "type": "object",
    "properties": {"cursor": {"type": "string", "description": "Of the page, as the page before it names the next."}},
    "additionalProperties": False,
}
_ONE: Final[JsonObject] = {
    "type": "object",
    "properties": {"uri": {"type": "string", "description": "Address of the resource."}},
    "required": ["uri"],
    "additionalProperties": False,
}
_PROMPT: Final[JsonObject] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "description": "Name of the prompt."},
        "arguments": {"type": "object", "additionalProperties": {"type": "string"}},
    },
    "required": ["name"],
    "additionalProperties": False,
}

Read = Callable[[JsonObject], Awaitable[object]]


def readable(server: McpServer, connection: Connection) -> Iterator[McpTool]:
    """Make the tools that `McpServer` offers for resources and prompts, as far as the server has some."""

    async def resources(arguments: JsonObject) -> object:
        return await connection.resources(arguments.get("cursor"))

    async def resource(arguments: JsonObject) -> object:
        return await connection.resource(arguments["uri"])

    async def prompts(arguments: JsonObject) -> object:
        return await connection.prompts(arguments.get("cursor"))

    async def prompt(arguments: JsonObject) -> object:
        return await connection.prompt(arguments["name"], arguments.get("arguments") or {})

    of = f"of the MCP server {server.name}"
    if server.resources and connection.has_resources:
        about = f"List resources {of}, and templates of their addresses."
        yield _tool(server, "list_resources", about, _PAGE, resources)
        yield _tool(server, "read_resource", f"Read a resource {of}.", _ONE, resource)
    if server.prompts and connection.has_prompts:
        yield _tool(server, "list_prompts", f"List prompts {of}, with the arguments that they take.", _PAGE, prompts)
        yield _tool(server, "get_prompt", f"Read a prompt {of}, filled in with arguments.", _PROMPT, prompt)


def _tool(server: McpServer, name: str, description: str, schema: JsonObject, read: Read) -> McpTool:
    async def call(_: Any, arguments: JsonObject, **__: object) -> object:
        return await read(arguments)

    return made_tool(
        server, {"name": name, "description": description, "inputSchema": schema, "annotations": _READS}, call
    )
