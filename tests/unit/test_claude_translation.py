"""Items of the Responses API become blocks of Anthropic's Messages API, and blocks become items again."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

from hypothesis import given, strategies as st

from handfast.models.claude.reply import StreamedMessage, read_message
from handfast.models.claude.request import body_of
from handfast.models.port import ModelDelta
from support.anthropic_server import AnthropicServer, message_events

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20)
SAID = TEXT.filter(str.strip)
IDS = st.uuids().map(lambda each: f"toolu_{each.hex}")
NAMES = st.from_regex(r"[a-z_]{1,12}", fullmatch=True)
INPUTS = st.dictionaries(NAMES, st.integers(-(2**53), 2**53) | st.booleans() | TEXT, max_size=3)

THOUGHTS = st.lists(
    st.builds(lambda t, s: {"type": "thinking", "thinking": t, "signature": s}, TEXT | st.just(""), TEXT)
    | st.builds(lambda data: {"type": "redacted_thinking", "data": data}, TEXT),
    max_size=2,
)
CALLS = st.lists(
    st.builds(lambda id, name, made: {"type": "tool_use", "id": id, "name": name, "input": made}, IDS, NAMES, INPUTS),
    max_size=3,
)
BLOCKS = st.tuples(
    THOUGHTS, st.lists(SAID.map(lambda text: {"type": "text", "text": text}), max_size=1), THOUGHTS, CALLS
).map(lambda parts: [block for part in parts for block in part])
USED = {"input_tokens": 3, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 0, "output_tokens": 4}


def message_of(blocks: list[dict[str, Any]]) -> dict[str, Any]:
    """A message as the API sends it."""
    stop = "tool_use" if any(block["type"] == "tool_use" for block in blocks) else "end_turn"
    about = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "stop_sequence": None}
    return {**about, "content": blocks, "stop_reason": stop, "usage": USED}


@given(BLOCKS.filter(bool))
def test_what_claude_says_goes_back_as_it_came(blocks: list[dict[str, Any]]) -> None:
    """Each thinking block goes back word for word, signed or encrypted, in the place where it stood."""
    items = read_message(message_of(blocks)).items
    [message] = body_of("claude-sonnet-5", "", items, [], {})["messages"]
    assert message == {"role": "assistant", "content": blocks}


@given(BLOCKS.filter(bool))
def test_a_stream_gives_the_reply_that_would_have_come_whole(blocks: list[dict[str, Any]]) -> None:
    """The events of a stream make the items of the whole reply, its usage, and deltas that are its texts."""
    whole = read_message(message_of(blocks))
    deltas: list[ModelDelta] = []
    streamed = StreamedMessage(deltas.append)
    for event in message_events(message_of(blocks)):
        streamed.take(json.loads(event.partition(b"data: ")[2]))
    assert streamed.done
    answer = streamed.answer()
    assert (answer.items, answer.usage, answer.response_id) == (whole.items, whole.usage, whole.response_id)
    assert (answer.usage.input_tokens, answer.usage.cached_input_tokens, answer.usage.output_tokens) == (8, 5, 4)
    told = {kind: "".join(each.text for each in deltas if each.kind == kind) for kind in ("text", "reasoning")}
    assert told["text"] == "".join(block["text"] for block in blocks if block["type"] == "text")
    assert told["reasoning"] == "".join(block.get("thinking", "") for block in blocks)


def answers(reply: list[dict[str, Any]], output: str) -> list[dict[str, Any]]:
    """A reply, and an output for each of its calls."""
    calls = [item["call_id"] for item in reply if item["type"] == "function_call"]
    return [*reply, *({"type": "function_call_output", "call_id": each, "output": output} for each in calls)]


FOREIGN = st.builds(
    lambda id, thought: [
        {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": thought}]},
        {"type": "function_call", "call_id": id, "name": "look", "arguments": "{}"},
    ],
    st.text("ab:._-/", min_size=1, max_size=12),
    TEXT,
)
"""Replies of another model, whose ids Claude would not take."""
HISTORY = st.lists(
    TEXT.map(lambda text: [{"type": "message", "role": "user", "content": text}])
    | TEXT.map(lambda text: [{"type": "message", "role": "developer", "content": text}])
    | st.builds(
        answers, BLOCKS.map(lambda blocks: read_message(message_of(blocks)).items) | FOREIGN, TEXT | st.just("")
    ),
    max_size=6,
).map(lambda turns: [{"type": "message", "role": "user", "content": "go"}, *(item for turn in turns for item in turn)])


@given(HISTORY)
def test_every_conversation_is_a_valid_request(items: list[dict[str, Any]]) -> None:
    """The strict server accepts it: roles in turn, no empty text, outputs first, and right behind their calls."""
    server = AnthropicServer([])
    messages = body_of("claude-sonnet-5", "Help.", items, [], {})["messages"]
    server.check_messages(messages)
    assert all(before["role"] != after["role"] for before, after in pairwise(messages))
