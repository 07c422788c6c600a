"""A request that is refused for something that it can do without is made once more without it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from pydantic import BaseModel

from handfast import Agent, Compact, InProcessDeltas, ResponsesModel
from handfast.errors import RunFailedError
from handfast.models.omissions import omission_for, without
from handfast.models.provider_error import error_of
from handfast.payloads.events import ModelReplied
from handfast.testing import Compacted, Fail, Lab, Reply, Script, call, reasoning, text
from handfast.testing.script import RecordedRequest, Step, Usage
from support.labs import Effects, MakeLab
from support.model_outputs import desk

DONE = Reply(text("done"))
ENCRYPTED = "reasoning.encrypted_content"
WAYS: Mapping[str, tuple[bool, bool]] = {
    "whole": (False, False),
    "streamed": (False, True),
    "background": (True, False),
    "followed": (True, True),
}


def refusing(refused: Callable[[RecordedRequest], Fail | None], *steps: Step) -> Script:
    """A server that refuses some requests, and plays its steps for the others."""
    left = iter(steps)
    return Script.of(lambda request: refused(request) or next(left, DONE))


def if_included(fail: Fail) -> Callable[[RecordedRequest], Fail | None]:
    """Refuse who asks for encrypted reasoning."""
    return lambda request: fail if ENCRYPTED in (request.body.get("include") or ()) else None


async def replies(lab: Lab, run: Any) -> list[ModelReplied]:
    """The replies among the events of a run."""
    return [event async for event in run.events() if isinstance(event, ModelReplied)]


INCLUDE: Mapping[str, Fail] = {
    "openai": Fail(400, "Encrypted content is not supported with this model.", param="include"),
    "no-param": Fail(400, "Encrypted content is not supported with this model."),
    "index": Fail(400, "Invalid value", code="invalid_value", param="include[0]"),
    "unknown": Fail(400, "Unknown parameter: 'include'.", code="unknown_parameter", param="include"),
    "vllm": Fail(400, "1 validation error for ResponsesRequest\ninclude.0\n  Input should be one of 'a', 'b'"),
    "litellm": Fail(400, "litellm.UnsupportedParamsError: m does not support parameters: ['include'], for model=m."),
    "go": Fail(422, 'json: unknown field "include"'),
    "inside-a-200": Fail(400, "Encrypted content is not supported with this model.", inside="event"),
    "inside-a-response": Fail(400, "reasoning.encrypted_content: not supported", "invalid_prompt", inside="response"),
}


@pytest.mark.parametrize("name", INCLUDE)
async def test_a_model_that_does_not_reason_is_asked_without_encrypted_reasoning(
    make_lab: MakeLab, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The first refusal is learned: later runs of the worker do not ask for it, and each reply says so."""
    lab = await make_lab([Agent("desk", model="m")], script=refusing(if_included(INCLUDE[name])))
    with caplog.at_level(logging.WARNING, "handfast"):
        first = await lab.start("desk")
        assert (await first.result()).output == "done"
        second = await lab.start("desk")
        assert (await second.result()).output == "done"
    assert ["include" in request.body for request in lab.model.requests] == [True, False, False]
    for run in (first, second):
        [reply] = await replies(lab, run)
        assert reply.left_out in (["include"], [f"include.{ENCRYPTED}"])
    assert len([record for record in caplog.records if "it is left out" in record.getMessage()]) == 1


@pytest.mark.parametrize("way", WAYS)
async def test_it_is_learned_however_the_reply_comes(make_lab: MakeLab, way: str) -> None:
    """Whole or streamed, at once or in the background."""
    background, stream = WAYS[way]
    agent = Agent("desk", model="m", background=background)
    script = refusing(if_included(INCLUDE["openai"]))
    lab = await make_lab([agent], script=script, deltas=InProcessDeltas())
    assert (await (await lab.start("desk", stream=stream)).result()).output == "done"
    assert ["include" in request.body for request in lab.model.created] == [True, False]


