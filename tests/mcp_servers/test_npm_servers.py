"""Servers that others wrote, over stdio and HTTP: server-everything and server-filesystem of npm."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from handfast import Agent, McpServer
from handfast.testing import Reply, call, text
from support.desk import outputs
from support.labs import MakeLab
from support.mcp.packages import everything_by_http, program

DONE = Reply(text("done"))


@asynccontextmanager
async def everything(way: str, **options: Any) -> AsyncIterator[McpServer]:
    """Server-everything, reached one way or the other."""
    if way == "stdio":
        yield McpServer.stdio("everything", program("mcp-server-everything"), **options)
        return
    async with everything_by_http() as url:
        yield McpServer.http("everything", url, **options)


@pytest.mark.parametrize("way", ["stdio", "http"])
async def test_everything_is_called(make_lab: MakeLab, way: str) -> None:
    """Texts, structure, images, resources and prompts arrive; what does more than read is asked about."""
    calls = [
        call("echo", {"message": "hello"}, "text"),
        call("get-structured-content", {"location": "Chicago"}, "structure"),
        call("get-tiny-image", {}, "image"),
        call("list_resources", {}, "resources"),
        call("read_resource", {"uri": "demo://resource/static/document/architecture.md"}, "resource"),
        call("get_prompt", {"name": "args-prompt", "arguments": {"city": "Gent"}}, "prompt"),
        call("toggle-simulated-logging", {}, "gated"),
    ]
    async with everything(way, resources=True, prompts=True) as server:
        agent = Agent("desk", model="m", mcp=[server])
        lab = await make_lab([agent], script=[Reply(*calls), DONE])
        run = await lab.start("desk")
        request = await lab.next_request(run)
        assert (request.tool, request.facts) != (None, None)
        await run.reject(request, decided_by="lead", reason="no")
        assert (await run.result()).output == "done"
    read = dict(outputs(lab))
    assert read["text"] == "Echo: hello"
    assert json.loads(read["structure"])["conditions"] == "Light rain / drizzle"
    assert [part["type"] for part in read["image"]] == ["input_text", "input_image", "input_text"]
    assert {each["name"] for each in json.loads(read["resources"])["resources"]} >= {"architecture.md"}
    assert read["resource"].startswith("# Everything Server")
    assert "Gent" in read["prompt"]
    assert (request.tool, read["gated"]) == ("toggle-simulated-logging", "no")


async def test_files_are_read_at_once_and_written_once_approved(make_lab: MakeLab, tmp_path: Path) -> None:
    """A folder is served: reading it asks nobody, writing waits for a person, and what is outside stays outside."""
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "plan").write_text("ship on Friday")
    (tmp_path / "secret").write_text("do not read")
    script = [
        Reply(
            call("read_text_file", {"path": str(folder / "plan")}, "read"),
            call("read_text_file", {"path": str(tmp_path / "secret")}, "outside"),
            call("write_file", {"path": str(folder / "plan"), "content": "ship on Monday"}, "write"),
        ),
        DONE,
    ]
    tools = ["read_text_file", "write_file"]
    server = McpServer.stdio("files", program("mcp-server-filesystem"), str(folder), tools=tools)
    lab = await make_lab([Agent("desk", model="m", mcp=[server])], script=script)
    run = await lab.start("desk")
    request = await lab.next_request(run)
    assert (request.tool, (folder / "plan").read_text()) == ("write_file", "ship on Friday")
    await run.approve(request, decided_by="lead")
    assert (await run.result()).output == "done"
    assert (folder / "plan").read_text() == "ship on Monday"
    read = dict(outputs(lab))
    assert "ship on Friday" in str(read["read"])
    assert "Access denied" in str(read["outside"])


@pytest.mark.parametrize("way", ["stdio", "http"])
async def test_everything_asks(make_lab: MakeLab, way: str) -> None:
    """Its form waits for a person like any question, and the answer reaches it in the session that asked."""
    async with everything(way, approval=False) as server:
        agent = Agent("desk", model="m", mcp=[server])
        lab = await make_lab([agent], script=[Reply(call("trigger-elicitation-request", {}, "c1")), DONE])
        run = await lab.start("desk")
        request = await lab.next_request(run)
        assert request.facts is not None
        assert request.facts["question"] == "Please provide inputs for the following fields:"
        await run.answer(request, {"name": "Ana", "check": True}, decided_by="ana")
        assert (await run.result()).output == "done"
    [(_, output)] = outputs(lab)
    assert "Ana" in str(output)
