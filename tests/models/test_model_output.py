"""Fault row XC6: whatever the model puts out, or its provider answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from handfast import RunResult
from handfast.errors import RunFailedError
from handfast.models.port import ModelCallError
from handfast.models.reading import read_answer
from handfast.testing import Drop, Fail, Lab, Reply, call, raw, refusal, text
from handfast.testing.script import Step
from support.evidence import failed_tasks
from support.labs import Effects, MakeLab
from support.model_outputs import DONE, desk


async def finish(lab: Lab) -> RunResult:
    """Run to the end, and see that no workflow task failed and that no request to the model was out of order."""
    run = await lab.start("desk")
    try:
        return await run.result()
    finally:
        assert await failed_tasks(lab, run) == 0
        assert lab.model.violations == []
        assert await run.pending() == []


@dataclass(frozen=True)
class Goes:
    """A reply after which the run goes on: the effects, and what the model then reads by call id."""

    reply: Reply
    effects: list[str]
    outputs: dict[str, str]


GOING_ON = {
    "arguments-are-no-json": Goes(
        Reply(call("wipe", '{"target": ', "c1")),
        [],
        {"c1": "not valid JSON"},
    ),
    "arguments-are-no-object": Goes(
        Reply(call("wipe", "[1]", "c1")),
        [],
        {"c1": "should be a JSON object"},
    ),
    "arguments-are-empty": Goes(Reply(call("wipe", "", "c1")), [], {"c1": "target: Field required"}),
    "unknown-tool": Goes(
        Reply(call("format_disk", {"target": "c"}, "c1")),
        [],
        {"c1": "no tool 'format_disk'; there are: note, wipe"},
    ),
    "argument-missing": Goes(Reply(call("wipe", {}, "c1")), [], {"c1": "target: Field required"}),
    "argument-too-many": Goes(
        Reply(call("wipe", {"target": "t", "force": True}, "c1")),
        [],
        {"c1": "force: "},
    ),
    "argument-of-another-type": Goes(Reply(call("wipe", {"target": 5}, "c1")), [], {"c1": "target: "}),
    "same-call-twice": Goes(
        Reply(call("note", {"line": "a"}, "c1"), call("note", {"line": "a"}, "c1")),
        ["a"],
        {"c1": "noted a"},
    ),
    "text-and-a-call": Goes(
        Reply(text("I will note it."), call("note", {"line": "a"}, "c1")),
        ["a"],
        {"c1": "noted a"},
    ),
    "good-and-bad-side-by-side": Goes(
        Reply(
            call("note", {"line": "a"}, "c1"),
            call("note", "{", "c2"),
            call("nothing", {}, "c3"),
            call("note", {"line": "b", "times": None}, "c4"),
        ),
        ["a", "b"],
        {"c1": "noted a", "c2": "not valid JSON", "c3": "no tool 'nothing'", "c4": "noted b"},
    ),
    "40-calls": Goes(
        Reply(*(call("note", {"line": str(n)}, f"c{n}") for n in range(40))),
        [str(n) for n in range(40)],
        {f"c{n}": f"noted {n}" for n in range(40)},
    ),
    "200-calls": Goes(
        Reply(*(call("note", {"line": str(n)}, f"c{n}") for n in range(200))),
        [str(n) for n in range(200)],
        {f"c{n}": f"noted {n}" for n in range(200)},
    ),
}


@pytest.mark.parametrize("case", [pytest.param(each, id=name) for name, each in GOING_ON.items()])
async def test_a_bad_call_becomes_text_for_the_model(
    make_lab: MakeLab, effects: Effects, cache: int, case: Goes
) -> None:
    """XC6: the model reads once what was wrong with a call, sound calls run once, and nobody is asked."""
    lab = await make_lab([desk(effects)], script=[case.reply, DONE], max_cached_workflows=cache)
    assert (await finish(lab)).output == "done"
    assert sorted(effects) == sorted(case.effects)
    outputs = lab.model.requests[1].tool_outputs
    assert list(outputs) == list(case.outputs)
    assert [call_id for call_id, expected in case.outputs.items() if expected not in outputs[call_id]] == []
    assert len(lab.model.requests) == 2


@dataclass(frozen=True)
class Ends:
    """Steps of the script that end the run: the failure's type, a part of its text, and the requests made."""

    steps: Sequence[Step]
    kind: str
    says: str
    requests: int = 1


