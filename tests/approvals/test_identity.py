"""Scenario rows O: identity, durability, trust."""

from __future__ import annotations

import asyncio
import copy
from datetime import timedelta
from typing import Any

import pytest
from temporalio import workflow
from temporalio.client import Client
from temporalio.common import RetryPolicy

from handfast import Agent, Approval, Approve, Reject, ToolContext, handoff, tool
from handfast.errors import RequestClosedError, RunEndedError, RunFailedError
from handfast.history.reader import history_of
from handfast.payloads.json_profile import JsonObject
from handfast.testing import Lab, Reply, call, text
from handfast.workflows.ledger import requests
from support.desk import DONE, desk, outputs
from support.labs import Effects, MakeLab

WIPE = Reply(call("wipe", {"target": "t"}, "c1"))
CACHED = 100
"""Runs that a worker keeps, whatever the profile: what is changed under them a replay would notice."""


@pytest.mark.parametrize("changed", ["arguments", "tool"])
async def test_what_runs_is_what_was_shown(
    make_lab: MakeLab, effects: Effects, changed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """O1: where the arguments or the tool differ from what was approved, nothing runs and the run says so."""
    original = requests.arguments_of

    def tampered(subject: Any, item: JsonObject) -> JsonObject:
        if changed == "tool":
            subject.tool = "erase"
        return {"target": "everything"} if changed == "arguments" else original(subject, item)

    @tool(approval=True)
    async def erase(target: str) -> str:
        """Another tool with the same parameters."""
        effects.append(f"erase {target}")
        return "erased"

    agent = Agent("desk", model="m", tools=[*desk(effects).tools, erase])
    lab = await make_lab([agent], script=[WIPE, DONE], replay=False, max_cached_workflows=CACHED)
    run = await lab.start("desk")
    request = await lab.next_request(run)
    monkeypatch.setattr(requests, "arguments_of", tampered)
    await run.approve(request, decided_by="lead")
    with pytest.raises(RunFailedError) as failed:
        await run.result()
    assert failed.value.kind == "ApprovalMismatch"
    assert effects == []


async def test_a_nested_agent_and_a_handoff_are_bound_too(
    make_lab: MakeLab, effects: Effects, monkeypatch: pytest.MonkeyPatch
) -> None:
    """O1: a gated nested agent does not start, and a gated handoff does not take place, with other arguments than those
    that were approved."""
    nested = Agent("nested", model="m").as_tool(approval=True)
    front = Agent("front", model="m", tools=[nested], handoffs=[handoff(desk(effects), approval=True)])
    for reply in (call("nested", {"input": "look"}, "c1"), call("transfer_to_desk", {}, "c1")):
        lab = await make_lab([front], script=[Reply(reply), DONE], replay=False, max_cached_workflows=CACHED)
        run = await lab.start("front")
        request = await lab.next_request(run)
        with monkeypatch.context() as patch:
            patch.setattr(requests, "arguments_of", lambda *_: {"input": "wipe everything"})
            await run.approve(request, decided_by="lead")
            with pytest.raises(RunFailedError) as failed:
                await run.result()
        assert failed.value.kind == "ApprovalMismatch"
        assert len(lab.model.requests) == 1


@workflow.defn(sandboxed=False)
class Forger:
    """Starts a tool's activity with an input that somebody has had in hand."""

    @workflow.run
    async def run(self, activity: str, arg: JsonObject) -> JsonObject:
        """Answer with its outcome."""
        outcome: JsonObject = await workflow.execute_activity(
            activity, arg, start_to_close_timeout=timedelta(seconds=30), retry_policy=RetryPolicy(maximum_attempts=1)
        )
        return outcome


FORGERIES: list[tuple[str, JsonObject, str]] = [
    ("wipe", {"arguments": {"target": "everything"}}, "the arguments in hand"),
    ("erase", {}, "tool"),
    ("erase", {"tool": "erase"}, "tool"),
    ("erase", {"tool": "erase", "binding.tool": "erase"}, "the arguments in hand"),
    ("wipe", {"call_id": "c2"}, "call"),
    ("wipe", {"request": "another"}, "request"),
    ("wipe", {"origin.agent_path": ["boss"]}, "agent_path"),
    ("wipe", {"origin.workflow_run": "another"}, "run"),
    ("wipe", {"binding.namespace": "other-tenant"}, "namespace"),
    ("wipe", {"binding.deadline": "2999-01-01T00:00:00Z"}, "the arguments in hand"),
    ("wipe", {"binding.policy_digest": "v1:0"}, "the arguments in hand"),
    ("wipe", {"digest": "v1:0"}, "the arguments in hand"),
    ("wipe", {"binding": None}, "binding"),
]


async def test_an_input_that_was_tampered_with_runs_nothing(make_lab: MakeLab, effects: Effects) -> None:
    """O1: the input of an approved call with anything changed, for another tool, or started by another workflow, is
    refused before the body, and the answer says what is another."""

    @tool(approval=True)
    async def erase(target: str) -> str:
        """Another tool with the same parameters."""
        effects.append(f"erase {target}")
        return "erased"

    agent = Agent("desk", model="m", tools=[*desk(effects).tools, erase])
    lab = await make_lab([agent], script=[WIPE, DONE], workflows=[Forger])
    run = await lab.start("desk")
    await run.approve(await lab.next_request(run), decided_by="lead")
    await run.result()
    [approved] = [
        await lab.client.data_converter.decode(event.activity_task_scheduled_event_attributes.input.payloads)
        async for event in history_of(lab.client.get_workflow_handle(run.id), wait=False)
        if event.activity_task_scheduled_event_attributes.activity_type.name == "handfast.tool.wipe"
    ]

    async def answer(name: str, arg: JsonObject, workflow_id: str) -> tuple[str, str]:
        forged = await lab.client.execute_workflow(
            Forger.run, args=[f"handfast.tool.{name}", arg], id=workflow_id, task_queue=lab.task_queue
        )
        return forged["kind"], forged["reason"]

    for name, changes, why in FORGERIES:
        arg = copy.deepcopy(approved[0])
        for path, value in changes.items():
            *above, field = path.split(".")
            (arg[above[0]] if above else arg)[field] = value
        kind, reason = await answer(name, arg, run.id)
        assert (kind, why in reason) == ("refused", True), (changes, reason)
    kind, reason = await answer("wipe", approved[0], f"{run.id}-other")
    assert (kind, "workflow" in reason) == ("refused", True)
    assert effects == ["wipe t"]


async def test_a_decision_names_a_request_and_a_verdict_and_nothing_else(
    make_lab: MakeLab, effects: Effects, cache: int
) -> None:
    """O2: a client that sends state along (another tool, other arguments, a call id) changes nothing by it."""
    lab = await make_lab([desk(effects)], script=[WIPE, DONE], max_cached_workflows=cache)
    run = await lab.start("desk")
    request = await lab.next_request(run)
    smuggled = {
        "id": request.id,
        "verdict": {"kind": "approve"},
        "decided_by": "lead",
        "tool": "look",
        "call_id": "c9",
        "agent": "other",
        "state": {"calls": []},
        "frame": "7",
    }
    await lab.client.get_workflow_handle(run.id).execute_update("decide", smuggled)
    await run.result()
    assert effects == ["wipe t"]


async def test_every_delivery_of_one_decision_is_one_effect(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """O3: many deliveries of a decision by update and by signal run the tool once; each is told what became of it."""
    lab = await make_lab([desk(effects)], script=[WIPE, DONE], max_cached_workflows=cache)
    run = await lab.start("desk")
    request = await lab.next_request(run)
    handle = lab.client.get_workflow_handle(run.id)
    same = {
        "id": request.id,
        "verdict": {"kind": "approve"},
        "decided_by": "lead",
        "decision_id": "one",
    }
    receipts = await asyncio.gather(
        *(handle.execute_update("decide", same) for _ in range(8)), *(handle.signal("decide", same) for _ in range(8))
    )
    assert sum(1 for receipt in receipts[:8] if not receipt["duplicate"]) <= 1
    with pytest.raises((RequestClosedError, RunEndedError)):
        await run.approve(request, decided_by="someone else", decision_id="two")
    await run.result()
    assert effects == ["wipe t"]
    assert outputs(lab) == [("c1", "wiped t")]


async def test_racing_verdicts_have_one_winner(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """O3: approve and reject at the same moment: one wins, and the others are told who it was."""
    lab = await make_lab([desk(effects)], script=[WIPE, DONE], max_cached_workflows=cache)
    run = await lab.start("desk")
    request = await lab.next_request(run)
    answers = await asyncio.gather(
        *(run.decide(request, Approve() if n % 2 else Reject(reason="no"), decided_by=f"person {n}") for n in range(8)),
        return_exceptions=True,
    )
    winners = [answer for answer in answers if not isinstance(answer, BaseException)]
    assert len(winners) == 1
    for answer in answers:
        if isinstance(answer, RequestClosedError):
            assert answer.facts["closed_by"] == winners[0].decided_by
    await run.result()
    assert effects == (["wipe t"] if winners[0].verdict == "approve" else [])


@pytest.mark.parametrize("mode", ["tell_model", "fail"])
async def test_an_approved_tool_that_raises_is_not_repeated(
    make_lab: MakeLab, effects: Effects, cache: int, mode: Any
) -> None:
    """O5: by default the model reads the error; in raise mode the run fails; either way the call ran once."""

    @tool(approval=True, on_error=mode)
    async def wipe(target: str) -> str:
        """Delete a target."""
        effects.append(target)
        raise OSError("the disk is read-only")

    [look] = [each for each in desk(effects).tools if each.name == "look"]
    lab = await make_lab(
        [Agent("desk", model="m", tools=[wipe, look])],
        script=[Reply(call("wipe", {"target": "t"}, "c1"), call("look", {"check": "fans"}, "c2")), DONE],
        max_cached_workflows=cache,
    )
    run = await lab.start("desk")
    await run.approve(await lab.next_request(run), decided_by="lead")
    if mode == "tell_model":
        await run.result()
        assert outputs(lab) == [("c1", "Error: OSError: the disk is read-only"), ("c2", "fans is fine")]
    else:
        with pytest.raises(RunFailedError, match="the disk is read-only") as failed:
            await run.result()
        assert failed.value.kind == "ToolFailed"
    assert effects.count("t") == 1


@pytest.mark.parametrize(
    ("answer", "read"),
    [
        pytest.param(
            "the disk cannot be written; tell the user", "the disk cannot be written; tell the user", id="worded"
        ),
        pytest.param(None, "Error: OSError: the disk is read-only", id="no-text"),
        pytest.param(RuntimeError("broken"), "Error: OSError: the disk is read-only", id="raises"),
    ],
)
async def test_a_function_words_the_error(
    make_lab: MakeLab, effects: Effects, cache: int, *, answer: Any, read: str
) -> None:
    """O5: a function given as `on_error` says what the model reads; where it gives no text, the default stands."""

    def word(context: ToolContext, error: Exception) -> Any:
        effects.append(f"{context.tool} {type(error).__name__}")
        if isinstance(answer, Exception):
            raise answer
        return answer

    @tool(on_error=word)
    def wipe(target: str) -> str:
        """Delete a target."""
        raise OSError("the disk is read-only")

    lab = await make_lab([Agent("desk", model="m", tools=[wipe])], script=[WIPE, DONE], max_cached_workflows=cache)
    await (await lab.start("desk")).result()
    assert outputs(lab) == [("c1", read)]
    assert effects == ["wipe OSError"]


async def test_a_deadline_decides_by_itself(make_lab: MakeLab, effects: Effects) -> None:
    """A request past its deadline is decided by its default, and a later approval is refused."""

    @tool(approval=Approval(deadline=timedelta(seconds=1)))
    async def wipe(target: str) -> str:
        """Delete a target."""
        effects.append(target)
        return "wiped"

    lab = await make_lab([Agent("desk", model="m", tools=[wipe])], script=[WIPE, DONE])
    run = await lab.start("desk")
    request = await lab.next_request(run)
    assert request.deadline is not None
    await run.result()
    assert outputs(lab) == [("c1", "Nobody decided in time.")]
    assert effects == []


async def test_a_plain_temporal_client_starts_lists_and_decides(make_lab: MakeLab, effects: Effects) -> None:
    """A client without anything of ours starts a run, lists what is pending and decides, with JSON alone."""
    lab: Lab = await make_lab([desk(effects)], script=[WIPE, Reply(text("done"))])
    client: Client = lab.client
    handle = await client.start_workflow(
        "AgentRun", {"agent": "desk", "input": "clean"}, id=f"plain-{lab.task_queue}", task_queue=lab.task_queue
    )
    run = lab.watch(lab.hf.run(handle.id))
    request = await lab.next_request(run)
    [listed] = await handle.query("pending_approvals")
    assert listed["id"] == request.id
    await handle.signal("approve", request.id)
    assert (await handle.result())["output"] == "done"
    assert effects == ["wipe t"]
