"""The scripted model compacts conversations as strictly as the API: what it made it takes back, and nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from openai import APIStatusError, AsyncOpenAI, BadRequestError
from openai.types.responses import Response

from handfast.testing import Compacted, Delay, Fail, Reply, ResponsesServer, compaction, text
from handfast.testing.script import Step, Usage

USER = {"role": "user", "content": "hello"}


@asynccontextmanager
async def connected(*steps: Step) -> AsyncIterator[tuple[ResponsesServer, AsyncOpenAI]]:
    async with (
        ResponsesServer(steps) as server,
        AsyncOpenAI(base_url=server.base_url, api_key="test", max_retries=0, timeout=30) as client,
    ):
        yield server, client


async def test_what_was_compacted_is_taken_back_as_it_came() -> None:
    """The user's messages, then one compaction item; both go into the next request verbatim."""
    async with connected(Compacted(usage=Usage(900, 30)), Reply(text("on"))) as (server, client):
        items: Any = [USER, {"role": "assistant", "content": "hi"}, {"role": "user", "content": "and?"}]
        made = await client.responses.compact(model="m", input=items, instructions="Be brief.")
        assert (made.object, made.usage.total_tokens) == ("response.compaction", 930)
        assert server.requests[0].reply is not None
        compacted = server.requests[0].reply["output"]
        assert [item["type"] for item in compacted] == ["message", "message", "compaction"]
        going_on: Any = [*compacted, {"role": "user", "content": "go on"}]
        answer = await client.responses.create(model="m", input=going_on, store=False)
        assert isinstance(answer, Response)
        assert answer.output_text == "on"
    assert server.violations == []


async def test_a_reply_may_hold_a_compaction() -> None:
    """Asked for by ``context_management``; what came before it may be left out."""
    async with connected(Reply(compaction(), text("so")), Reply(text("on"))) as (server, client):
        manage: Any = [{"type": "compaction", "compact_threshold": 1000}]
        answer = await client.responses.create(model="m", input="hi", context_management=manage, store=False)
        assert isinstance(answer, Response)
        rest: Any = [*(item.to_dict() for item in answer.output), USER]
        await client.responses.create(model="m", input=rest, store=False)
    assert server.violations == []


@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param({"input": "hi", "store": False}, "Unknown parameter: 'store'", id="parameter"),
        pytest.param(
            {"input": [{"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}]},
            "No tool output found",
            id="call-without-output",
        ),
        pytest.param({"input": []}, "must be provided", id="nothing"),
        pytest.param({"input": [{"type": "compaction", "encrypted_content": "x"}]}, "verified", id="anothers"),
        pytest.param({"input": [{"type": "compaction"}]}, "encrypted_content", id="empty"),
        pytest.param({"input": [{"type": "compaction_trigger"}, USER]}, "final", id="trigger"),
    ],
)
async def test_a_request_that_the_api_would_refuse_is_refused(body: dict[str, Any], message: str) -> None:
    """In the same words, and it takes no step."""
    async with connected(Compacted()) as (server, client):
        with pytest.raises(BadRequestError, match=message):
            await client.post("/responses/compact", cast_to=object, body={"model": "m", **body})
        await client.responses.compact(model="m", input="hi")
    assert len(server.violations) == 1


@pytest.mark.parametrize(
    "entry", [{}, {"type": "summary"}, {"type": "compaction", "compact_threshold": 10}, {"type": "compaction", "at": 1}]
)
async def test_a_malformed_setting_is_refused(entry: dict[str, Any]) -> None:
    """An unknown kind, an unknown field, a threshold below a thousand tokens."""
    async with connected(Reply(text("on"))) as (server, client):
        with pytest.raises(BadRequestError):
            await client.post(
                "/responses", cast_to=object, body={"model": "m", "input": "hi", "context_management": [entry]}
            )
    assert str(server.violations[0].param).startswith("context_management[0]")


async def test_a_script_says_what_answers_a_request_to_compact() -> None:
    """A reply does not, and a failure may; what was compacted answers no other request."""
    async with connected(Reply(text("on")), Fail(503), Delay(0, Compacted()), Compacted()) as (_, client):
        with pytest.raises(BadRequestError, match="needs a Compacted"):
            await client.responses.compact(model="m", input="hi")
        with pytest.raises(APIStatusError, match="overloaded"):
            await client.responses.compact(model="m", input="hi")
        await client.responses.compact(model="m", input="hi")
        with pytest.raises(BadRequestError, match="needs a Reply"):
            await client.responses.create(model="m", input="hi")
