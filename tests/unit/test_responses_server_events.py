"""The scripted model's streams against the events of the installed `openai` package: each event that the client knows
is sent by some reply, as its type says, so that a newer package tells what is missing here."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Final, get_args

import httpx2
import pytest
from openai import AsyncOpenAI
from openai.types.responses import ResponseStreamEvent

from handfast.testing import (
    Fail,
    Pause,
    Reply,
    ResponsesServer,
    call,
    code_interpreter_item,
    compaction,
    custom_call,
    file_search_item,
    image_generation_item,
    mcp_call_item,
    mcp_tools_item,
    raw,
    reasoning,
    refusal,
    text,
    web_search_item,
)
from handfast.testing.script import Step

KNOWN: Final[Mapping[str, Any]] = {
    get_args(each.model_fields["type"].annotation)[0]: each for each in get_args(get_args(ResponseStreamEvent)[0])
}
"""The type of each event that the client knows."""
THOUGHT: Final = {
    "type": "reasoning",
    "id": "rs_1",
    "summary": [],
    "content": [{"type": "reasoning_text", "text": "The fans are fine, so it must be the disk."}],
}
CITED: Final = {
    "type": "message",
    "id": "msg_1",
    "role": "assistant",
    "status": "completed",
    "content": [
        {
            "type": "output_text",
            "text": "It rains.",
            "annotations": [
                {"type": "url_citation", "start_index": 0, "end_index": 9, "title": "Rain", "url": "https://a.example"},
                {"type": "file_citation", "file_id": "file-1", "filename": "rain.txt", "index": 3},
            ],
            "logprobs": [],
        }
    ],
}
SHELL: Final = {
    "type": "shell_call",
    "id": "sh_1",
    "call_id": "c1",
    "status": "completed",
    "action": {"commands": ["ls -l /var/log", "df"], "timeout_ms": None, "max_output_length": None},
    "environment": None,
}
PRINTED: Final = {
    "type": "shell_call_output",
    "id": "sho_1",
    "call_id": "c1",
    "status": "completed",
    "max_output_length": None,
    "output": [{"stdout": "a\nb\n", "stderr": "no c\n", "outcome": {"type": "exit", "exit_code": 0}}],
}
SPOKEN: Final = {
    "type": "message",
    "id": "msg_2",
    "role": "assistant",
    "status": "completed",
    "content": [{"type": "output_audio", "data": "UklGRg==", "transcript": "Hello there."}],
}
"""The client has events for speech, and no item that could hold it."""
BROKEN: Final = {
    "type": "mcp_call",
    "id": "mcp_1",
    "server_label": "wiki",
    "name": "ask",
    "arguments": "{}",
    "output": None,
    "error": {"type": "http_error", "code": 502, "message": "no"},
    "status": "failed",
}
UNLISTED: Final = {"type": "mcp_list_tools", "id": "mcpl_1", "server_label": "wiki", "tools": [], "error": "no"}
REPLIES: Final[Mapping[str, tuple[Step, Mapping[str, Any]]]] = {
    "words": (Reply(reasoning("why"), text("long words"), refusal("no"), call("run", {"x": 1})), {}),
    "thoughts": (Reply(raw(THOUGHT), raw(CITED), custom_call("write", "a poem")), {}),
    "searches": (Reply(web_search_item("rain"), file_search_item("contract"), text("x")), {}),
    "code": (Reply(code_interpreter_item("print(1)", "1\n"), text("x")), {}),
    "images": (
        Reply(image_generation_item("aGVsbG8="), text("x")),
        {"tools": [{"type": "image_generation", "partial_images": 2}]},
    ),
    "servers": (
        Reply(mcp_tools_item("wiki", ["ask"]), mcp_call_item("wiki", "ask", {"q": "why"}, "because"), text("x")),
        {},
    ),
    "broken-servers": (Reply(raw(UNLISTED), raw(BROKEN), text("x")), {}),
    "shell": (Reply(raw(SHELL), raw(PRINTED), text("x")), {}),
    "speech": (Reply(raw(SPOKEN)), {}),
    "compaction": (Reply(compaction(), text("x")), {}),
    "cut-off": (Reply(text("x"), status="incomplete"), {}),
    "failed": (Reply(status="failed"), {}),
    "error": (Fail(500, inside="event"), {}),
    "broken-off": (Pause("gate", Reply(text("long words " * 9)), error="server_error"), {}),
    "background": (Reply(text("x")), {"background": True}),
}


async def streamed(name: str) -> list[dict[str, Any]]:
    """The events of a reply, as they come over the wire."""
    step, changes = REPLIES[name]
    body = {"model": "m", "input": "hello", "stream": True, **changes}
    async with ResponsesServer([step]) as server, asyncio.timeout(30):
        server.open("gate")
        async with httpx2.AsyncClient(headers={"authorization": "Bearer test"}) as client:
            answer = await client.post(f"{server.base_url}/responses", json=body, timeout=30)
        assert server.violations == []
    lines = answer.text.split("\n")
    events = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
    assert [line.removeprefix("event: ") for line in lines if line.startswith("event: ")] == [
        event["type"] for event in events
    ]
    return events


@pytest.mark.parametrize("name", REPLIES)
async def test_every_event_is_of_its_type(name: str) -> None:
    """Each has the fields that the client's type has, and no others; they are numbered without a gap, errors too."""
    events = await streamed(name)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    for event in events:
        kind = KNOWN[event["type"]]
        if "output_audio" not in json.dumps(event):
            kind.model_validate(event, strict=True)
        required = {field for field, info in kind.model_fields.items() if info.is_required()}
        assert required <= event.keys() <= kind.model_fields.keys()


