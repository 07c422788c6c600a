"""What a finished run's result holds: its output as a type, its conversation, its last response."""

from __future__ import annotations

import uuid
from datetime import date, timedelta
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from handfast import Agent, AgentRef, tool
from handfast.errors import OutputInvalidError
from handfast.payloads.runs import RunResult
from handfast.testing import Reply, call, text
from support.labs import MakeLab

DONE = Reply(text("done"))


class Report(BaseModel):
    day: date
    verdict: Literal["fine", "broken"] = "fine"


class Bill(BaseModel):
    cents: int


REPORT = Reply(text('{"day": "2026-03-01", "verdict": null}'))
AS_JSON = {"day": "2026-03-01", "verdict": None}


async def test_a_run_that_was_started_with_an_agent_answers_in_its_type(make_lab: MakeLab, cache: int) -> None:
    """The output is an instance of the agent's `output_type`; by the run's name alone, and where JSON is wanted, it is
    the JSON that it is."""
    reporter = Agent("reporter", model="m", output_type=Report)
    lab = await make_lab([reporter], script=[REPORT], max_cached_workflows=cache)
    run = await lab.hf.start(reporter, "how is it?")
    assert (await run.result()).output == Report(day=date(2026, 3, 1))
    assert (await run.result(output_type=None)).output == AS_JSON
    assert (await run.result(output_type=dict[str, Any])).output == AS_JSON
    assert (await lab.hf.run(run.id).result()).output == AS_JSON
    with pytest.raises(OutputInvalidError):
        await run.result(output_type=Bill)


async def test_after_a_handoff_the_type_is_that_of_the_agent_that_answered(make_lab: MakeLab) -> None:
    """Each agent that may answer has its own type, or none; an `AgentRef` reads the answer of its own agent."""
    biller = Agent("biller", model="m", output_type=Bill)
    plain = Agent("plain", model="m")
    desk = Agent("desk", model="m", output_type=Report, handoffs=[biller, plain])
    script = [
        Reply(call("transfer_to_biller", {}, "c1")),
        Reply(text('{"cents": 250}')),
        Reply(call("transfer_to_plain", {}, "c2")),
        DONE,
        REPORT,
    ]
    lab = await make_lab([desk], script=script)
    billed: RunResult[Any] = await (await lab.hf.start(desk, "bill")).result()  # of whichever agent answers
    assert (billed.agent, billed.output) == ("biller", Bill(cents=250))
    talked: RunResult[Any] = await (await lab.hf.start(desk, "talk")).result()
    assert talked.output == "done"
    ref = AgentRef("desk", output_type=Report)
    assert (await (await lab.hf.start(ref, "report")).result()).output == Report(day=date(2026, 3, 1))


async def test_a_session_of_an_agent_answers_in_its_type(make_lab: MakeLab) -> None:
    """Likewise each message of a session; looked up by its id alone it is JSON."""
    reporter = Agent("reporter", model="m", output_type=Report)
    lab = await make_lab([reporter], script=[REPORT])
    session = lab.hf.session(f"s-{uuid.uuid4().hex[:8]}", agent=reporter)
    turn = await session.send("how is it?")
    assert await turn.output(timeout=timedelta(seconds=30)) == Report(day=date(2026, 3, 1))
    assert (await turn.result(output_type=None)).output == AS_JSON
    assert await lab.hf.session(session.id).turn(turn.id).output() == AS_JSON


async def test_a_result_names_the_last_response_and_holds_the_conversation(make_lab: MakeLab, cache: int) -> None:
    """`response_id` is the provider's id of the last reply. `items` is the conversation, where it is asked for, and it
    can be the input of the next run."""

    @tool(effect="read_only")
    def look() -> str:
        """Look."""
        return "fine"

    desk = Agent("desk", model="m", tools=[look])
    lab = await make_lab([desk], script=[Reply(call("look", {}, "c1")), DONE, DONE], max_cached_workflows=cache)
    run = await lab.start("desk", "look")
    result = await run.result(items=True)
    assert result.response_id == (lab.model.requests[1].reply or {})["id"]
    assert (await run.result()).items is None
    assert result.items is not None
    assert result.items == await run.transcript()
    assert [item.get("type") for item in result.items] == [
        "message",
        "function_call",
        "function_call_output",
        "message",
    ]
    again = await (await lab.hf.start("desk", [*result.items, {"role": "user", "content": "again"}])).result()
    assert again.output == "done"
    assert len(lab.model.requests[2].body["input"]) == 5
    assert lab.model.violations == []
    wire = await lab.client.get_workflow_handle(run.id).result()
    assert "items" not in wire
