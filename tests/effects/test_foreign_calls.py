"""Row XH6: a call that no run of ours has made, started by whoever reaches the server."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.worker import Worker

from handfast.payloads.json_profile import JsonObject
from support.labs import Effects, MakeLab
from support.signed_desk import DONE, GATEWAY, PAY, desk
from support.signing import ring

ORIGIN = {
    "workflow_run": "11111111-1111-4111-8111-111111111111",
    "agent": "desk",
    "agent_path": ["desk"],
    "frame": "0",
    "epoch": 0,
    "turn": 1,
    "query": "transcript",
}
CALL: JsonObject = {
    "origin": ORIGIN,
    "tool": "pay",
    "call_id": "c1",
    "arguments": {"amount": 9},
    "effect": "idempotent",
    "timeout_s": 5.0,
    "key": "k",
}
EXPIRED: JsonObject = {**CALL, "request": "r", "proofs": {"expired": "2026-01-01T00:00:00Z"}}


@workflow.defn(sandboxed=False)
class Foreign:
    """A workflow of somebody else, on a queue of their own."""

    @workflow.run
    async def run(self, arg: dict[str, Any], queue: str) -> Any:
        """Start the activity of a tool."""
        pause = timedelta(seconds=20)
        return await workflow.execute_activity("handfast.tool.pay", arg, task_queue=queue, start_to_close_timeout=pause)


async def test_a_gated_tool_runs_for_no_activity_that_a_client_starts(make_lab: MakeLab, effects: Effects) -> None:
    """XH6: an activity without a workflow, or of a foreign one, that says nobody had to be asked, or that a deadline
    has passed, runs nothing."""
    lab = await make_lab([desk(effects)], script=[PAY, DONE], trusted_keys=ring(GATEWAY))
    queue = lab.task_queue
    outcomes = [
        await lab.client.execute_activity(
            "handfast.tool.pay",
            arg,
            id=f"{queue}-{number}",
            task_queue=queue,
            start_to_close_timeout=timedelta(seconds=20),
        )
        for number, arg in enumerate((CALL, EXPIRED))
    ]
    async with Worker(lab.client, task_queue=f"foreign-{queue}", workflows=[Foreign]) as foreign:
        outcomes += [
            await lab.client.execute_workflow(
                Foreign.run, args=[arg, queue], id=f"{queue}-foreign-{number}", task_queue=foreign.task_queue
            )
            for number, arg in enumerate((CALL, EXPIRED))
        ]
    assert [(each["kind"], each["reason"]) for each in outcomes] == [
        ("unproven", "no run made this call"),
        ("unproven", "no run made this call"),
        ("unproven", "a person is always asked about this tool, and nobody was"),
        ("unproven", "0 of 1 approvals of it are proven"),
    ]
    assert effects == []
