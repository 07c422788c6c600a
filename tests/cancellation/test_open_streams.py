"""Scenario row K7: a cancel and the model's open stream."""

from __future__ import annotations

import asyncio
import time

import httpx2
import openai
import pytest

from handfast import Agent, InProcessDeltas
from handfast.errors import RunCancelledError
from handfast.models.port import ModelDelta, ModelRequest
from handfast.models.responses import ResponsesModel
from handfast.testing import Pause, Reply, ResponsesServer, text
from support.labs import MakeLab

LONG = "Seventeen words, so that the scripted server cuts them into a few pieces of text that follow each other."
OPEN = Pause("never", Reply(text(LONG)))


async def test_cancel_closes_the_open_stream(make_lab: MakeLab, cache: int) -> None:
    """K7: a cancel closes the model's stream within about a second; runs that are cancelled so do not keep the next
    one from its answer."""
    lab = await make_lab(
        [Agent("desk", model="m")],
        script=[OPEN, OPEN, Reply(text("done"))],
        deltas=InProcessDeltas(),
        max_cached_workflows=cache,
    )
    runs = [await lab.start("desk", stream=True) for _ in range(2)]
    await lab.model.wait_for_request(2)
    before = time.monotonic()
    for run in runs:
        assert await run.cancel("changed my mind")
    for number in (1, 2):
        await lab.model.wait_for_disconnect(number)
    assert time.monotonic() - before < 4
    for run in runs:
        with pytest.raises(RunCancelledError, match="changed my mind"):
            await run.result()
    last = await lab.start("desk", stream=True)
    assert (await last.result()).output == "done"
    assert len(lab.model.requests) == 3
    assert lab.model.violations == []


async def test_many_cancelled_streams_leave_the_pool_free() -> None:
    """K7: with two connections in all, twenty streams that were cancelled in the middle leave both to the next call."""
    limits = httpx2.Limits(max_connections=2, max_keepalive_connections=2)
    message = {"role": "user", "content": "go"}
    cancelled = 20
    async with (
        ResponsesServer([*[OPEN] * cancelled, Reply(text("done"))]) as server,
        openai.AsyncOpenAI(
            base_url=server.base_url,
            api_key="test",
            http_client=httpx2.AsyncClient(limits=limits, timeout=httpx2.Timeout(10.0)),
        ) as client,
    ):
        model = ResponsesModel(client)
        for number in range(1, cancelled + 1):
            began = asyncio.Event()

            def wrote(_: ModelDelta, began: asyncio.Event = began) -> None:
                began.set()

            request = ModelRequest(model="m", instructions="", items=[message], on_delta=wrote)
            asking = asyncio.create_task(model.answer(request))
            async with asyncio.timeout(10):
                await began.wait()
            asking.cancel()
            await server.wait_for_disconnect(number, timeout=10)
        request = ModelRequest(model="m", instructions="", items=[message], on_delta=lambda _: None)
        assert (await model.answer(request)).items[0]["type"] == "message"
