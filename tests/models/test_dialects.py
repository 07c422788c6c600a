"""Servers that speak the Responses API in their own way: what each can, and what it says when it is busy."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from openai import AsyncOpenAI

from handfast import (
    Agent,
    Chain,
    ModelCallError,
    ModelRequest,
    ResponsesModel,
)
from handfast.errors import RunFailedError
from handfast.testing import Fail, Reply, ResponsesServer, call, text
from handfast.testing.responses.dialects import DIALECTS
from support import dialects_table
from support.labs import MakeLab
from support.twelve_lines import desk


@pytest.mark.parametrize("where", [None, "event", "response"], ids=["status", "event", "response"])
@pytest.mark.parametrize("name", DIALECTS)
async def test_a_busy_server_is_understood(name: str, where: Any) -> None:
    """Each server says in its own words that it is busy, by its status or inside a stream that had begun: the request
    can be made again."""
    busy = Fail(429, retry_after=2) if where is None else Fail(503, code="server_error", inside=where, retry_after=2)
    async with (
        ResponsesServer([busy], dialect=name) as server,
        AsyncOpenAI(base_url=server.base_url, api_key="test") as client,
    ):
        on_delta = None if where is None else lambda delta: None
        request = ModelRequest(model="m", instructions="", items=[{"role": "user", "content": "hi"}], on_delta=on_delta)
        with pytest.raises(ModelCallError) as failed:
            await ResponsesModel(client).answer(request)
    assert failed.value.kind == ("ModelBusy" if where is None else "ModelUnavailable")
    assert failed.value.retryable
    assert failed.value.retry_after == timedelta(seconds=2)


async def test_a_server_that_keeps_nothing_is_sent_everything(make_lab: MakeLab) -> None:
    """Where the server says that it kept no response, a chained run carries its whole conversation: nobody reads the
    end of one alone."""
    agent = Agent("desk", model="m", tools=desk.tools)
    script = [Reply(call("look", {"at": "fans"}, "c1")), Reply(text("done"))]
    lab = await make_lab([agent], script=script, dialect="ollama")
    assert (await (await lab.start("desk", "Look.", history="chain")).result()).output == "done"
    bodies = [request.body for request in lab.model.requests]
    assert [len(body["input"]) for body in bodies] == [1, 3]
    assert [body.get("previous_response_id") for body in bodies] == [None, None]


async def test_a_chain_that_the_server_takes_no_notice_of_ends_the_run(make_lab: MakeLab) -> None:
    """What was there before cannot be sent again: an answer that was given without it does not count."""
    lab = await make_lab([desk], script=[Reply(text("Who are you?"))], dialect="ollama")
    with pytest.raises(RunFailedError) as failed:
        await (await lab.start("desk", "Go on.", history=Chain("resp_1"))).result()
    assert failed.value.kind == "HistoryLost"
    assert failed.value.usage is not None
    assert failed.value.usage.requests == 1


async def test_the_tables_of_servers_are_up_to_date() -> None:
    """docs/models.md says what each server can by each API, as the servers here answer it."""
    assert dialects_table.written() == await dialects_table.made(), "run `make dialects`"
