"""Items of the Responses API become messages of the Chat Completions API, and replies become items again."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st
from openai.types.chat import ChatCompletion

from handfast.models.chat.messages import messages_of, settings_of, tools_of
from handfast.models.chat.reply import REASONING, StreamedCompletion, read_completion
from handfast.models.port import ModelCallError, ModelDelta
from handfast.models.streaming import Event
from handfast.testing.chat.check import check_completion
from handfast.testing.chat.dialects import CHAT_DIALECTS
from handfast.testing.chat.thoughts import Thoughts

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)
IDS = st.uuids().map(lambda each: f"call_{each.hex}")
NAMES = st.from_regex(r"[a-z_]{1,12}", fullmatch=True)


def thought(text: str) -> dict[str, Any]:
    return {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": text}]}


def said(text: str) -> dict[str, Any]:
    content = [{"type": "output_text", "text": text, "annotations": []}]
    return {"type": "message", "role": "assistant", "status": "completed", "content": content}


def called(id: str, name: str = "look", arguments: str = "{}") -> dict[str, Any]:
    return {"type": "function_call", "call_id": id, "name": name, "arguments": arguments}


def answered(id: str, output: object = "fine") -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": id, "output": output}


def user(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": text}


CALLS = st.builds(called, IDS, NAMES, st.dictionaries(NAMES, st.integers() | TEXT, max_size=3).map(json.dumps))
REPLIES = st.tuples(
    st.lists(TEXT.map(thought), max_size=1), st.lists(TEXT.map(said), max_size=1), st.lists(CALLS, max_size=3)
).map(lambda parts: [item for part in parts for item in part])


def completion(message: dict[str, Any], **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
    return {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], **more}


@given(REPLIES.filter(bool))
def test_a_reply_that_goes_back_is_the_reply_that_came(reply: list[dict[str, Any]]) -> None:
    """The assistant message that the model is sent again reads as the items that it was made of."""
    [message] = messages_of(reply, reasoning="keep")
    assert read_completion(completion(message)).items == reply


MESSAGES = st.builds(
    lambda said, refused, thought, calls: {
        "role": "assistant",
        "content": said or (None if calls or refused else ""),
        **({"refusal": refused} if refused else {}),
        **thought,
        **({"tool_calls": calls} if calls else {}),
    },
    TEXT | st.none(),
    TEXT | st.none(),
    st.just({}) | st.builds(lambda field, text: {field: text}, st.sampled_from(REASONING), TEXT),
    st.lists(
        st.builds(
            lambda id, name, arguments: {
                "id": id,
                "type": "function",
                "function": {"name": name, "arguments": arguments},
            },
            IDS,
            NAMES,
            st.dictionaries(NAMES, TEXT, max_size=2).map(json.dumps),
        ),
        max_size=3,
    ),
).filter(lambda message: len(message) > 2 or message["content"])


@given(MESSAGES)
def test_a_message_that_came_is_the_message_that_goes_back(message: dict[str, Any]) -> None:
    """The other way round: a server is sent its own message again, with its reasoning in its own field."""
    assert messages_of(read_completion(completion(message)).items) == [message]


@given(REPLIES.filter(bool), st.data())
def test_a_stream_gives_the_reply_that_would_have_come_whole(reply: list[dict[str, Any]], data: st.DataObject) -> None:
    """However a stream cuts texts and arguments, its items are those of the whole reply, and its deltas their texts."""
    [message] = messages_of(reply, reasoning="keep")
    deltas: list[ModelDelta] = []
    streamed = StreamedCompletion(deltas.append)
    for chunk in chunks(message, data):
        streamed.take(Event(json.dumps({"choices": [{"index": 0, "delta": chunk}]}).encode()))
    streamed.take(Event(b'{"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}'))
    streamed.take(Event(b'{"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}}'))
    answer = streamed.answer()
    assert answer.items == reply
    assert (answer.usage.input_tokens, answer.usage.output_tokens, answer.usage.total_tokens) == (3, 4, 7)
    for place, item in enumerate(reply):
        written = "".join(each.text for each in deltas if each.item == place)
        assert written == (item["arguments"] if item["type"] == "function_call" else item["content"][0]["text"])


def chunks(message: dict[str, Any], data: st.DataObject) -> list[dict[str, Any]]:
    """A message in pieces, as a server sends them: thoughts, words, then calls."""
    found: list[dict[str, Any]] = []
    for name in ("reasoning_content", "content"):
        found += [{name: piece} for piece in pieces(message.get(name) or "", data)]
    for index, call in enumerate(message.get("tool_calls", [])):
        found.append({"tool_calls": [{**call, "index": index, "function": {"name": call["function"]["name"]}}]})
        for piece in pieces(call["function"]["arguments"], data):
            found.append({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    return found


def pieces(text: str, data: st.DataObject) -> list[str]:
    size = data.draw(st.integers(1, 8))
    return [text[start : start + size] for start in range(0, len(text), size)]


HISTORY = st.lists(
    st.one_of(
        TEXT.map(lambda text: [user(text)]),
        TEXT.map(lambda text: [{"type": "message", "role": "developer", "content": text}]),
        REPLIES.map(lambda reply: [*reply, *(answered(i["call_id"]) for i in reply if i["type"] == "function_call")]),
    ),
    max_size=6,
).map(lambda turns: [item for turn in turns for item in turn])


@given(HISTORY, st.data())
def test_every_conversation_is_a_valid_request(items: list[dict[str, Any]], data: st.DataObject) -> None:
    """The strict server accepts the messages, and each call is answered right behind the message that makes it."""
    messages = messages_of(items, instructions="Help.", short_ids=data.draw(st.booleans()))
    check_completion(
        {"model": "m", "messages": [without_thoughts(each) for each in messages]},
        Thoughts(None),
        CHAT_DIALECTS["openai"],
    )
    waiting: list[str] = []
    for message in messages:
        if message["role"] == "tool":
            waiting.remove(message["tool_call_id"])
            continue
        assert waiting == []
        waiting = [call["id"] for call in message.get("tool_calls", [])]
    assert waiting == []


def without_thoughts(message: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in message.items() if name != "reasoning_content"}


def test_thoughts_go_back_within_the_turn_they_belong_to() -> None:
    """By default a model reads its thoughts since the last message to it, as servers of thinking models want it."""
    items = [user("a"), thought("first"), called("1"), answered("1"), said("done")]
    items += [user("b"), thought("second"), called("2"), answered("2")]

    def thoughts(reasoning: Any) -> list[str]:
        messages = messages_of(items, reasoning=reasoning)
        return [each["reasoning_content"] for each in messages if "reasoning_content" in each]

    assert thoughts("turn") == ["second"]
    assert thoughts("keep") == ["first", "second"]
    assert thoughts("drop") == []


KEPT = [
    {"reasoning": "hm"},
    {"reasoning_details": [{"type": "reasoning.encrypted", "data": "abc", "index": 0}], "reasoning": "hm"},
    {"extra_content": {"anthropic": {"signature": "abc"}}, "reasoning_content": "hm"},
]


@pytest.mark.parametrize("message", KEPT, ids=lambda message: next(iter(message)))
def test_what_a_provider_wants_back_goes_back_as_it_came(message: dict[str, Any]) -> None:
    """Reasoning goes back in the field that it came in; parts of it that are signed or encrypted go back alone."""
    call = {"id": "1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    items = read_completion(completion({**message, "tool_calls": [{**call, "extra_content": {"google": "xyz"}}]})).items
    [back] = messages_of(items)
    if "reasoning_details" in message:
        message = {name: value for name, value in message.items() if name != "reasoning"}
    assert back == {
        "role": "assistant",
        "content": None,
        **message,
        "tool_calls": [{**call, "extra_content": {"google": "xyz"}}],
    }


def test_pieces_of_signed_reasoning_become_one_part_again() -> None:
    """A stream cuts a part in pieces, which share its index."""
    streamed = StreamedCompletion(lambda _: None)
    for piece in ({"text": "h"}, {"text": "m"}, {"text": None, "signature": "abc"}):
        part = {"type": "reasoning.text", "index": 0, **piece}
        streamed.take(Event(json.dumps({"choices": [{"delta": {"reasoning_details": [part]}}]}).encode()))
    streamed.take(Event(b"[DONE]"))
    [item] = streamed.answer().items
    [whole] = item["provider_fields"]["reasoning_details"]
    assert whole == {"type": "reasoning.text", "index": 0, "text": "hm", "signature": "abc"}


def test_a_signature_that_comes_late_seals_the_thought_before() -> None:
    """What a server sends behind the first words belongs to what the model thought before them."""
    streamed = StreamedCompletion(lambda _: None)
    unsigned = {"type": "thinking", "thinking": "hm", "signature": None}
    for delta in (
        {"reasoning_content": "hm", "thinking_blocks": [unsigned]},
        {"content": "so"},
        {"thinking_blocks": [{"type": "thinking", "thinking": "", "signature": "abc"}], "extra_content": {"a": 1}},
    ):
        streamed.take(Event(json.dumps({"choices": [{"delta": delta}]}).encode()))
    streamed.take(Event(b"[DONE]"))
    thought, _ = streamed.answer().items
    assert thought["provider_fields"]["thinking_blocks"] == [{**unsigned, "signature": "abc"}]
    [message] = messages_of(streamed.answer().items)
    assert (message["content"], message["extra_content"]) == ("so", {"a": 1})


@pytest.mark.parametrize("role", ["system", "developer"])
def test_instructions_have_one_role(role: str) -> None:
    """A server that knows one of the two roles may refuse the other: all instructions have the entry's."""
    items = [user("a"), *({"type": "message", "role": each, "content": "b"} for each in ("system", "developer"))]
    messages = messages_of(items, instructions="Help.", role=role)
    assert [each["role"] for each in messages] == [role, "user", role, role]