async def test_another_model_of_the_entry_is_asked_for_it(make_lab: MakeLab) -> None:
    """One client serves models that reason and others: what one refuses is asked of the other."""
    agents = [Agent("plain", model="gpt-4.1"), Agent("deep", model="gpt-5.6")]

    def refused(request: RecordedRequest) -> Fail | None:
        return if_included(INCLUDE["openai"])(request) if request.model == "gpt-4.1" else None

    lab = await make_lab(agents, script=refusing(refused))
    for name in ("plain", "deep", "plain"):
        await (await lab.start(name)).result()
    asked = [(request.model, "include" in request.body) for request in lab.model.requests]
    assert asked == [("gpt-4.1", True), ("gpt-4.1", False), ("gpt-5.6", True), ("gpt-4.1", False)]


async def test_what_else_was_asked_for_stays(make_lab: MakeLab) -> None:
    """`include` is the user's too: only what the server refuses is left out of it."""
    agent = Agent("desk", model="m", model_settings={"include": ["file_search_call.results"]})
    lab = await make_lab([agent], script=refusing(if_included(INCLUDE["openai"])))
    await (await lab.start("desk")).result()
    assert [request.body["include"] for request in lab.model.requests] == [
        [ENCRYPTED, "file_search_call.results"],
        ["file_search_call.results"],
    ]


# --- parameters that a server does not know ---

UNKNOWN: Mapping[str, tuple[dict[str, Any], Fail, str]] = {
    "openai": (
        {"prompt_cache_key": "k"},
        Fail(400, "Unknown parameter: 'prompt_cache_key'.", "unknown_parameter", param="prompt_cache_key"),
        "prompt_cache_key",
    ),
    "of-a-model": (
        {"temperature": 0.2},
        Fail(400, "Unsupported parameter: 'temperature' is not supported with this model.", "unsupported_parameter"),
        "temperature",
    ),
    "nested": (
        {"reasoning": {"effort": "low", "summary": "auto"}},
        Fail(400, "Unsupported parameter: 'reasoning.effort'", "unsupported_parameter", param="reasoning.effort"),
        "reasoning.effort",
    ),
    "summary-of-an-unverified-organization": (
        {"reasoning": {"effort": "low", "summary": "auto"}},
        Fail(400, "Your organization must be verified to generate reasoning summaries.", "unsupported_value",
             param="reasoning.summary"),
        "reasoning.summary",
    ),
    "verbosity": (
        {"text": {"verbosity": "low"}},
        Fail(400, "Unknown parameter: 'text.verbosity'.", "unknown_parameter", param="text.verbosity"),
        "text.verbosity",
    ),
    "argument": (
        {"safety_identifier": "u"},
        Fail(400, "Unrecognized request argument supplied: safety_identifier"),
        "safety_identifier",
    ),
    "pydantic": (
        {"user": "u"},
        Fail(422, "Extra inputs are not permitted", "extra_forbidden", param="body.user"),
        "user",
    ),
    "litellm": (
        {"service_tier": "flex"},
        Fail(400, "litellm.UnsupportedParamsError: m does not support parameters: ['service_tier'], for model=m"),
        "service_tier",
    ),
    "inside-a-200": (
        {"metadata": {"a": "b"}},
        Fail(400, "Unknown parameter: 'metadata'.", "unknown_parameter", param="metadata", inside="event"),
        "metadata",
    ),
    "strict": (
        {},
        Fail(400, "Unknown parameter: 'tools[0].strict'.", "unknown_parameter", param="tools[0].strict"),
        "tools.strict",
    ),
    "store": ({}, Fail(400, "Unknown parameter: 'store'.", "unknown_parameter", param="store"), "store"),
}  # fmt: skip


def holds(body: Any, path: str) -> bool:
    """Whether a request holds a field."""
    head, _, rest = path.partition(".")
    if isinstance(body, list):
        return any(holds(each, path) for each in body)
    return isinstance(body, dict) and head in body and (not rest or holds(body[head], rest))


