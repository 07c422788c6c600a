"""A slip in a call is answered with what was given and what is wanted; an agent is taken by its name."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from temporalio import workflow
from temporalio.client import WorkflowFailureError

from handfast import Agent, AgentHost, AgentRef, Approve, Run, tool
from handfast.errors import DecisionInvalidError, PayloadInvalidError, UnknownRequestError, UsageError
from handfast.testing import Lab, Reply, call, text
from support.labs import MakeLab


@tool(approval=True)
def wipe(target: str) -> str:
    """Delete a target.

    Args:
        target: Which one.
    """
    return f"{target} wiped"


DESK = Agent("desk", instructions="Help.", model="m", tools=[wipe])
WIPE = Reply(call("wipe", {"target": "t"}, "c1"))
WAIT = timedelta(seconds=30)


async def test_an_agent_is_taken_by_its_name(make_lab: MakeLab) -> None:
    """`start`, `session` and the lists take the agent itself, or an `AgentRef`, where they take its name."""
    lab = await make_lab([DESK], script=[Reply(text("one")), Reply(text("two")), Reply(text("three"))])
    run = await lab.start(DESK, "go")
    assert run.id.startswith("desk-")
    assert (await run.result()).output == "one"
    assert (await (await lab.hf.start(AgentRef("desk"), "go")).result()).output == "two"
    session = lab.watch(lab.hf.session(f"{run.id}-talk", agent=DESK))
    assert await (await session.send("go")).output(timeout=WAIT) == "three"
    await session.close()
    await session.result()


async def test_many_runs_are_started_of_an_agent(make_lab: MakeLab) -> None:
    """`start_many` takes it as `start` does."""
    lab = await make_lab([DESK], script=[Reply(text("one")), Reply(text("two"))])
    started = await lab.hf.start_many([{"agent": DESK, "input": "a"}, {"agent": DESK, "input": "b"}])
    runs = [lab.watch(each.run) for each in started if each.run is not None]
    assert sorted([str((await run.result()).output) for run in runs]) == ["one", "two"]


@workflow.defn
class TakesAnAgent:
    """A workflow that was written with the agent at hand."""

    @workflow.init
    def __init__(self) -> None:
        self.agents = AgentHost()

    @workflow.run
    async def run(self) -> str:
        """Give the host the agent itself."""
        return (await self.agents.run(DESK, "go")).output  # type: ignore[return-value, arg-type]


async def test_an_agent_in_a_workflow_is_refused_with_what_to_write(make_lab: MakeLab) -> None:
    """A workflow knows agents by name alone, so that a deploy of their code cannot break it."""
    lab = await make_lab([DESK], workflows=[TakesAnAgent])
    with pytest.raises(WorkflowFailureError) as failed:
        await lab.client.execute_workflow(TakesAnAgent.run, id=f"w-{lab.task_queue}", task_queue=lab.task_queue)
    assert "agent must be an AgentRef or a string, not an Agent; give its name, 'desk'" in str(failed.value.cause)


@pytest.mark.parametrize(
    ("ask", "problem"),
    [
        (lambda lab, run: lab.hf.start("desk", "go", labels=["a"]), "Handfast.start: labels must be a mapping"),
        (lambda lab, run: lab.hf.start("desk", {"role": "user"}), "Handfast.start: input must be"),
        (lambda lab, run: lab.hf.start("desk", "go", context="x"), "Handfast.start: context must be a JSON object"),
        (lambda lab, run: lab.hf.start("desk", "go", id=7), "Handfast.start: id must be a string, not 7"),
        (lambda lab, run: lab.hf.start("desk", "go", if_exists="x"), "if_exists must be 'fail' or 'attach', not 'x'"),
        (lambda lab, run: lab.hf.erase(run), "Handfast.erase: id must be a string, not a Run; give its id, 'nobody'"),
        (lambda lab, run: lab.hf.runs(label={"a": "b"}), "Handfast.runs: label must be a string, not a dict"),
        (
            lambda lab, run: lab.hf.requests(tool=wipe),
            "tool must be a string, not a Tool; give its name, 'wipe'",
        ),
        (lambda lab, run: lab.hf.decide_many("abc", Approve(), decided_by="x"), "requests must be a list of OpenReq"),
        (lambda lab, run: run.result(timeout=25), r"Run.result: timeout .* write timedelta\(seconds=25\)"),
        (lambda lab, run: run.approve("r", decided_by="x", arguments="x"), "arguments must be a JSON object"),
        (
            lambda lab, run: run.approve(run.pending(), decided_by="x"),
            "request must be a Request or a string, not a",
        ),
        (lambda lab, run: run.decide("r", Approve, decided_by="x"), r"not the class Approve; write Approve\(…\)"),
        (lambda lab, run: run.reject("r", decided_by=7), "Run.reject: decided_by must be a string, not 7"),
        (lambda lab, run: run.grant("r", decided_by="x", duration=60), r"write timedelta\(seconds=60\)"),
        (lambda lab, run: run.raise_limits(duration=60), r"Run.raise_limits: .* write timedelta\(seconds=60\)"),
        (lambda lab, run: run.send({"text": "x"}), "Run.send: message must be a string or a list of dicts, not a dict"),
        (lambda lab, run: run.cancel(mode="later"), "Run.cancel: mode must be 'now' or 'after_turn', not 'later'"),
    ],
)
@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
async def test_a_slip_is_answered_before_anything_is_sent(
    server_lab: Lab, ask: Callable[[Lab, Run], Any], problem: str
) -> None:
    """The error names the method as it was called, the argument, what was given and what is wanted."""
    with pytest.raises(UsageError, match=problem):
        await ask(server_lab, server_lab.hf.run("nobody"))


@pytest.fixture
async def server_lab(make_lab: MakeLab) -> Lab:
    """A lab for calls that never reach it."""
    return await make_lab([DESK])


@pytest.mark.parametrize("no_id", ["", "x" * 1001, "\ud800"])
async def test_what_can_be_no_id_is_refused_here(server_lab: Lab, no_id: str) -> None:
    """The server's own errors for it name fields of its protocol; an empty one is not taken for none."""
    hf = server_lab.hf
    with pytest.raises(PayloadInvalidError, match="id: a text of 1 to 1,000 bytes is needed"):
        await hf.start("desk", "go", id=no_id)
    with pytest.raises(PayloadInvalidError, match="id: a text of 1 to 1,000 bytes is needed"):
        await hf.erase(no_id)
    for name in (hf.run, hf.session, hf.export):
        with pytest.raises(PayloadInvalidError, match="id: a text of 1 to 1,000 bytes is needed"):
            name(no_id)


async def test_a_request_that_nobody_made_is_answered_with_where_to_look(make_lab: MakeLab) -> None:
    """The text names the method and the command that list what waits; an answer without JSON is refused here."""
    lab = await make_lab([DESK], script=[WIPE, Reply(text("done"))])
    run = await lab.start("desk")
    request = await lab.next_request(run)
    with pytest.raises(UnknownRequestError, match=r"`run\.pending\(\)` and `handfast approvals`"):
        await run.approve("nonsense", decided_by="lead")
    with pytest.raises(DecisionInvalidError, match="output: input was not a valid JSON value"):
        await run.answer(request, object(), decided_by="lead")  # type: ignore[arg-type]
    await run.approve(request, decided_by="lead")
    assert (await run.result()).output == "done"


async def test_a_label_that_can_be_none_says_how_one_looks(server_lab: Lab) -> None:
    """In words, and not by a pattern."""
    with pytest.raises(PayloadInvalidError, match="a label's key has 1 to 64 characters, without spaces and ="):
        await server_lab.hf.start("desk", "go", labels={"a b": "c"})
