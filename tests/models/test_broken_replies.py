"""Fault row XC6: how often a broken reply is asked for again, and what around a reply can do no harm."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from handfast import Agent, InProcessDeltas
from handfast.errors import RunFailedError
from handfast.models.port import ModelCallError
from handfast.models.reading import read_answer
from handfast.testing import Fail, Reply, call, image_generation_item, raw, reasoning, refusal, text, web_search_item
from handfast.testing.script import Step
from support.evidence import failed_tasks
from support.labs import Effects, MakeLab
from support.model_outputs import DONE, desk

EMPTY = Reply()
BUSY = [Fail(429, retry_after=0.01), Fail(500, retry_after=0.01), Fail(503, retry_after=0.01)]
NOTE = Reply(call("note", {"line": "a"}, "c1"))


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param([*BUSY, EMPTY, DONE], id="the-first-broken-one-after-three-errors"),
        pytest.param([EMPTY, *BUSY, EMPTY, DONE], id="two-with-errors-between"),
        pytest.param([EMPTY, EMPTY, NOTE, EMPTY, EMPTY, DONE], id="two-in-each-of-two-turns"),
    ],
)
async def test_only_broken_replies_in_a_row_count(
    make_lab: MakeLab, effects: Effects, cache: int, steps: Sequence[Step]
) -> None:
    """XC6: two broken replies in a row do not end a run, whatever else the provider answered before or between."""
    lab = await make_lab([desk(effects)], script=steps, max_cached_workflows=cache)
    run = await lab.start("desk")
    assert (await run.result()).output == "done"
    assert len(lab.model.requests) == len(steps)
    assert lab.model.violations == []
    assert await failed_tasks(lab, run) == 0


async def test_the_third_broken_reply_in_a_row_ends_the_run(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """XC6: the third broken reply in a row ends the run with that reason; errors of the provider between them count
    for nothing."""
    steps = [*BUSY, EMPTY, BUSY[0], EMPTY, BUSY[1], EMPTY]
    lab = await make_lab([desk(effects)], script=steps, max_cached_workflows=cache)
    run = await lab.start("desk")
    with pytest.raises(RunFailedError, match="reply is empty") as failed:
        await run.result()
    assert failed.value.kind == "ModelReplyInvalid"
    assert len(lab.model.requests) == len(steps)
    assert (await failed_tasks(lab, run), effects) == (0, [])


async def test_broken_replies_count_on_another_worker(make_lab: MakeLab, effects: Effects) -> None:
    """XC6: the count of broken replies is the run's: a worker that takes over goes on with it."""
    lab = await make_lab([desk(effects)], script=[NOTE, EMPTY, EMPTY, EMPTY])
    run = await lab.start("desk")
    await lab.model.wait_for_request(2)
    await lab.replace_worker()
    with pytest.raises(RunFailedError) as failed:
        await run.result()
    assert (failed.value.kind, effects) == ("ModelReplyInvalid", ["a"])
    assert 4 <= len(lab.model.requests) <= 5  # the reply that was on its way to the first worker may be lost


HOLOGRAM: Any = {"type": "hologram", "id": "holo_1", "light": [1, 2]}
BLANK: Any = {"type": "message", "role": "assistant", "content": None}
WORDLESS: Mapping[str, Reply] = {
    "no-text": Reply(text("")),
    "blanks": Reply(text(" \n\t"), text("")),
    "null-content": Reply(raw(BLANK)),
    "no-parts": Reply(raw({**BLANK, "content": []})),
    "unknown-items": Reply(raw(HOLOGRAM)),
    "reasoning-and-unknown": Reply(reasoning("hm"), raw(HOLOGRAM)),
    "a-search-alone": Reply(web_search_item("what?")),
    "an-image-of-nothing": Reply(image_generation_item("")),
}


@pytest.mark.parametrize("name", WORDLESS)
async def test_a_reply_without_a_word_is_an_empty_one(make_lab: MakeLab, effects: Effects, name: str) -> None:
    """A reply that says nothing is asked for again; the third in a row ends the run with that reason."""
    lab = await make_lab([desk(effects)], script=[WORDLESS[name], DONE, *[WORDLESS[name]] * 3])
    assert (await (await lab.start("desk")).result()).output == "done"
    with pytest.raises(RunFailedError, match="reply is empty") as failed:
        await (await lab.start("desk")).result()
    assert (failed.value.kind, len(lab.model.requests)) == ("ModelReplyInvalid", 5)
    assert lab.model.requests[0].body == lab.model.requests[1].body