@pytest.mark.parametrize("name", UNKNOWN)
async def test_a_parameter_that_the_server_does_not_know_is_left_out(
    make_lab: MakeLab, effects: Effects, name: str
) -> None:
    """The request is made once more without it, it is recorded, and what stands beside it stays."""
    settings, fail, path = UNKNOWN[name]
    agent = Agent("desk", model="m", tools=desk(effects).tools, model_settings=settings)
    script = refusing(lambda request: fail if holds(request.body, path) else None)
    lab = await make_lab([agent], script=script)
    run = await lab.start("desk")
    assert (await run.result()).output == "done"
    first, second = (request.body for request in lab.model.requests)
    assert without(first, path) == second
    assert [reply.left_out for reply in await replies(lab, run)] == [[path]]


async def test_one_after_the_other_is_left_out(make_lab: MakeLab) -> None:
    """A server that names one thing at a time is asked until it has named them all; learned for the next run."""
    settings = {"prompt_cache_key": "k", "user": "u", "metadata": {"a": "b"}}

    def refused(request: RecordedRequest) -> Fail | None:
        named = next((name for name in (*settings, "include") if name in request.body), None)
        return None if named is None else Fail(400, f"Unknown parameter: '{named}'.", "unknown_parameter", param=named)

    lab = await make_lab([Agent("desk", model="m", model_settings=settings)], script=refusing(refused))
    assert (await (await lab.start("desk")).result()).output == "done"
    assert (await (await lab.start("desk")).result()).output == "done"
    assert len(lab.model.requests) == 6


@pytest.mark.parametrize(
    ("settings", "fail"),
    [
        pytest.param({"max_output_tokens": 99}, Fail(400, "Unknown parameter: 'max_output_tokens'.",
                     "unknown_parameter", param="max_output_tokens"), id="a-limit"),
        pytest.param({"tool_choice": "auto"}, Fail(400, "Unknown parameter: 'tool_choice'.",
                     "unknown_parameter", param="tool_choice"), id="a-choice"),
        pytest.param({"temperature": 9}, Fail(400, "Invalid 'temperature': too large", "decimal_above_max_value",
                     param="temperature"), id="a-wrong-value"),
        pytest.param({"reasoning": {"effort": "minimal"}}, Fail(400, "Unsupported value: 'minimal'",
                     "unsupported_value", param="reasoning.effort"), id="an-unsupported-value"),
        pytest.param({}, Fail(400, "Unknown parameter: 'mood'.", "unknown_parameter", param="mood"), id="not-there"),
        pytest.param({}, Fail(401, "Encrypted content is not supported"), id="no-key"),
        pytest.param({}, Fail(400, "Unknown parameter: 'tools[0].name'", "unknown_parameter", param="tools[0].name"),
                     id="what-a-tool-needs"),
    ],
)  # fmt: skip
async def test_what_a_request_cannot_do_without_is_refused_at_once(
    make_lab: MakeLab, effects: Effects, settings: dict[str, Any], fail: Fail
) -> None:
    """A limit, a choice or a wrong value is never left out: the run ends after one request."""
    agent = Agent("desk", model="m", tools=desk(effects).tools, model_settings=settings)
    lab = await make_lab([agent], script=Script.of(lambda request: fail))
    with pytest.raises(RunFailedError) as failed:
        await (await lab.start("desk")).result()
    assert (failed.value.kind, len(lab.model.requests)) == ("ModelRefused", 1)


async def test_a_server_that_refuses_whatever_it_is_sent_is_left_alone(make_lab: MakeLab) -> None:
    """There is an end to what can be left out."""
    settings: dict[str, Any] = {
        **dict.fromkeys(("user", "safety_identifier", "prompt_cache_key"), "x"),
        **dict.fromkeys(("top_p", "temperature", "top_logprobs"), 1),
    }
    settings |= {"metadata": {"a": "b"}, "parallel_tool_calls": True, "truncation": "auto"}

    def refused(request: RecordedRequest) -> Fail:
        named = next((name for name in (*settings, "include", "store") if name in request.body), "input")
        return Fail(400, f"Unknown parameter: '{named}'.", "unknown_parameter", param=named)

    lab = await make_lab([Agent("desk", model="m", model_settings=settings)], script=Script.of(refused))
    with pytest.raises(RunFailedError, match="'truncation'"):
        await (await lab.start("desk")).result()
    assert len(lab.model.requests) == 9


