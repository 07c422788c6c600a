"""MCP servers that cannot be reached."""

from __future__ import annotations

from handfast.payloads.errors import HandfastError


class McpUnavailableError(HandfastError):
    """An MCP server cannot be reached, or does not answer as the protocol says. The call was not made."""

    def __init__(self, server: str, problem: str) -> None:
        super().__init__(f"the MCP server {server} {problem}")
        self.server = server
        self.problem = problem
