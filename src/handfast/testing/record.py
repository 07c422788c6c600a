"""Records each request that the server got: tests assert on that, and scripts choose by it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias

COMPLETIONS: Final = "/v1/chat/completions"
"""Path of the Chat Completions API."""
Json: TypeAlias = dict[str, Any]  # Any: foreign JSON, which tests index into without a cast at each step
State: TypeAlias = Literal["open", "answered", "failed", "refused", "dropped", "client_closed", "server_closed"]

_MODEL_ITEMS = frozenset(
    {
        *("compaction", "function_call", "reasoning", "custom_tool_call", "mcp_approval_request", "mcp_call"),
        *("mcp_list_tools", "web_search_call", "file_search_call", "code_interpreter_call", "image_generation_call"),
    }
)
_OUTPUT_ITEMS = frozenset({"function_call_output", "custom_tool_call_output"})


@dataclass(eq=False)
class RecordedRequest:
    """One request, as it came in and as it ended.

    Attributes:
        number: Position among all requests of this server, from 1.
        method: HTTP method.
        path: Path of the request, without its query string.
        headers: Header values by lower-case name.
        body: The decoded JSON object; empty where there was none or it could not be decoded.
        content: The body as it came: to compare requests byte by byte.
        query: The parameters of its query string.
        received_at: When the last byte of the body was read (UTC).
        items: The effective input: the items of the `previous_response_id` chain or of the conversation, then the new
            ones. A plain string counts as one user message. Messages of a chat are read as items. Empty until the
            request passed the checks.
        state: `open` until the request ends; then `answered` (a whole reply was sent), `failed` (a scripted
            `Fail`), `refused` (it broke a rule of the API, or the script had no step), `dropped` (a scripted
            `Drop`, or a `Hang` that ran out), `client_closed` (the client left first), or `server_closed`.
        status: HTTP status of the reply, where one was begun.
        reply: The response object or the error body; with `stream`, the response that the last event carries.
    """

    number: int
    method: str
    path: str
    headers: Mapping[str, str]
    body: Json
    received_at: datetime
    content: bytes = field(default=b"", repr=False)
    query: Mapping[str, str] = field(default_factory=dict)
    items: Sequence[Json] = ()
    state: State = "open"
    status: int | None = None
    reply: Json | None = field(default=None, repr=False)

    @property
    def model(self) -> str:
        """The model that was asked for."""
        return str(self.body.get("model", ""))

    @property
    def instructions(self) -> str:
        """The instructions, or an empty string; of a chat its first message, where that is the system's."""
        messages = self.body.get("messages")
        if self.path != COMPLETIONS or not isinstance(messages, list):
            return str(self.body.get("instructions") or "")
        head = messages[0] if messages and isinstance(messages[0], dict) else {}
        return text_of(head) if head.get("role") in ("system", "developer") else ""

    @property
    def first_user_text(self) -> str:
        """The text of the first user message of the effective input, or an empty string."""
        return next((text_of(item) for item in self.items if item.get("role") == "user"), "")

    @property
    def latest_text(self) -> str:
        """The texts of everything that came after the model's last turn, one a line."""
        latest: list[str] = []
        for item in reversed(self.items):
            if is_from_model(item):
                break
            latest.append(text_of(item))
        return "\n".join(reversed(latest))

    @property
    def text(self) -> str:
        """The texts of the whole effective input, one a line."""
        return "\n".join(text_of(item) for item in self.items)

    @property
    def turns(self) -> int:
        """Number of turns that the model had: unbroken groups of messages, calls and reasoning made by it."""
        groups = 0
        inside = False
        for item in self.items:
            groups += is_from_model(item) and not inside
            inside = is_from_model(item)
        return groups

    @property
    def tool_outputs(self) -> dict[str, str]:
        """The text of each tool output in the effective input, by call id."""
        return {str(item.get("call_id")): text_of(item) for item in self.items if item.get("type") in _OUTPUT_ITEMS}

    @property
    def tool_names(self) -> list[str]:
        """Names of the function tools and custom tools offered in this request."""
        tools = [tool for tool in self.body.get("tools") or () if tool.get("type") in ("function", "custom")]
        return [(tool.get(tool["type"]) or tool)["name"] for tool in tools]


@dataclass(frozen=True)
class Violation:
    """A request that broke a rule of the API, or for which the script had no step.

    Attributes:
        number: The request's position, from 1.
        status: HTTP status that was answered.
        message: The error's text, as the client got it.
        code: The error's code, such as `unknown_parameter`.
        param: The parameter at fault, such as `input[2].call_id`.
    """

    number: int
    status: int
    message: str
    code: str | None = None
    param: str | None = None


def is_from_model(item: Mapping[str, object]) -> bool:
    """Tell whether the model made *item*."""
    return item.get("role") == "assistant" or item.get("type") in _MODEL_ITEMS


def text_of(item: Mapping[str, object]) -> str:
    """Return the text in an item: of a message, a call's name and arguments, a tool's output, a summary."""
    if item.get("type") == "function_call":
        return f"{item.get('name')} {item.get('arguments')}"
    if item.get("type") == "custom_tool_call":
        return f"{item.get('name')} {item.get('input')}"
    return "\n".join(text for key in ("content", "output", "summary") for text in _texts(item.get(key)))


def _texts(content: object) -> Iterator[str]:
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        for part in content:
            if isinstance(part, dict):
                yield from (part[key] for key in ("text", "refusal") if isinstance(part.get(key), str))