ENDING = {
    "call-of-a-kind-never-offered": Ends(
        [Reply(raw({"type": "local_shell_call", "call_id": "c1", "action": {}}))] * 3,
        "ModelReplyInvalid",
        "local_shell_call",
        requests=3,
    ),
    "refusal": Ends([Reply(refusal("I will not."))], "ModelRefusal", "I will not."),
    "incomplete": Ends(
        [Reply(call("note", {"line": "a"}), status="incomplete")],
        "ModelIncomplete",
        "max_output_tokens",
    ),
    "empty": Ends([Reply()] * 3, "ModelReplyInvalid", "empty", requests=3),
    "400": Ends([Fail(400, message="Unknown parameter: 'mood'.")], "ModelRefused", "Unknown parameter: 'mood'."),
    "400-with-a-text-of-3-MB": Ends([Fail(400, message="x" * 3_000_000)], "ModelRefused", "answered 400"),
    "400-with-a-lone-surrogate": Ends([Fail(400, message="bad \ud800 text")], "ModelRefused", "bad"),
    "401": Ends([Fail(401)], "ModelRefused", "OPENAI_API_KEY"),
    "429-without-quota": Ends([Fail(429, code="insufficient_quota")], "ModelRefused", "429"),
}


@pytest.mark.parametrize("case", [pytest.param(each, id=name) for name, each in ENDING.items()])
async def test_a_reply_that_is_none_ends_the_run_with_a_reason(
    make_lab: MakeLab, effects: Effects, cache: int, case: Ends
) -> None:
    """XC6: a reply that cannot be acted on ends the run as failed, says why, and nothing of it runs."""
    lab = await make_lab([desk(effects)], script=case.steps, max_cached_workflows=cache)
    with pytest.raises(RunFailedError) as failed:
        await finish(lab)
    assert (failed.value.kind, case.says in failed.value.message) == (case.kind, True)
    assert len(failed.value.message) < 5000
    assert len(lab.model.requests) == case.requests
    assert effects == []


async def test_what_goes_beyond_256_calls_is_told_to_the_model(make_lab: MakeLab, effects: Effects) -> None:
    """XC6: of 300 calls in one reply 256 run, and the model reads of each other one that it did not."""
    calls = [call("note", {"line": str(n)}, f"c{n}") for n in range(300)]
    lab = await make_lab([desk(effects)], script=[Reply(*calls), DONE])
    assert (await finish(lab)).output == "done"
    assert sorted(effects) == sorted(str(n) for n in range(256))
    outputs = lab.model.requests[1].tool_outputs
    refused = "Error: more than 256 calls in one reply; this one was not run."
    assert list(outputs.values()) == [f"noted {n}" for n in range(256)] + [refused] * 44


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(Fail(500), id="500"),
        pytest.param(Fail(503), id="503"),
        pytest.param(Drop(), id="hang-up-before-the-reply"),
        pytest.param(Drop(after_bytes=40), id="hang-up-in-the-middle"),
        pytest.param(Reply(text("half"), status="failed"), id="failed-response"),
    ],
)
async def test_a_provider_that_recovers_costs_one_retry(
    make_lab: MakeLab, effects: Effects, cache: int, trouble: Step
) -> None:
    """XC6: after a provider's error or a broken connection the same request is made again, once."""
    lab = await make_lab(
        [desk(effects)], script=[trouble, Reply(call("note", {"line": "a"})), DONE], max_cached_workflows=cache
    )
    assert (await finish(lab)).output == "done"
    assert effects == ["a"]
    first, second, _ = lab.model.requests
    assert first.body == second.body


async def test_retry_after_is_honoured(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """XC6: after a 429 the next request comes no sooner than the provider asked for."""
    lab = await make_lab([desk(effects)], script=[Fail(429, retry_after=3), DONE], max_cached_workflows=cache)
    assert (await finish(lab)).output == "done"
    first, second = lab.model.requests
    assert 3.0 <= (second.received_at - first.received_at).total_seconds() < 6.0


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"<html>Bad gateway</html>", id="html"),
        pytest.param(b"", id="nothing"),
        pytest.param(b"[]", id="a-list"),
        pytest.param(b'{"output": 5}', id="output-is-a-number"),
        pytest.param(b'{"output": [5]}', id="item-is-a-number"),
        pytest.param(b'{"output": [{"x": 1}]}', id="item-without-a-type"),
        pytest.param(b'{"output": [{"type": "message", "x": NaN}]}', id="NaN"),
        pytest.param(b'{"output": [{"type": "message", "x": 1e999}]}', id="infinity"),
        pytest.param(b'{"output": \xff}', id="bad-UTF-8"),
        pytest.param(b'{"output": [{"type": "message", "x": ' + b"9" * 5000 + b"}]}", id="digits-without-end"),
        pytest.param(b'{"output": ' + b"[" * 500 + b"]" * 500 + b"}", id="depth-500"),
        pytest.param(b"[" * 100_000, id="depth-100,000"),
    ],
)
def test_a_body_that_is_no_reply_is_asked_for_again(body: bytes) -> None:
    """XC6: a body that is no reply is a typed error of the provider, whatever it is."""
    with pytest.raises(ModelCallError) as broken:
        read_answer(body)
    assert (broken.value.kind, broken.value.retryable) == ("ModelReplyInvalid", True)