@pytest.mark.parametrize("history", [None, "chain", "conversation"])
@pytest.mark.parametrize("background", [False, True])
async def test_a_reply_without_a_word_leaves_nothing_behind(make_lab: MakeLab, history: Any, background: bool) -> None:
    """Whoever keeps the conversation, and however the reply came, the next request reads as the first one did."""
    agent = Agent("desk", model="m", background=background)
    lab = await make_lab([agent], script=[Reply(text(" ")), DONE], deltas=InProcessDeltas())
    run = await lab.start("desk", history=history, stream=True)
    assert (await run.result()).output == "done"
    first, second = lab.model.created
    assert [item.get("role") for item in second.items] == [item.get("role") for item in first.items] == ["user"]
    assert lab.model.violations == []


@pytest.mark.parametrize(
    ("reply", "output"),
    [
        pytest.param(Reply(image_generation_item("aGk=")), "", id="an-image"),
        pytest.param(Reply(web_search_item("what?"), text("this")), "this", id="a-search-and-a-word"),
        pytest.param(Reply(text(""), text("this")), "this", id="one-word-of-two-messages"),
    ],
)
async def test_a_reply_that_says_something_is_none_of_them(make_lab: MakeLab, reply: Reply, output: str) -> None:
    """An image is an answer, and a word is one whatever stands beside it."""
    lab = await make_lab([Agent("desk", model="m")], script=[reply])
    assert (await (await lab.start("desk")).result()).output == output


async def test_a_refusal_without_words_is_a_refusal(make_lab: MakeLab) -> None:
    """A model that declines without a word has declined."""
    lab = await make_lab([Agent("desk", model="m")], script=[Reply(refusal(""))])
    with pytest.raises(RunFailedError) as failed:
        await (await lab.start("desk")).result()
    assert (failed.value.kind, len(lab.model.requests)) == ("ModelRefusal", 1)


SAID = [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "hi"}]}]


@pytest.mark.parametrize(
    "field",
    [
        pytest.param(f'"created_ns": {2**70}', id="an-integer-beyond-64-bits"),
        pytest.param('"n": ' + "9" * 5000, id="an-integer-of-5,000-digits"),
        pytest.param('"score": NaN', id="NaN"),
        pytest.param('"score": 1e999', id="infinity"),
        pytest.param('"note": "\\ud800"', id="a-lone-surrogate"),
        pytest.param('"tree": ' + "[" * 100 + "]" * 100, id="depth-100"),
        pytest.param('"usage": {"input_tokens": ' + "9" * 400 + ', "output_tokens": "two"}', id="an-absurd-usage"),
        pytest.param('"usage": [5]', id="a-usage-of-another-shape"),
    ],
)
def test_what_stands_around_the_output_cannot_spoil_a_paid_reply(field: str) -> None:
    """XC6: a reply whose output is sound is taken, whatever unknown or absurd values stand beside it."""
    answer = read_answer(f'{{"id": "r", "status": "completed", {field}, "output": {json.dumps(SAID)}}}'.encode())
    assert (answer.items, answer.response_id, answer.usage.requests) == (SAID, "r", 1)
    assert answer.usage.total_tokens == 0


@pytest.mark.parametrize(
    "value", ["18446744073709551616", "9" * 400, "NaN", "1e999", "[" * 100 + "]" * 100], ids=lambda value: value[:16]
)
def test_what_stands_in_the_output_must_be_recordable(value: str) -> None:
    """XC6: a value that cannot be recorded as it is makes a reply a broken one where it stands in the output."""
    with pytest.raises(ModelCallError, match="can be recorded") as broken:
        read_answer(f'{{"output": [{{"type": "message", "x": {value}}}]}}'.encode())
    assert (broken.value.kind, broken.value.retryable) == ("ModelReplyInvalid", True)


def test_texts_around_the_output_are_scrubbed() -> None:
    """XC6: what a reply says of itself can be recorded, lone surrogates and all."""
    answer = read_answer(
        b'{"id": "r\\ud800", "status": "incomplete", "incomplete_details": {"reason": "x\\ud800"}, "output": []}'
    )
    assert (answer.response_id, answer.incomplete) == ("r\ufffd", "x\ufffd")