async def test_every_event_that_the_client_knows_is_sent() -> None:
    """A new version of the client with a new event fails here."""
    sent = {event["type"] for name in REPLIES for event in await streamed(name)}
    assert KNOWN.keys() - sent == set()


ORDER: Final[Mapping[str, tuple[str, list[str]]]] = {
    "code": ("code_interpreter_call", ["in_progress", "delta", "done", "interpreting", "completed"]),
    "images": ("image_generation_call", ["in_progress", "generating", "partial_image", "partial_image", "completed"]),
    "servers": ("mcp_call", ["in_progress", "delta", "done", "completed"]),
    "broken-servers": ("mcp", ["in_progress", "failed", "in_progress", "delta", "done", "failed"]),
    "searches": ("_search_call", ["in_progress", "searching", "completed"] * 2),
}


@pytest.mark.parametrize("name", ORDER)
async def test_the_providers_own_work_is_told_in_its_order(name: str) -> None:
    """Its states, with what it writes between them, inside the events of its item."""
    part, expected = ORDER[name]
    events = await streamed(name)
    assert [event["type"].rpartition(".")[2] for event in events if part in event["type"]] == expected
    for event in events:
        if part in event["type"]:
            item = next(each["item"] for each in events if each.get("output_index") == event["output_index"])
            assert event["item_id"] == item["id"]


@pytest.mark.parametrize("name", ["words", "thoughts", "searches", "code", "servers", "shell", "compaction"])
async def test_an_item_begins_empty_and_ends_whole(name: str) -> None:
    """What is told of an item adds up to it."""
    events = await streamed(name)
    begun = {event["output_index"]: event["item"] for event in events if event["type"].endswith("output_item.added")}
    done = {event["output_index"]: event["item"] for event in events if event["type"].endswith("output_item.done")}
    assert begun.keys() == done.keys()
    for place, item in done.items():
        written = "".join(
            str(event["delta"])
            for event in events
            if event["type"].endswith(".delta")
            and event.get("output_index") == place
            and "output_content" not in event["type"]
        )
        whole = [str(item.get(field) or "") for field in ("arguments", "input", "code")]
        whole += [str(part.get("text") or part.get("refusal") or "") for part in item.get("content") or ()]
        whole += [str(part["text"]) for part in item.get("summary") or ()]
        whole += [str(command) for command in (item.get("action") or {}).get("commands") or ()]
        assert written == "".join(whole)
        assert len(json.dumps(begun[place])) <= len(json.dumps(item)) + len('"in_progress"')


async def test_the_clients_own_stream_helper_reads_all_of_it() -> None:
    """`client.responses.stream` puts every kind of item together from its events."""
    replies = [step for name, (step, _) in REPLIES.items() if name != "speech"]
    steps = [step for step in replies if isinstance(step, Reply) and step.status == "completed"]
    async with (
        ResponsesServer(steps) as server,
        AsyncOpenAI(base_url=server.base_url, api_key="test", max_retries=0) as client,
    ):
        for _ in steps:
            async with client.responses.stream(model="m", input="x") as stream:
                final = await stream.get_final_response()
            reply = server.requests[-1].reply
            assert reply is not None
            assert [item.type for item in final.output] == [item["type"] for item in reply["output"]]