# --- reasoning that can no longer be read ---

UNREADABLE: Mapping[str, Fail] = {
    "openai": Fail(400, "The encrypted content gAAA...Rg== could not be verified.", "invalid_encrypted_content"),
    "azure": Fail(400, "The encrypted content gAAA...wXBV could not be verified."),
    "another-organization": Fail(400, "The encrypted content for item rs_1 could not be verified. Reason: Encrypted "
                                      "content item_id did not match the target item id."),
    "another-caller": Fail(400, "reasoning `encrypted_content` was not issued to this caller"),
    "not-stored": Fail(404, "Item with id 'rs_1' not found. Items are not persisted when `store` is set to false."),
    "pair": Fail(400, "Item 'fc_1' of type 'function_call' was provided without its required 'reasoning' item: 'x'."),
    "open-reasoning": Fail(400, "Invalid 'input[1].content': array too long. Expected an array with maximum length 0",
                           "array_above_max_length", param="input[1].content"),
    "anthropic": Fail(400, "messages.1.content.0: Invalid `signature` in `thinking` block"),
    "inside-a-200": Fail(400, "The encrypted content gAAA could not be verified.", "invalid_encrypted_content",
                         inside="event"),
}  # fmt: skip
OLD = "from before"


def with_old_thoughts(fail: Fail) -> Callable[[RecordedRequest], Fail | None]:
    """Refuse who sends the reasoning of an earlier key, organization or server."""
    return lambda request: fail if OLD in str(request.body["input"]) else None


@pytest.mark.parametrize("name", UNREADABLE)
@pytest.mark.parametrize("stream", [False, True])
async def test_reasoning_that_cannot_be_read_any_more_is_left_out(
    make_lab: MakeLab, effects: Effects, name: str, stream: bool
) -> None:
    """The run goes on without the old reasoning, keeps the new, and is not refused again in its next turns."""
    script = refusing(
        with_old_thoughts(UNREADABLE[name]),
        Reply(reasoning("new", "new"), call("note", {"line": "a"})),
        Reply(reasoning("newer", "newer"), call("note", {"line": "b"})),
    )
    lab = await make_lab([desk(effects)], script=script, deltas=InProcessDeltas())
    given: list[dict[str, Any]] = [
        {"role": "user", "content": "go"},
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": OLD},
        {"type": "function_call", "id": "fc_1", "call_id": "c0", "name": "note", "arguments": '{"line": "z"}'},
        {"type": "function_call_output", "call_id": "c0", "output": "noted z"},
    ]
    if name == "open-reasoning":
        given[1]["content"] = [{"type": "reasoning_text", "text": "hm"}]
    run = lab.watch(await lab.hf.start("desk", given, stream=stream))
    assert (await run.result()).output == "done"
    assert (sorted(effects), len(lab.model.requests)) == (["a", "b"], 4)
    thoughts = [
        [item["encrypted_content"] for item in request.body["input"] if item["type"] == "reasoning"]
        for request in lab.model.requests
        if (request.body["input"][0].setdefault("type", "message"))
    ]
    assert thoughts == [[OLD], [], ["new"], ["new", "newer"]]
    assert [reply.left_out for reply in await replies(lab, run)] == [["input.reasoning"]] * 3


async def test_a_conversation_is_compacted_without_what_cannot_be_read(make_lab: MakeLab, effects: Effects) -> None:
    """Compaction by the provider leaves it out as well."""

    def refused(request: RecordedRequest) -> Fail | None:
        compacts = request.path.endswith("/compact")
        return UNREADABLE["openai"] if compacts and OLD in str(request.body["input"]) else None

    agent = Agent("desk", model="m", tools=desk(effects).tools, compaction=Compact(at_tokens=1000, keep_turns=0))
    script = refusing(
        refused,
        Reply(reasoning("hm", OLD), call("note", {"line": "a"})),
        Reply(call("note", {"line": "b"}), usage=Usage(5000, 10)),
        Compacted(),
    )
    lab = await make_lab([agent], script=script)
    assert (await (await lab.start("desk")).result()).output == "done"
    paths = [request.path.removeprefix("/v1/") for request in lab.model.requests]
    assert paths == ["responses", "responses", "responses/compact", "responses/compact", "responses"]


