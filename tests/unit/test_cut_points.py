"""Where a conversation may be cut: nothing that the API wants together is torn apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, strategies as st

from handfast import Agent, Truncate
from handfast.activities.model.model_input import sent
from handfast.errors import DefinitionError
from handfast.payloads.conversation import (
    cut_points,
    start_of_compacted,
    start_of_items,
    start_of_tokens,
    start_of_turns,
    without_orphans,
)
from handfast.testing.responses.conversation import Store

Item = dict[str, Any]


def said(text: str, role: str = "user") -> Item:
    """A message."""
    part = "output_text" if role == "assistant" else "input_text"
    return {"type": "message", "role": role, "content": [{"type": part, "text": text}]}


CALLS: tuple[Callable[[str], tuple[Item, Item]], ...] = (
    lambda name: (
        {"type": "function_call", "id": f"fc_{name}", "call_id": name, "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": name, "output": "seen"},
    ),
    lambda name: (
        {"type": "custom_tool_call", "id": f"ctc_{name}", "call_id": name, "name": "q", "input": "all"},
        {"type": "custom_tool_call_output", "call_id": name, "output": "rows"},
    ),
    lambda name: (
        {"type": "mcp_approval_request", "id": f"mcpr_{name}", "server_label": "w", "name": "n", "arguments": "{}"},
        {"type": "mcp_approval_response", "approval_request_id": f"mcpr_{name}", "approve": True},
    ),
)
SEARCHED = {"type": "web_search_call", "status": "completed", "action": {"type": "search", "query": "q"}}


@st.composite
def conversations(draw: st.DrawFn) -> tuple[list[Item], Store]:
    """A conversation as it stands before a model call, and a store that knows which reasoning led to what."""
    store = Store()
    items: list[Item] = [said("go")]
    for turn in range(draw(st.integers(0, 6))):
        reply: list[Item] = []
        answers: list[Item] = []
        for part in range(draw(st.integers(0, 3))):
            name = f"{turn}_{part}"
            if draw(st.booleans()):
                thought = {"type": "reasoning", "id": f"rs_{name}", "summary": [], "encrypted_content": "x"}
                reply.append(thought)
            call, answer = draw(st.sampled_from(CALLS))(name)
            reply.append(call)
            answers.append(answer)
        if draw(st.booleans()):
            reply.append({**SEARCHED, "id": f"ws_{turn}"})
        if not reply or draw(st.booleans()):
            reply.append({**said("so", "assistant"), "id": f"msg_{turn}"})
        store.remember({"output": reply})
        items += [*reply, *answers]
        if not answers or draw(st.booleans()):
            items.append(said(f"and then, after {turn}?"))
    return items, store


def accepted(store: Store, items: Sequence[Item]) -> bool:
    """Whether the strict API takes the items; it raises where not."""
    return store.effective({"input": list(items)}) == list(items)


@given(conversations(), st.integers(1, 12), st.integers(1, 5), st.integers(1, 400))
def test_whatever_is_cut_off_the_rest_is_a_conversation(
    made: tuple[list[Item], Store], items_kept: int, turns: int, tokens: int
) -> None:
    """F6: at each position that may be cut at, and under each limit, the API takes what is left: no output without its
    call, no call without its output, and no reasoning without what it led to."""
    items, store = made
    assert accepted(store, items)
    assert cut_points(items)[0] == 0
    for place in cut_points(items):
        assert accepted(store, items[place:])
    rules = (
        Truncate(keep_items=items_kept),
        Truncate(keep_turns=turns),
        Truncate(keep_tokens=tokens),
        Truncate(keep_items=items_kept, keep_turns=turns, keep_tokens=tokens),
    )
    for rule in rules:
        left = sent(Agent("a", truncation=rule), [(str(place), [item]) for place, item in enumerate(items)])
        assert accepted(store, left.items)
        assert left.items == items[-len(left.items) :]
        assert left.items[-1] is items[-1]
        assert left.read_from == (None if len(left.items) == len(items) else str(len(items) - len(left.items)))


@given(conversations(), st.data())
def test_what_a_filter_leaves_keeps_reasoning_with_its_calls(
    made: tuple[list[Item], Store], data: st.DataObject
) -> None:
    """F7: whatever a handoff's filter takes out of a conversation, the API takes the rest: reasoning goes with the only
    call that it led to, stays where it led to others, and no call asks for reasoning that was taken out."""
    items, store = made
    kept = [items[0], *(item for item in items[1:] if data.draw(st.booleans()))]
    left = without_orphans(kept, items)
    assert accepted(store, left)
    answered = {each.get("call_id", each.get("approval_request_id")) for each in kept if "output" in each}
    calls = {each["call_id"] for each in kept if "call_id" in each and "output" not in each}
    assert {each["call_id"] for each in left if "call_id" in each} == answered & calls


CALL, ANSWER = CALLS[0]("c1")
OTHER, OTHERS = CALLS[0]("c2")
SO = said("so", "assistant")
LONG = [said("one"), CALL, ANSWER, said("wait"), OTHER, OTHERS, SO, said("now"), said("please")]


@pytest.mark.parametrize(
    ("turns", "start"),
    [pytest.param(0, 7, id="unread"), (1, 6), (2, 3), (3, 0), pytest.param(9, 0, id="more-than-there-are")],
)
def test_a_turn_is_a_reply_with_what_came_before_it(turns: int, start: int) -> None:
    """A turn begins with the messages before its reply and ends with the outputs of its calls; what the model has yet
    to read is no turn yet."""
    assert start_of_turns(LONG, turns) == start


def test_outputs_that_were_not_read_stay_with_their_calls() -> None:
    """With messages that came after them, too, and whatever the limit says."""
    unread = [*LONG[:6], said("one more thing")]
    assert start_of_turns(unread, 0) == 3
    assert start_of_items(unread, 1) == 3
    assert start_of_tokens(unread, 1) == 3


def test_an_approved_hosted_call_stays_with_its_approval() -> None:
    """What the provider ran after our yes refers to its own question."""
    asked, answered = CALLS[2]("m")
    ran = {"type": "mcp_call", "id": "mcp_1", "approval_request_id": asked["id"]}
    assert cut_points([said("go"), asked, answered, ran, said("on")]) == [0, 1, 4]


def test_nothing_before_the_last_compaction_is_needed() -> None:
    """The reply in which the provider compacted the conversation carries what came before it."""
    compacted = {"type": "compaction", "id": "cmp_1", "encrypted_content": "x"}
    items = [said("one"), CALL, ANSWER, compacted, said("so", "assistant"), said("two")]
    assert start_of_compacted(items) == 3
    assert start_of_compacted(LONG) == 0


@pytest.mark.parametrize(
    "options",
    [{}, {"keep_items": 0}, {"keep_turns": True}, {"keep_tokens": 1.5}, {"keep_items": 5, "keep_turns": -1}],
)
def test_a_limit_that_cannot_work_is_refused(options: dict[str, Any]) -> None:
    """When it is made, with the field's name."""
    with pytest.raises(DefinitionError, match="keep_"):
        Truncate(**options)


def test_an_agent_takes_a_truncation_alone() -> None:
    """Anything else is refused when the agent is defined."""
    with pytest.raises(DefinitionError, match="Truncate"):
        Agent("a", truncation=50)  # type: ignore[arg-type]  # what a user may well try
