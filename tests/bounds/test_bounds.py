"""Fault row XD1: whatever grows has a bound with a typed answer, as nothing above 2 MB may reach the server."""

from __future__ import annotations

from typing import Any

import pytest

from handfast import Agent, Rejection, RunContext, Truncate, tool
from handfast.errors import RunCancelledError, RunFailedError
from handfast.testing import Gate, Reply, call, text
from handfast.workflows.driver import model_calls
from handfast.workflows.frame.frame import FAILURE_BYTES, Failure
from support.evidence import failed_tasks
from support.labs import MakeLab

DONE = Reply(text("done"))


async def test_an_output_that_no_result_can_carry_fails_the_run(make_lab: MakeLab, cache: int) -> None:
    """XD1: an answer of 1.5 MB reads as numbers that take four times as much: the run ends with the reason."""
    numbers = ",".join(["1e15"] * 300_000)
    lab = await make_lab(
        [Agent("desk", model="m", output_type=list[float])],
        script=[Reply(text(f'{{"response":[{numbers}]}}'))],
        max_cached_workflows=cache,
    )
    run = await lab.start("desk")
    with pytest.raises(RunFailedError, match="bytes, and a result may take 2,000,000") as failed:
        await run.result()
    assert failed.value.kind == "OutputTooLarge"
    assert len(lab.model.requests) == 1
    assert await failed_tasks(lab, run) == 0


async def test_the_words_of_a_formatter_are_bounded(make_lab: MakeLab) -> None:
    """XD1: a rejection that is worded with five megabytes reaches the model by its start, and the run goes on."""

    def worded(_context: RunContext[Any], _rejection: Rejection) -> str:
        return "no" * 2_500_000

    @tool(approval=True)
    async def wipe(target: str) -> str:
        """Delete a target."""
        return target

    lab = await make_lab(
        [Agent("desk", model="m", tools=[wipe], rejection_text=worded)],
        script=[Reply(call("wipe", {"target": "t"}, "c1")), DONE],
    )
    run = await lab.start("desk")
    await run.reject(await lab.next_request(run), decided_by="lead")
    assert (await run.result()).output == "done"
    told = lab.model.requests[1].tool_outputs["c1"]
    assert told.startswith("nono")
    assert "5,000,000 bytes in all" in told
    assert await failed_tasks(lab, run) == 0


def test_the_words_of_a_failure_are_bounded() -> None:
    """XD1: a run's failure travels to an agent's own code and to the server, whoever worded it."""
    failure = Failure(type="T" * 5000, message="x" * 3_000_000)
    assert len(failure.type) == 256
    assert len(failure.message.encode()) <= FAILURE_BYTES
    assert "3,000,000 bytes in all" in failure.message
    assert Failure(type="ToolFailed", message="as it is").message == "as it is"


@pytest.mark.parametrize("mode", ["now", "after_turn"])
async def test_a_reason_of_megabytes_ends_a_run_like_any_other(make_lab: MakeLab, mode: Any) -> None:
    """XD1: whoever cancels or stops with a reason of three megabytes: its start is recorded, and the run ends."""
    lab = await make_lab([Agent("desk", model="m", tools=[read])], script=[Gate("on", reading(1)[0]), DONE])
    run = await lab.start("desk")
    await lab.model.wait_for_request(1)
    assert await run.cancel("no\ud800" + "x" * 3_000_000, mode=mode)
    lab.model.open("on")
    if mode == "now":
        with pytest.raises(RunCancelledError, match="xxx") as cancelled:
            await run.result()
        assert len(str(cancelled.value)) < 3000
    else:
        assert len(str((await run.result()).stopped)) <= 2000
    assert await failed_tasks(lab, run) == 0


@tool(effect="read_only")
async def read(part: int) -> str:
    """Read a part."""
    return f"{part} " * 20_000


def reading(turns: int) -> list[Reply]:
    """The model reads part after part."""
    return [*(Reply(call("read", {"part": part}, f"c{part}")) for part in range(turns)), DONE]


@pytest.mark.parametrize("limit", ["CONVERSATION_BYTES", "HISTORY_BYTES"])
async def test_a_conversation_that_is_too_large_fails_before_it_hurts(
    monkeypatch: pytest.MonkeyPatch, make_lab: MakeLab, limit: str
) -> None:
    """XD1: where a conversation outgrows what a call can carry, or its history what the server keeps, the run ends with
    a failure that says what to do; what its tools gave is in the transcript."""
    monkeypatch.setattr(model_calls, limit, 150_000)
    lab = await make_lab([Agent("desk", model="m", tools=[read])], script=reading(9))
    run = await lab.start("desk")
    with pytest.raises(RunFailedError, match="truncation or a compaction") as failed:
        await run.result()
    assert failed.value.kind == "ConversationTooLarge"
    assert 3 <= len(lab.model.requests) <= 4
    left = await lab.client.get_workflow_handle(run.id).query("transcript", {})
    assert sum("output" in item for block in left["blocks"] for item in block["items"]) >= 3


async def test_a_truncated_conversation_has_no_end(monkeypatch: pytest.MonkeyPatch, make_lab: MakeLab) -> None:
    """XD1: what a truncation leaves out does not count: such a conversation outgrows nothing."""
    monkeypatch.setattr(model_calls, "CONVERSATION_BYTES", 150_000)
    lab = await make_lab([Agent("desk", model="m", tools=[read], truncation=Truncate(keep_turns=1))], script=reading(9))
    run = await lab.start("desk")
    assert (await run.result()).output == "done"
    assert len(lab.model.requests) == 10