async def test_a_foreign_id_is_left_out(make_lab: MakeLab, effects: Effects) -> None:
    """Items of another server have ids that this one does not take; they are known by what they say."""

    def refused(request: RecordedRequest) -> Fail | None:
        for place, item in enumerate(request.body["input"]):
            if str(item.get("id", "")).startswith("chatcmpl"):
                message = f"Invalid 'input[{place}].id': 'chatcmpl-1'. Expected an ID that begins with 'msg'."
                return Fail(400, message, "invalid_value", param=f"input[{place}].id")
        return None

    lab = await make_lab([Agent("desk", model="m")], script=refusing(refused), dialect="lmstudio")
    said = {
        "type": "message",
        "id": "chatcmpl-1",
        "role": "assistant",
        "content": [{"type": "output_text", "text": "hi"}],
    }
    run = lab.watch(await lab.hf.start("desk", [said, {"role": "user", "content": "go"}]))
    assert (await run.result()).output == "done"
    assert [reply.left_out for reply in await replies(lab, run)] == [["input.id"]]


# --- what a model entry says ---


async def test_an_entry_that_drops_reasoning_neither_asks_for_it_nor_sends_it(
    make_lab: MakeLab, effects: Effects
) -> None:
    """A server that cannot read reasoning back is declared so: nothing has to be refused."""
    models = {"default": lambda client: ResponsesModel(client, reasoning="drop")}
    script = [Reply(reasoning("hm"), call("note", {"line": "a"})), DONE]
    lab = await make_lab([desk(effects)], script=script, models=models)
    run = await lab.start("desk")
    assert (await run.result()).output == "done"
    assert [request.body.get("include") for request in lab.model.requests] == [None, None]
    kinds = [item.get("type", "message") for item in lab.model.requests[1].body["input"]]
    assert kinds == ["message", "function_call", "function_call_output"]
    assert [reply.left_out for reply in await replies(lab, run)] == [[], []]
    assert lab.model.violations == []


@pytest.mark.parametrize(("store", "said"), [pytest.param(None, None, id="silent"), (True, True), (False, False)])
async def test_an_entry_says_whether_responses_are_stored(make_lab: MakeLab, store: bool | None, said: Any) -> None:
    """What the run itself needs kept is kept in any case."""
    models = {"default": lambda client: ResponsesModel(client, store=store)}
    lab = await make_lab([Agent("desk", model="m")], script=[DONE, DONE], models=models)
    await (await lab.start("desk")).result()
    await (await lab.start("desk", history="chain")).result()
    assert [request.body.get("store") for request in lab.model.requests] == [said, True]


class Parcel(BaseModel):
    """Where a parcel is."""

    shipped: bool


async def test_an_entry_says_whether_schemas_are_strict(make_lab: MakeLab, effects: Effects) -> None:
    """A server without strict schemas gets the same schemas as ordinary ones."""
    agent = Agent("desk", model="m", tools=desk(effects).tools, output_type=Parcel)
    models = {"default": lambda client: ResponsesModel(client, strict=False)}
    lab = await make_lab([agent], script=[Reply(text('{"shipped": true}'))], models=models)
    await (await lab.start("desk")).result()
    [request] = lab.model.requests
    assert {tool.get("strict") for tool in request.body["tools"]} == {False}
    assert request.body["text"]["format"]["strict"] is False


def test_a_refusal_that_names_nothing_of_the_request_changes_nothing() -> None:
    """What is not understood is not guessed at."""
    body = {"model": "m", "input": [], "user": "u", "metadata": {}}
    for message in ("no", "Please include a valid key", "This model is not supported", "The user is not allowed to"):
        assert omission_for(error_of({"message": message}, status=400), body) is None
