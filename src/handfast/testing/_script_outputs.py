"""Outputs of a scripted model: messages, calls, reasoning, and what the provider ran itself."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal, TypeAlias

from pydantic import ConfigDict, Field

from handfast.testing.record import Json

_CLOSED = ConfigDict(extra="forbid", strict=True)


@dataclass(frozen=True)
class Text:
    """A message by the assistant. Made by `text`."""

    __pydantic_config__: ClassVar[ConfigDict] = _CLOSED
    text: str
    kind: Literal["text"] = "text"


@dataclass(frozen=True)
class Refusal:
    """A message in which the model declines. Made by `refusal`."""

    __pydantic_config__: ClassVar[ConfigDict] = _CLOSED
    text: str
    kind: Literal["refusal"] = "refusal"


@dataclass(frozen=True)
class Call:
    """A function call. Made by `call`."""

    __pydantic_config__: ClassVar[ConfigDict] = _CLOSED
    name: str
    arguments: Json | str = field(default_factory=dict)
    call_id: str | None = None
    kind: Literal["call"] = "call"

    @property
    def arguments_text(self) -> str:
        """The arguments as the model writes them: compact JSON, or the raw string of the script."""
        return _compact(self.arguments)


@dataclass(frozen=True)
class Reasoning:
    """A reasoning item. Made by `reasoning`."""

    __pydantic_config__: ClassVar[ConfigDict] = _CLOSED
    summary: str = ""
    encrypted: str | None = None
    kind: Literal["reasoning"] = "reasoning"


@dataclass(frozen=True)
class Compaction:
    """The conversation so far, as the provider keeps it. Made by `compaction`."""

    __pydantic_config__: ClassVar[ConfigDict] = _CLOSED
    encrypted: str | None = None
    kind: Literal["compaction"] = "compaction"


@dataclass(frozen=True)
class CustomCall:
    """A call of a custom tool: free text instead of JSON. Made by `custom_call`."""

    __pydantic_config__: ClassVar[ConfigDict] = _CLOSED
    name: str
    input: str = ""
    call_id: str | None = None
    kind: Literal["custom_call"] = "custom_call"


@dataclass(frozen=True)
class McpApproval:
    """The provider asks whether it may call a hosted MCP server. Made by `mcp_approval`."""

    __pydantic_config__: ClassVar[ConfigDict] = _CLOSED
    server_label: str
    name: str
    arguments: Json | str = field(default_factory=dict)
    id: str | None = None
    kind: Literal["mcp_approval"] = "mcp_approval"

    @property
    def arguments_text(self) -> str:
        """The arguments as the model writes them: compact JSON, or the raw string of the script."""
        return _compact(self.arguments)


@dataclass(frozen=True)
class Hosted:
    """A call that the provider ran itself; its id is made up if it has none. Made by `web_search_item` and others."""

    __pydantic_config__: ClassVar[ConfigDict] = _CLOSED
    item: Json
    kind: Literal["hosted"] = "hosted"


@dataclass(frozen=True)
class Raw:
    """An output item sent exactly as written. Made by `raw`."""

    __pydantic_config__: ClassVar[ConfigDict] = _CLOSED
    item: Json
    kind: Literal["raw"] = "raw"


Output: TypeAlias = Annotated[
    Text | Refusal | Call | CustomCall | McpApproval | Hosted | Reasoning | Compaction | Raw,
    Field(discriminator="kind"),
]


def text(text: str) -> Text:
    """Let the model say *text*."""
    return Text(text)


def refusal(text: str) -> Refusal:
    """Let the model decline with *text*."""
    return Refusal(text)


def call(name: str, arguments: Mapping[str, object] | str | None = None, call_id: str | None = None) -> Call:
    """Let the model call a function.

    Args:
        name: The function's name; need not be one that was offered.
        arguments: An object, or a string that is sent as it is (to script broken JSON).
        call_id: By default `call_<n>`, the first number that is free in the conversation: a retried request
            gets the same ids again.
    """
    return Call(name, arguments if isinstance(arguments, str) else dict(arguments or {}), call_id)


def custom_call(name: str, input: str = "", call_id: str | None = None) -> CustomCall:
    """Let the model call a custom tool.

    Args:
        name: The tool's name; need not be one that was offered.
        input: The free text.
        call_id: As for `call`.
    """
    return CustomCall(name, input, call_id)


def mcp_approval(
    server_label: str, name: str, arguments: Mapping[str, object] | str | None = None, id: str | None = None
) -> McpApproval:
    """Let the provider ask whether it may call a tool of a hosted MCP server.

    Args:
        server_label: The server.
        name: The server's tool.
        arguments: An object, or a string that is sent as it is.
        id: Of the request, which the answer names; made up where None.
    """
    return McpApproval(server_label, name, arguments if isinstance(arguments, str) else dict(arguments or {}), id)


def web_search_item(query: str) -> Hosted:
    """A web search that the provider made."""
    return Hosted({"type": "web_search_call", "status": "completed", "action": {"type": "search", "query": query}})


def file_search_item(*queries: str) -> Hosted:
    """A file search that the provider made."""
    return Hosted({"type": "file_search_call", "status": "completed", "queries": list(queries), "results": None})


def code_interpreter_item(code: str, logs: str | None = None) -> Hosted:
    """Code that the provider ran, and what it printed (None where that was not asked for)."""
    outputs = None if logs is None else [{"type": "logs", "logs": logs}]
    made = {"type": "code_interpreter_call", "status": "completed", "container_id": "cntr_1"}
    return Hosted({**made, "code": code, "outputs": outputs})


def image_generation_item(result: str) -> Hosted:
    """An image that the provider made, in base64."""
    return Hosted({"type": "image_generation_call", "status": "completed", "result": result})


def mcp_tools_item(server_label: str, names: Sequence[str]) -> Hosted:
    """The tools that a hosted MCP server told the provider of."""
    tools = [{"name": name, "input_schema": {"type": "object"}, "description": None} for name in names]
    return Hosted({"type": "mcp_list_tools", "server_label": server_label, "tools": tools})


def mcp_call_item(
    server_label: str, name: str, arguments: Mapping[str, object] | None = None, output: str | None = None
) -> Hosted:
    """A call of a hosted MCP server that the provider made."""
    made = {
        "type": "mcp_call",
        "server_label": server_label,
        "name": name,
        "arguments": _compact(dict(arguments or {})),
    }
    return Hosted({**made, "output": output, "error": None, "approval_request_id": None})


def reasoning(summary: str = "", encrypted: str | None = None) -> Reasoning:
    """Let the model think; the item must come back in front of what follows it.

    Args:
        summary: The summary's text; none where empty.
        encrypted: The encrypted content; made up where None, absent where empty.
    """
    return Reasoning(summary, encrypted)


def compaction(encrypted: str | None = None) -> Compaction:
    """Let the provider compact the conversation within a reply, as ``context_management`` asks it to.

    Args:
        encrypted: The encrypted content; made up where None.
    """
    return Compaction(encrypted)


def raw(item: Mapping[str, object]) -> Raw:
    """Put *item* into the output as it is, without a check: for malformed and for rare items."""
    return Raw(dict(item))


def _compact(arguments: Json | str) -> str:
    return arguments if isinstance(arguments, str) else json.dumps(arguments, separators=(",", ":"))
