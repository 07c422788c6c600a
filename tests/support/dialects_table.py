"""Writes the tables of servers in docs/models.md: what each can, as the scripted server of that dialect answers it.
`make dialects` runs it.

A capability is tried through a model entry, over HTTP: what the table says is what an agent would meet.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import openai

from handfast import AnyLLMModel, ChatCompletionsModel, ModelAnswer, ModelCallError, ModelRequest, ResponsesModel
from handfast.models.port import Background, CompactingPort, HistoryPort, ModelPort
from handfast.payloads.json_profile import JsonObject
from handfast.testing import Compacted, Reply, ResponsesServer, call, custom_call, reasoning, text
from handfast.testing.chat.dialects import CHAT_DIALECTS
from handfast.testing.responses.dialects import DIALECTS
from handfast.testing.script import Step
from support.anthropic_server import AnthropicServer

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "models.md"
BLOCKS: Final = {
    name: re.compile(rf"(?<=<!-- {name} -->\n).*?(?=<!-- /{name} -->)", re.DOTALL)
    for name in ("servers", "chat-servers")
}
NAMES: Final[Mapping[str, str]] = {
    "openai": "OpenAI",
    "azure": "Azure OpenAI",
    "ollama": "Ollama",
    "vllm": "vLLM",
    "lmstudio": "LM Studio",
    "openrouter": "OpenRouter",
    "litellm": "LiteLLM's proxy, with Gemini behind it",
    "open-responses": "Open Responses",
}
CHAT_NAMES: Final[Mapping[str, str]] = {
    **{name: NAMES[name] for name in CHAT_DIALECTS},
    "openai": "OpenAI, DeepSeek",
    "claude": "Claude, by `AnyLLMModel`",
}
NO: Final = "no"
PIXEL: Final = "data:image/png;base64,iVBORw0KGgo="
SCHEMA: Final = {
    "type": "object",
    "properties": {"at": {"type": "string"}},
    "required": ["at"],
    "additionalProperties": False,
}
LOOK: Final = {"type": "function", "name": "look", "description": "Look.", "parameters": SCHEMA, "strict": True}
NOTE: Final = {"type": "custom", "name": "note", "description": "Write a line."}


@dataclass
class Server:
    """A server of one dialect, and the model entry that asks it."""

    fake: ResponsesServer | AnthropicServer
    port: ModelPort


def said(words: str, role: str = "user") -> JsonObject:
    """A message."""
    return {"type": "message", "role": role, "content": [{"type": "input_text", "text": words}]}


def asking(*items: JsonObject, **more: Any) -> ModelRequest:
    """A request."""
    return ModelRequest(model="m", instructions="Help.", items=items or (said("hello"),), **more)


def output_of(answer: ModelAnswer, kind: str) -> JsonObject:
    """What the call of a reply came to."""
    [made] = [item for item in answer.items if item["type"] == kind]
    return {"type": f"{kind}_output", "call_id": made["call_id"], "output": "fine"}


async def tools(server: Server) -> str:
    """Two turns with a call."""
    first = await server.port.answer(asking(tools=[LOOK]))
    again = asking(said("hello"), *first.items, output_of(first, "function_call"), tools=[LOOK])
    await server.port.answer(again)
    return "yes"


async def custom(server: Server) -> str:
    """Likewise, with a custom tool, whose input is free text."""
    first = await server.port.answer(asking(tools=[NOTE]))
    again = asking(said("hello"), *first.items, output_of(first, "custom_tool_call"), tools=[NOTE])
    await server.port.answer(again)
    return "yes"


async def thoughts(server: Server) -> str:
    """How the reasoning of a reply goes back with the call that it led to."""
    first = await server.port.answer(asking(tools=[LOOK]))
    again = asking(said("hello"), *first.items, output_of(first, "function_call"), tools=[LOOK])
    await server.port.answer(again)
    body = server.fake.requests[-1].body
    if "messages" in body:
        sent = json.dumps(body["messages"])
        return "signed" if '"signature"' in sent else "as text" if '"reasoning' in sent else NO
    [thought] = [item for item in body["input"] if item["type"] == "reasoning"] or [{}]
    if thought.get("content") and thought.get("encrypted_content"):
        return "both"
    return "as text" if thought.get("content") else "encrypted" if thought.get("encrypted_content") else NO


async def streamed(server: Server) -> str:
    """Words come while they are written."""
    pieces: list[str] = []
    await server.port.answer(asking(on_delta=lambda delta: pieces.append(delta.text)))
    return "yes" if "".join(pieces) else NO


async def counted(server: Server) -> str:
    """A streamed reply says what it has cost."""
    answer = await server.port.answer(asking(on_delta=lambda delta: None))
    return "yes" if answer.usage.total_tokens else NO


async def at_address(server: Server) -> str:
    """A picture that the provider fetches itself."""
    picture = {"type": "input_image", "image_url": "https://pictures.example/cat.png"}
    await server.port.answer(asking({"type": "message", "role": "user", "content": [picture]}))
    return "yes"


async def loosely_typed(server: Server) -> str:
    """An answer that is any JSON object."""
    await server.port.answer(asking(said("As JSON."), settings={"text": {"format": {"type": "json_object"}}}))
    return "yes"


async def typed(server: Server) -> str:
    """An answer of a type."""
    wanted = {"format": {"type": "json_schema", "name": "place", "schema": SCHEMA, "strict": True}}
    await server.port.answer(asking(settings={"text": wanted}))
    return "yes"


async def images(server: Server) -> str:
    """A picture in a message."""
    picture = {"type": "input_image", "image_url": PIXEL, "detail": "auto"}
    await server.port.answer(asking({"type": "message", "role": "user", "content": [picture]}))
    return "yes"


async def chain(server: Server) -> str:
    """A response that continues another one."""
    if not isinstance(server.port, HistoryPort):
        return NO
    first = await server.port.answer(asking(store=True))
    if not first.kept:
        return NO
    await server.port.answer(asking(said("more"), store=True, previous_response_id=first.response_id))
    return "yes"


async def conversation(server: Server) -> str:
    """A conversation at the provider."""
    if not isinstance(server.port, HistoryPort):
        return NO
    await server.port.answer(asking(store=True, conversation=await server.port.conversations.create()))
    return "yes"


async def background(server: Server) -> str:
    """A response that is made while nobody holds a connection."""

    async def remember(response: str | None) -> None:
        pass

    await server.port.answer(
        asking(background=Background(remember=remember, withdrawn=lambda: True, patience_s=30), store=True)
    )
    assert isinstance(server.fake, ResponsesServer)
    last = server.fake.requests[-1]
    return "yes" if last.method == "GET" else "at once"


async def compaction(server: Server) -> str:
    """The provider makes a conversation short."""
    if not isinstance(server.port, CompactingPort):
        return NO
    await server.port.compact(asking())
    return "yes"


DONE: Final = Reply(text('{"at": "fans"}'))
COLUMNS: Final[Mapping[str, tuple[Callable[[Server], Awaitable[str]], Sequence[Step]]]] = {
    "tools": (tools, [Reply(call("look", {"at": "fans"}, "c1")), DONE]),
    "custom tools": (custom, [Reply(custom_call("note", "a", "c1")), DONE]),
    "reasoning goes back": (thoughts, [Reply(reasoning("hm"), call("look", {"at": "fans"}, "c1")), DONE]),
    "streaming": (streamed, [DONE]),
    "typed answers": (typed, [DONE]),
    "images": (images, [DONE]),
    '`history="chain"`': (chain, [DONE, DONE]),
    '`history="conversation"`': (conversation, [DONE]),
    "`background`": (background, [DONE]),
    "`Compact` by the provider": (compaction, [Compacted()]),
}


CHAT_COLUMNS: Final[Mapping[str, tuple[Callable[[Server], Awaitable[str]], Sequence[Reply]]]] = {
    "tools": (tools, [Reply(call("look", {"at": "fans"}, "c1")), DONE]),
    "custom tools": (custom, [Reply(custom_call("note", "a", "c1")), DONE]),
    "reasoning goes back": (thoughts, [Reply(reasoning("hm"), call("look", {"at": "fans"}, "c1")), DONE]),
    "streaming": (streamed, [DONE]),
    "usage of a streamed reply": (counted, [DONE]),
    "typed answers": (typed, [DONE]),
    "any JSON object as answer": (loosely_typed, [DONE]),
    "images": (images, [DONE]),
    "images by their address": (at_address, [DONE]),
}


async def cell(fake: ResponsesServer | AnthropicServer, probe: Callable[[Server], Awaitable[str]], api: str) -> str:
    """Try one capability at one server."""
    async with fake, openai.AsyncOpenAI(base_url=fake.base_url, api_key="test") as client, AsyncExitStack() as stack:
        port: ModelPort = ResponsesModel(client) if api == "responses" else ChatCompletionsModel(client)
        if isinstance(fake, AnthropicServer):
            port = claude = AnyLLMModel("anthropic:claude-sonnet-5", api_key="test", api_base=fake.base_url)
            stack.push_async_callback(claude.close)
        try:
            return await probe(Server(fake, port))
        except ModelCallError as error:
            if error.kind not in ("ModelRefused", "HistoryLost"):
                raise
            return NO


def table(names: Mapping[str, str], rows: Mapping[str, Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = ["| can | " + " | ".join(names.values()) + " |", "|" + "---|" * (len(names) + 1)]
    lines += [f"| {title} | " + " | ".join(cells) + " |" for title, cells in rows.items()]
    return "\n".join(lines) + "\n"


async def made() -> dict[str, str]:
    """The tables by name, as the servers answer now."""
    assert NAMES.keys() == DIALECTS.keys()
    rows = {
        title: [await cell(ResponsesServer(steps, dialect=name), probe, "responses") for name in NAMES]
        for title, (probe, steps) in COLUMNS.items()
    }
    chat_rows = {
        title: [
            await cell(
                AnthropicServer(steps) if name == "claude" else ResponsesServer(steps, dialect=name), probe, "chat"
            )
            for name in CHAT_NAMES
        ]
        for title, (probe, steps) in CHAT_COLUMNS.items()
    }
    return {"servers": table(NAMES, rows), "chat-servers": table(CHAT_NAMES, chat_rows)}


def written() -> dict[str, str]:
    """The tables in the page."""
    page = PAGE.read_text()
    return {name: found.group() for name, block in BLOCKS.items() if (found := block.search(page)) is not None}


def main() -> int:
    """Write the tables into the page."""
    tables = asyncio.run(made())
    page = PAGE.read_text()
    for name, block in BLOCKS.items():
        found = block.search(page)
        assert found is not None
        page = page[: found.start()] + tables[name] + page[found.end() :]
    PAGE.write_text(page)
    sys.stdout.write("\n".join(tables.values()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
