"""A run can be started, read, decided and ended with the stock `temporal` binary and JSON alone."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Any, Final

import pytest
from temporalio.client import WorkflowExecutionStatus

from handfast import Run
from handfast.errors import RunCancelledError
from handfast.server import find_binary
from handfast.testing import Gate, Lab, Reply, call
from support.desk import DONE, MIXED, desk, outputs
from support.labs import Effects, MakeLab

WIPE: Final = Reply(call("wipe", {"target": "t"}, "c1"))
WITHIN_S: Final = 30.0


class Temporal:
    """The stock binary, pointed at a lab's server."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    async def __call__(self, *line: str) -> tuple[int, str, str]:
        """Run one command; return its exit code and what it wrote."""
        process = await asyncio.create_subprocess_exec(
            *(str(find_binary()), *line, "--address", self._lab.client.service_client.config.target_host),
            *("--output", "json"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await asyncio.wait_for(process.communicate(), WITHIN_S)
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()

    async def ok(self, *line: str) -> Any:
        """Run one command that has to succeed; return the JSON that it wrote."""
        code, out, err = await self(*line)
        assert code == 0, err
        return json.loads(out) if out.strip() else None

    async def start(self, argument: object) -> Run:
        """Start an `AgentRun`."""
        workflow_id = f"stock-{uuid.uuid4().hex}"
        await self.ok(
            *("workflow", "start", "--type", "AgentRun", "--task-queue", self._lab.task_queue),
            *("--workflow-id", workflow_id, "--input", json.dumps(argument)),
        )
        return self._lab.watch(self._lab.hf.run(workflow_id))

    async def query(self, run: Run, name: str) -> Any:
        """Query a run."""
        answer = await self.ok("workflow", "query", "--workflow-id", run.id, "--type", name)
        [result] = answer["queryResult"]
        return result

    async def signal(self, run: Run, name: str, value: object) -> None:
        """Signal a run."""
        await self.ok("workflow", "signal", "--workflow-id", run.id, "--name", name, "--input", json.dumps(value))

    async def result(self, run: Run) -> Any:
        """Wait for the run's end."""
        return await self.ok("workflow", "result", "--workflow-id", run.id)


@pytest.fixture
def task() -> dict[str, Any]:
    """What a run is started with."""
    return {"agent": "desk", "input": "clean up", "labels": {"team": "north"}, "requested_by": "ana"}


async def test_a_run_starts_lists_decides_and_ends(make_lab: MakeLab, effects: Effects, task: dict[str, Any]) -> None:
    """P13: started with JSON, listed by a query, approved by its bare id and rejected with a reason, the run ends."""
    lab = await make_lab([desk(effects)], script=[MIXED, DONE])
    temporal = Temporal(lab)
    run = await temporal.start(task)
    await lab.open_requests(run, 2)
    pending = await temporal.query(run, "pending_approvals")
    assert [request["arguments"] for request in pending] == [{"target": "temp"}, {"target": "logs"}]
    assert pending == await temporal.query(run, "pending_requests")
    status = await temporal.query(run, "status")
    assert (status["status"], status["pending"], status["agent"]) == ("waiting", 2, "desk")
    await temporal.signal(run, "approve", pending[0]["id"])
    await temporal.signal(run, "reject", {"id": pending[1]["id"], "reason": "Keep the logs.", "decided_by": "lead"})
    ended = await temporal.result(run)
    assert ended["status"] == "COMPLETED"
    answer = {name: ended["result"][name] for name in ("output", "agent", "turns")}
    assert answer == {"output": "done", "agent": "desk", "turns": 2}
    assert sorted(effects) == ["look fans", "wipe temp"]
    assert outputs(lab) == [("c1", "wiped temp"), ("c2", "fans is fine"), ("c3", "Keep the logs.")]


async def test_the_update_answers_with_a_receipt_or_a_refusal(
    make_lab: MakeLab, effects: Effects, task: dict[str, Any]
) -> None:
    """P13: `update execute --name decide` returns the receipt; a second decision is refused and told who was first."""
    lab = await make_lab([desk(effects)], script=[WIPE, Gate("later", DONE)])
    temporal = Temporal(lab)
    run = await temporal.start(task)
    request = await lab.next_request(run)
    line = ("workflow", "update", "execute", "--workflow-id", run.id, "--name", "decide", "--input")
    decision = {"id": request.id, "verdict": {"kind": "approve"}, "decided_by": "lead", "decision_id": "form-1"}
    receipt = (await temporal.ok(*line, json.dumps(decision)))["result"]
    assert (receipt["state"], receipt["decided_by"], receipt["duplicate"]) == ("recorded", "lead", False)
    repeated = (await temporal.ok(*line, json.dumps(decision)))["result"]
    assert repeated == {**receipt, "duplicate": True}
    outcome = (
        await temporal.ok(
            *("workflow", "query", "--workflow-id", run.id, "--type", "decision"),
            *("--input", json.dumps({"decision_id": "form-1"})),
        )
    )["queryResult"][0]
    assert (outcome["state"], outcome["receipt"]["id"]) == ("recorded", request.id)
    late = {"id": request.id, "verdict": {"kind": "reject"}, "decided_by": "someone else"}
    code, out, err = await temporal(*line, json.dumps(late))
    assert code != 0
    assert f"{request.id} was decided (approve) by lead" in out + err
    lab.model.open("later")
    assert (await temporal.result(run))["result"]["output"] == "done"
    assert effects == ["wipe t"]


async def test_a_signal_that_means_nothing_changes_nothing(
    make_lab: MakeLab, effects: Effects, task: dict[str, Any]
) -> None:
    """A mistyped id, a signal without input and an unknown signal leave the run waiting and healthy."""
    lab = await make_lab([desk(effects)], script=[WIPE, DONE])
    temporal = Temporal(lab)
    run = await temporal.start(task)
    request = await lab.next_request(run)
    await temporal.signal(run, "approve", "no-such-request")
    await temporal.ok("workflow", "signal", "--workflow-id", run.id, "--name", "approve")
    await temporal.signal(run, "aprove", request.id)
    assert [each["id"] for each in await temporal.query(run, "pending_approvals")] == [request.id]
    await temporal.signal(run, "approve", {"id": request.id, "decided_by": "lead"})
    assert (await temporal.result(run))["status"] == "COMPLETED"
    assert effects == ["wipe t"]


@pytest.mark.parametrize("choice", ["by-id", "by-query-with-a-reason"])
async def test_a_run_is_cancelled(make_lab: MakeLab, effects: Effects, task: dict[str, Any], choice: str) -> None:
    """`workflow cancel` ends the run as Canceled and withdraws what waits; nothing runs and nobody is left waiting."""
    lab = await make_lab([desk(effects)], script=[WIPE])
    temporal = Temporal(lab)
    run = await temporal.start(task)
    await lab.next_request(run)
    if choice == "by-id":  # the binary takes no --reason with an id
        await temporal.ok("workflow", "cancel", "--workflow-id", run.id)
    else:
        query = f"WorkflowId = '{run.id}'"
        await temporal.ok("workflow", "cancel", "--query", query, "--reason", "the office closes", "--yes")
    code, out, err = await temporal("workflow", "result", "--workflow-id", run.id)
    assert code != 0
    assert "CANCELED" in (out + err).upper()
    described = await lab.client.get_workflow_handle(run.id).describe()
    assert described.status is WorkflowExecutionStatus.CANCELED
    assert await run.pending() == []
    with pytest.raises(RunCancelledError):
        await run.result()
    assert effects == []


@pytest.mark.parametrize(
    "argument",
    [
        pytest.param(5, id="a-number"),
        pytest.param({"input": "clean up"}, id="no-agent"),
        pytest.param({"agent": "desk", "input": ""}, id="no-input"),
    ],
)
async def test_a_wrong_start_fails_at_once(make_lab: MakeLab, effects: Effects, argument: object) -> None:
    """A start whose JSON does not fit is a failed run that says what was expected, never a stuck one."""
    lab = await make_lab([desk(effects)], script=[])
    temporal = Temporal(lab)
    run = await temporal.start(argument)
    code, out, err = await temporal("workflow", "result", "--workflow-id", run.id)
    assert code != 0
    assert "AgentRun takes one object" in out + err
