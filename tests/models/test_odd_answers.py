"""Answers that are framed otherwise than by the API: read where nothing is lost by it, else said in one sentence."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai import AsyncOpenAI

from handfast import ModelAnswer, ModelCallError, ModelRequest, ResponsesModel
from handfast.errors import DefinitionError
from handfast.models.port import ModelDelta
from handfast.testing import ResponsesServer, Verbatim

PART = {"type": "output_text", "text": "Fine.", "annotations": []}
MESSAGE = {"type": "message", "id": "m", "role": "assistant", "status": "completed", "content": [PART]}
USAGE = {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}
RESPONSE: dict[str, Any] = {"id": "r", "status": "completed", "output": [MESSAGE], "usage": USAGE}
ADDED = {"type": "response.output_item.added", "output_index": 0, "item": {**MESSAGE, "content": []}}
DELTA = {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "Fine."}
DONE = {"type": "response.output_item.done", "output_index": 0, "item": MESSAGE}
CLOSING = {"type": "response.completed", "response": RESPONSE}
END = "data: [DONE]\n\n"


def lines(*events: Any, media: str = "text/event-stream") -> Verbatim:
    """A stream of events, or of whatever text."""
    told = (each if isinstance(each, str) else f"data: {json.dumps(each)}\n\n" for each in events)
    return Verbatim("".join(told), headers={"content-type": media})


async def asked(step: Verbatim, *, stream: bool, told: list[ModelDelta] | None = None) -> ModelAnswer:
    """What a model entry reads of an answer."""
    seen = told if told is not None else []
    async with (
        ResponsesServer([step]) as server,
        AsyncOpenAI(base_url=server.base_url, api_key="test") as client,
    ):
        on_delta = seen.append if stream else None
        items = [{"role": "user", "content": "How is it?"}]
        request = ModelRequest(model="m", instructions="", items=items, on_delta=on_delta)
        return await ResponsesModel(client).answer(request)


WHOLE = json.dumps(CLOSING)
PRETTY = json.dumps(CLOSING, indent=1)
READ = {
    "carriage-returns": lines(f"data: {WHOLE}\r\n\r\n"),
    "byte-order-mark": lines("\ufeff", CLOSING),
    "no-space-after-data": lines(f"data:{WHOLE}\n\n"),
    "no-empty-line-at-the-end": lines(ADDED, f"data: {WHOLE}"),
    "no-line-end-at-all": lines(f"event: response.completed\ndata: {WHOLE}"),
    "data-over-several-lines": lines("".join(f"data: {each}\n" for each in PRETTY.split("\n")) + "\n"),
    "pings-and-comments": lines(": hello\n\n", 'event: ping\ndata: {"type": "ping"}\n\n', CLOSING),
    "closed-as-done": lines(ADDED, DONE, {"type": "response.done", "response": RESPONSE}),
    "ended-without-closing": lines(ADDED, DELTA, DONE, END),
    "media-type-in-capitals": lines(CLOSING, media="Text/Event-Stream; Charset=utf-8"),
    "media-type-of-anything": lines(CLOSING, media="application/octet-stream"),
    "media-type-of-json": lines(ADDED, CLOSING, media="application/json"),
}


@pytest.mark.parametrize("stream", [False, True], ids=["unasked", "asked"])
@pytest.mark.parametrize("name", READ)
async def test_a_stream_of_any_framing_is_read(name: str, stream: bool) -> None:
    """Also where no stream was asked for."""
    answer = await asked(READ[name], stream=stream)
    assert [item["content"][0]["text"] for item in answer.items] == ["Fine."]
    assert answer.usage.total_tokens == (0 if name == "ended-without-closing" else 5)


async def test_a_stream_of_another_media_type_is_told_too() -> None:
    """Whoever watches gets the words."""
    told: list[ModelDelta] = []
    await asked(lines(ADDED, DELTA, DONE, CLOSING, media="text/plain"), stream=True, told=told)
    assert "".join(each.text for each in told) == "Fine."


@pytest.mark.parametrize(
    "step",
    [
        pytest.param(lines(ADDED, DELTA, DONE), id="no-end"),
        pytest.param(lines(ADDED, DELTA, END), id="an-item-is-not-done"),
        pytest.param(lines(DONE, {**ADDED, "output_index": 1}, END), id="the-second-item-is-not-done"),
        pytest.param(lines(ADDED, 'data: {"type": "response.comp'), id="half-an-event"),
        pytest.param(lines(END), id="nothing-but-the-end"),
        pytest.param(lines(""), id="nothing"),
    ],
)
async def test_a_stream_that_may_lack_something_is_asked_for_again(step: Verbatim) -> None:
    """Nobody could tell what else was to come."""
    with pytest.raises(ModelCallError, match="broke off") as failed:
        await asked(step, stream=True)
    assert (failed.value.kind, failed.value.retryable) == ("ModelUnavailable", True)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("status", "said"),
    [
        pytest.param(404, "404 page not found", id="ollama-before-0.13.3"),
        pytest.param(404, '{"detail": "Not Found"}', id="fastapi"),
        pytest.param(404, "<html><body>nginx</body></html>", id="a-web-page"),
        pytest.param(405, '{"detail": "Method Not Allowed"}', id="another-method"),
    ],
)
async def test_a_server_without_the_api_is_named_so(status: int, said: str, stream: bool) -> None:
    """The remedy stands in the sentence."""
    with pytest.raises(ModelCallError, match="make its model entry of ChatCompletionsModel") as failed:
        await asked(Verbatim(said, status=status, headers={"content-type": "text/plain"}), stream=stream)
    assert failed.value.kind == "ModelRefused"


async def test_a_missing_model_is_no_missing_api() -> None:
    """What the server says of the model stands alone."""
    missing = Verbatim({"error": {"message": "model 'm' not found", "type": "not_found_error"}}, status=404)
    with pytest.raises(ModelCallError) as failed:
        await asked(missing, stream=False)
    assert failed.value.message == "the model answered 404: model 'm' not found"


@pytest.mark.parametrize("code", ["rate_limit_exceeded", "server_is_overloaded", 429, "503"])
async def test_a_busy_provider_is_busy_whatever_it_counts(code: object) -> None:
    """A failed response that says how many tokens it took is no broken reply, where its code is that of a bad hour."""
    failed_response = {**RESPONSE, "status": "failed", "output": [], "error": {"code": code, "message": "busy"}}
    with pytest.raises(ModelCallError) as failed:
        await asked(lines({"type": "response.failed", "response": failed_response}), stream=True)
    assert failed.value.kind in ("ModelBusy", "ModelUnavailable")
    assert failed.value.retryable


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"reasoning": "some"}, "reasoning must be 'keep' or 'drop', not 'some'"),
        ({"reasoning": None}, "reasoning must be 'keep' or 'drop', not None"),
        ({"max_tools": 0}, "max_tools must be"),
        ({"max_tools": "many"}, "max_tools must be"),
    ],
)
async def test_an_option_that_does_not_exist_is_named(options: dict[str, Any], words: str) -> None:
    """A wrong option of the entry says which values there are."""
    async with AsyncOpenAI(api_key="test") as client:
        with pytest.raises(DefinitionError, match=words):
            ResponsesModel(client, **options)
