"""Items of a conversation that belong together, and positions at which it may be cut. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any, Final

from handfast.payloads.base import json_size
from handfast.payloads.call_items import CUSTOM_CALL, FUNCTION_CALL, ID_FIELD
from handfast.payloads.json_profile import JsonObject

BYTES_PER_TOKEN: Final = 4
"""Bytes of JSON that are taken for one token where no provider has counted them."""

_OUTPUTS: Final = {
    "function_call_output": "call_id",
    "custom_tool_call_output": "call_id",
    "mcp_approval_response": "approval_request_id",
}
"""By kind of output the field with the id of the call that it answers."""
_WITHOUT_ID: Final = (FUNCTION_CALL, CUSTOM_CALL, "message")
"""Types of items that the model makes and the API takes without an id of their own."""
_GIVEN: Final = ("_output", "_response")
"""Ends of the types of items that answer the model; of the others, it makes all but messages."""


def is_from_model(item: Mapping[str, Any]) -> bool:
    """Tell items that the model made from others."""
    kind = str(item.get("type", "message"))
    return item.get("role") == "assistant" if kind == "message" else not kind.endswith(_GIVEN)


def without_orphans(items: Sequence[JsonObject], original: Sequence[JsonObject] | None = None) -> list[JsonObject]:
    """Leave out calls without output and outputs without call, and reasoning that leads to nothing: the API refuses
    them.

    Where one of several items that followed on the same reasoning is left, the reasoning stays with it; where the
    reasoning is gone, a call or message stays alone. It then loses its id, by which the API would miss the other.

    Args:
        items: What is left of a conversation.
        original: The conversation; None is the same.
    """
    led_to = _led_to(items if original is None else original)
    thought_before = {item: thought for thought, item in led_to.items()}
    thoughts = {None, *(item.get("id") for item in items if item.get("type") == "reasoning")}
    items = [
        item for item in items if item.get("type") in _WITHOUT_ID or thought_before.get(item.get("id")) in thoughts
    ]
    whole = _shared(items, ID_FIELD) & _shared(items, _OUTPUTS)
    fields = {**ID_FIELD, **_OUTPUTS}
    kept: list[JsonObject] = []
    for item in items:
        kind = str(item.get("type"))
        if kind in fields and str(item.get(fields[kind])) not in whole:
            continue
        thought = kept[-1].get("id") if kept and kept[-1].get("type") == "reasoning" else None
        name = item.get("id")
        apart = led_to.get(thought, name) != name or thought_before.get(name, thought) != thought
        if thought is not None and (not is_from_model(item) or (apart and kind not in _WITHOUT_ID)):
            _drop_thoughts(kept)
        kept.append(_nameless(item) if apart and kind in _WITHOUT_ID else item)
    _drop_thoughts(kept)
    return kept


def first_torn(items: Sequence[JsonObject]) -> int | None:
    """Return the position of the first item that `without_orphans` would leave out; None where there is none."""
    kept = iter(without_orphans(items))
    following = next(kept, None)
    for place, item in enumerate(items):
        if following is not item and following != _nameless(item):
            return place
        following = next(kept, None)
    return None


def cut_points(items: Sequence[JsonObject]) -> list[int]:
    """Return the positions at which *items* may be cut: no item after one needs an item before it.

    A reply of the model is never cut in two, so that its reasoning stays with what it led to; and no output is cut off
    from its call. The first position is 0; the end is none.
    """
    inside = [0] * (len(items) + 1)
    calls: dict[str, int] = {}
    for place, item in enumerate(items):
        if place and is_from_model(items[place - 1]) and is_from_model(item):
            inside[place] += 1
            inside[place + 1] -= 1
        for answered in _answers(item):
            if (call := calls.get(answered)) is not None:
                inside[call + 1] += 1
                inside[place + 1] -= 1
        if is_from_model(item):
            for name in ("call_id", "id"):
                if isinstance(item.get(name), str):
                    calls[str(item[name])] = place
    return [place for place, depth in enumerate(accumulate(inside[: len(items)])) if depth == 0]


def start_of_turns(items: Sequence[JsonObject], turns: int) -> int:
    """Return the last cut point that keeps *turns* turns and all that the model has yet to read.

    A turn is a reply of the model, with the messages before it and the answers to its calls.
    """
    starts = [place for place, item in enumerate(items) if place == 0 or _begins_turn(items[place - 1], item)]
    replied = max((place for place, item in enumerate(items) if is_from_model(item)), default=-1)
    rest = items[replied + 1 :]
    if not rest:
        read = len(starts)
    else:
        answered = any(not _is_message(item) for item in rest)
        read = max(sum(start <= replied for start in starts) - answered, 0)
    wanted = (*starts, len(items))[max(read - turns, 0)]
    return max(place for place in (*cut_points(items), len(items)) if place <= wanted)


def start_of_unread(items: Sequence[JsonObject]) -> int:
    """Return the start of the turn whose end the model has yet to read, which may never be cut off."""
    return start_of_turns(items, 0)


def start_of_items(items: Sequence[JsonObject], most: int) -> int:
    """Return the cut point that keeps at most *most* items, or more where the model has yet to read them."""
    return _latest(items, lambda place: len(items) - place <= most)


def start_of_tokens(items: Sequence[JsonObject], most: int) -> int:
    """Return the cut point that keeps about *most* tokens, or more where the model has yet to read them."""
    sizes = [0, *accumulate(json_size(item) for item in items)]
    return _latest(items, lambda place: sizes[-1] - sizes[place] <= most * BYTES_PER_TOKEN)


def start_of_compacted(items: Sequence[JsonObject]) -> int:
    """Return the start of the reply in which the provider last compacted the conversation; it needs nothing before."""
    last = max((place for place, item in enumerate(items) if item.get("type") == "compaction"), default=0)
    return max((place for place in cut_points(items) if place <= last), default=0)


def _latest(items: Sequence[JsonObject], fits: Callable[[int], bool]) -> int:
    unread = start_of_unread(items)
    return next((place for place in cut_points(items) if place >= unread or fits(place)), unread)


def _answers(item: JsonObject) -> list[str]:
    """Return the ids of the items that *item* answers or continues."""
    answers = [item.get("approval_request_id")]
    if str(item.get("type", "")).endswith("_output"):
        answers.append(item.get("call_id"))
    return [each for each in answers if isinstance(each, str)]


def _begins_turn(before: JsonObject, item: JsonObject) -> bool:
    if _is_message(item):
        return not _is_message(before)
    return is_from_model(item) and not is_from_model(before) and not _is_message(before)


def _is_message(item: JsonObject) -> bool:
    return item.get("type", "message") == "message" and item.get("role") != "assistant"


def _led_to(items: Sequence[JsonObject]) -> dict[Any, Any]:
    """Map the id of each reasoning to the id of the item that followed it; only the model's own items count."""
    return {
        before["id"]: item["id"]
        for before, item in pairwise(items)
        if before.get("type") == "reasoning" and item.get("type") != "reasoning" and "id" in before and "id" in item
    }


def _nameless(item: JsonObject) -> JsonObject:
    return {key: value for key, value in item.items() if key != "id"}


def _drop_thoughts(items: list[JsonObject]) -> None:
    while items and items[-1].get("type") == "reasoning":
        items.pop()


def _shared(items: Sequence[JsonObject], fields: Mapping[str, str]) -> set[str]:
    return {str(item.get(fields[item["type"]])) for item in items if str(item.get("type")) in fields}