def test_an_image_that_a_tool_returned_follows_its_text() -> None:
    """A tool message holds text alone: images come in a user message behind all outputs of the reply."""
    image = {"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "high"}
    items = [called("1"), called("2"), answered("1", [{"type": "input_text", "text": "see"}, image]), answered("2")]
    assistant, first, second, shown = messages_of(items)
    assert [call["id"] for call in assistant["tool_calls"]] == ["1", "2"]
    assert (first["content"], second["content"]) == ("see", "fine")
    assert shown["role"] == "user"
    assert shown["content"][1]["image_url"] == {"url": "data:image/png;base64,AA==", "detail": "high"}


@pytest.mark.parametrize(
    ("item", "named"),
    [
        pytest.param({"type": "web_search_call", "id": "ws_1"}, "web_search_call", id="hosted-call"),
        pytest.param({"type": "compaction", "encrypted_content": "x"}, "compaction", id="compaction"),
        pytest.param({"type": "item_reference", "id": "msg_1"}, "item_reference", id="reference"),
        pytest.param(
            {"type": "message", "role": "user", "content": [{"type": "input_image", "file_id": "f"}]},
            "image by file id",
            id="image-file",
        ),
    ],
)
def test_what_the_api_has_no_words_for_is_refused(item: dict[str, Any], named: str) -> None:
    """One sentence names what cannot be sent, and the model entry that can."""
    with pytest.raises(ModelCallError, match=named) as caught:
        messages_of([user("a"), item])
    assert "ResponsesModel" in caught.value.message
    assert not caught.value.retryable


def test_settings_are_translated() -> None:
    """An agent's settings keep their words, whatever the API."""
    schema = {"type": "object", "properties": {}}
    settings = {
        "max_output_tokens": 10,
        "temperature": 0.5,
        "reasoning": {"effort": "low"},
        "text": {"format": {"type": "json_schema", "name": "r", "schema": schema, "strict": True}, "verbosity": "low"},
        "tool_choice": {"type": "function", "name": "look"},
        "parallel_tool_calls": False,
        "seed": 3,
    }
    body = settings_of(settings, max_tokens="max_tokens", tools=True)
    assert body == {
        "max_tokens": 10,
        "temperature": 0.5,
        "reasoning_effort": "low",
        "response_format": {"type": "json_schema", "json_schema": {"name": "r", "schema": schema, "strict": True}},
        "verbosity": "low",
        "tool_choice": {"type": "function", "function": {"name": "look"}},
        "parallel_tool_calls": False,
        "seed": 3,
    }
    assert "tool_choice" not in settings_of(settings, max_tokens="max_tokens", tools=False)


def test_tools_are_translated() -> None:
    """Functions and custom tools have their shapes; strict is left out where the server does not know it."""
    function = {"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}, "strict": True}
    grammar = {"type": "grammar", "syntax": "lark", "definition": "start: /a/"}
    custom = {"type": "custom", "name": "c", "description": "d", "format": grammar}
    assert tools_of([function, custom], strict=False) == [
        {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}},
        {
            "type": "custom",
            "custom": {
                "name": "c",
                "description": "d",
                "format": {"type": "grammar", "grammar": {"definition": "start: /a/", "syntax": "lark"}},
            },
        },
    ]
    with pytest.raises(ModelCallError, match="hosted tool 'web_search'"):
        tools_of([{"type": "web_search"}], strict=True)


ODD = [
    pytest.param({"content": None, "tool_calls": None}, [], id="nothing"),
    pytest.param({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, [said("ab")], id="parts"),
    pytest.param(
        {"content": "a", "reasoning": "hm"},
        [thought("hm") | {"provider_fields": {"field": "reasoning"}}, said("a")],
        id="the-other-field-of-reasoning",
    ),
    pytest.param(
        {
            "content": [
                {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
                {"type": "text", "text": "a"},
            ]
        },
        [thought("hm") | {"provider_fields": {"field": None}}, said("a")],
        id="reasoning-among-the-parts",
    ),
    pytest.param(
        {"tool_calls": [{"id": "1", "function": {"name": "look", "arguments": {"a": 1}}}]},
        [called("1", "look", '{"a": 1}')],
        id="arguments-as-an-object",
    ),
    pytest.param(
        {"tool_calls": [{"id": "1", "function": {"name": "look", "arguments": None}}]},
        [called("1", "look", "")],
        id="arguments-null",
    ),
]


@pytest.mark.parametrize(("message", "items"), ODD)
def test_what_servers_write_otherwise_is_read(message: dict[str, Any], items: list[dict[str, Any]]) -> None:
    """Nulls, parts, objects and other names are read as what they mean."""
    assert read_completion(completion(message)).items == items


def test_a_call_without_an_id_gets_one() -> None:
    """Two calls without ids are two calls."""
    calls = [{"function": {"name": "look", "arguments": "{}"}}] * 2
    first, second = read_completion(completion({"tool_calls": calls})).items
    assert first["call_id"].startswith("call_")
    assert first["call_id"] != second["call_id"]


def test_calls_that_share_an_index_are_told_apart_by_their_ids() -> None:
    """Some servers stream every call under index 0."""
    streamed = StreamedCompletion(lambda _: None)
    for id in ("1", "2"):
        call = {"index": 0, "id": id, "function": {"name": "look", "arguments": "{}"}}
        streamed.take(Event(json.dumps({"choices": [{"delta": {"tool_calls": [call]}}]}).encode()))
    streamed.take(Event(b"[DONE]"))
    assert [item["call_id"] for item in streamed.answer().items] == ["1", "2"]


def test_endings_and_refusals_are_told() -> None:
    """A reply that was cut off is incomplete, a refusal is a refusal, and an error inside a 200 is one."""
    cut = completion({"content": "a"})
    cut["choices"][0]["finish_reason"] = "length"
    assert read_completion(cut).incomplete == "max_output_tokens"
    [message] = read_completion(completion({"content": None, "refusal": "no"})).items
    assert message["content"] == [{"type": "refusal", "refusal": "no"}]
    with pytest.raises(ModelCallError, match="overloaded"):
        read_completion({"error": {"code": "rate_limit_exceeded", "message": "overloaded"}})
    with pytest.raises(ModelCallError, match="its model entry of ResponsesModel"):
        read_completion({"object": "response", "output": []})
    with pytest.raises(ModelCallError, match="no choice"):
        read_completion({"choices": []})


def test_the_clients_own_type_reads_like_ours() -> None:
    """A completion that the client's types accept is read without loss."""
    body = completion({"role": "assistant", "content": "a", "refusal": None})
    ChatCompletion.model_validate(body)
    assert read_completion(body).items == [said("a")]
