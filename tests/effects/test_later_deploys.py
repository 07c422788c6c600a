"""Rows M2, M3, P7, P11, P15 and XH7: what was planned for a call, and the worker that runs it has no more."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest
from pydantic import BaseModel

from handfast import (
    Agent,
    HandfastPlugin,
    Replace,
    Request,
    Run,
    RunContext,
    Tool,
    ToolContext,
    handoff,
    question,
    tool,
)
from handfast.errors import AnswerRefusedError, EditRefusedError
from handfast.history.reader import history_of
from handfast.testing import Lab, Reply, call, text
from handfast.worker import make_worker
from handfast.workflows.loop.verdicts import OUTCOME_UNKNOWN
from support.desk import outputs
from support.labs import Effects, MakeLab
from support.signed_desk import GATEWAY
from support.signing import ring

PAY = Reply(call("pay", {"amount": 7}, "c1"))
DONE = Reply(text("done"))


def desk(effects: Effects, **options: Any) -> Agent:
    """An agent with one tool; *options* are what deploys differ in."""
    return Agent("desk", model="m", tools=[pay(effects, **options)])


def pay(effects: Effects, **options: Any) -> Tool[[int], Any]:
    """The tool."""

    @tool(**{"approval": True, **options})
    async def pay(amount: int) -> str:
        """Pay."""
        effects.append(f"paid {amount}")
        return f"paid {amount} from NL00"

    return pay


def forbid(_ctx: ToolContext, _arguments: object) -> Replace:
    """An input guardrail."""
    return Replace("not today")


def no_numbers(_ctx: ToolContext, _output: object) -> Replace:
    """An output guardrail."""
    return Replace("paid")


async def deployed(lab: Lab, agent: Agent) -> None:
    """Replace the worker by one with other code."""
    await lab.stop_worker()
    await lab.start_worker([agent])


async def asked_next(run: Run, before: Request) -> Request:
    """The request that opens after *before*."""
    async with asyncio.timeout(30):
        async for request in run.requests():
            if request.id != before.id:
                return request
    raise AssertionError(f"{run.id} ended without asking again")


async def test_a_worker_without_the_input_guardrails_runs_no_call_that_has_some(
    make_lab: MakeLab, effects: Effects, cache: int
) -> None:
    """M2: where the worker's tool has no input guardrail, being older or a later deploy, a call that was planned with
    some does not run, approved or not; the run goes on, and its next calls are those of today's code."""
    script = [PAY, Reply(call("pay", {"amount": 8}, "c2")), DONE]
    lab = await make_lab([desk(effects, input_guardrails=[forbid])], script=script, max_cached_workflows=cache)
    run = await lab.start("desk")
    request = await lab.next_request(run)
    await deployed(lab, desk(effects))
    await run.approve(request, decided_by="lead")
    await run.approve(await asked_next(run, request), decided_by="lead")
    await run.result()
    refused = "Error: this call of pay was not run: an input guardrail is not there on this worker"
    assert outputs(lab, 3) == [("c1", refused), ("c2", "paid 8 from NL00")]
    assert effects == ["paid 8"]


async def test_a_worker_without_the_output_guardrails_runs_no_call_that_has_some(
    make_lab: MakeLab, effects: Effects
) -> None:
    """M3: nor does a call that was planned with output guardrails on a worker whose tool has none: nobody would look at
    what it returns."""
    lab = await make_lab([desk(effects, output_guardrails=[no_numbers])], script=[PAY, DONE])
    run = await lab.start("desk")
    request = await lab.next_request(run)
    await deployed(lab, desk(effects))
    await run.approve(request, decided_by="lead")
    await run.result()
    refused = "Error: this call of pay was not run: its output guardrails are not there on this worker"
    assert outputs(lab) == [("c1", refused)]
    assert effects == []


async def test_a_tool_that_may_run_once_by_now_is_not_tried_again(make_lab: MakeLab, effects: Effects) -> None:
    """P11: a later deploy says that the tool runs once at most: a call that was planned as one to be repeated, and
    whose worker stopped in the middle, is in doubt instead."""
    entered = asyncio.Event()

    @tool(effect="idempotent")
    async def pay(amount: int) -> str:
        """Pay."""
        effects.append(f"paid {amount}")
        entered.set()
        await asyncio.Event().wait()
        return "paid"

    lab = await make_lab([Agent("desk", model="m", tools=[pay])], script=[PAY, DONE])
    run = await lab.start("desk")
    async with asyncio.timeout(30):
        await entered.wait()
    await deployed(lab, desk(effects, approval=False))
    await run.result()
    assert effects == ["paid 7"]
    assert outputs(lab) == [("c1", OUTCOME_UNKNOWN)]


async def test_a_handoff_waits_for_a_worker_that_has_its_callback(make_lab: MakeLab, effects: Effects) -> None:
    """P15: a worker whose handoff has no `on_handoff` does not hand over what was planned with one; the worker that has
    it is waited for."""
    billing = Agent("billing", model="m")

    def told(_context: RunContext) -> None:
        effects.append("told")

    def front(**options: Any) -> Agent:
        return Agent("front", model="m", handoffs=[handoff(billing, approval=True, **options)])

    lab = await make_lab([front(on_handoff=told)], script=[Reply(call("transfer_to_billing", {}, "h1")), DONE])
    run = await lab.start("front")
    request = await lab.next_request(run)
    await deployed(lab, front())
    await run.approve(request, decided_by="lead")
    await waits_to_try_again(lab, run)
    await deployed(lab, front(on_handoff=told))
    assert (await run.result()).agent == "billing"
    assert effects == ["told"]


async def test_a_worker_without_the_form_takes_no_answer(make_lab: MakeLab) -> None:
    """P7: an answer to a question that had a form is refused where the worker's question has none, and waits for one
    that can look at it."""

    class Door(BaseModel):
        """Which door."""

        color: str

    asked = Reply(call("ask_person", {"question": "Which door?"}, "q1"))
    lab = await make_lab([Agent("desk", model="m", tools=[question(form=Door)])], script=[asked, DONE])
    run = await lab.start("desk")
    request = await lab.next_request(run)
    await deployed(lab, Agent("desk", model="m", tools=[question()]))
    with pytest.raises(AnswerRefusedError, match="has no form on this worker"):
        await run.answer(request, "any", decided_by="ana")
    await deployed(lab, Agent("desk", model="m", tools=[question(form=Door)]))
    await run.answer(request, {"color": "green"}, decided_by="ana")
    await run.result()


async def test_edited_arguments_never_run_under_the_key_of_others(make_lab: MakeLab, effects: Effects) -> None:
    """P11: where the worker's tool makes no idempotency key (any more), arguments that a person edited are refused, as
    they would run under the key that was planned for others. The request stays open."""

    def by_amount(_context: RunContext, arguments: Any) -> str:
        return f"pay-{arguments.amount}"

    lab = await make_lab([desk(effects, idempotency_key=by_amount)], script=[PAY, DONE])
    run = await lab.start("desk")
    request = await lab.next_request(run)
    await deployed(lab, desk(effects))
    with pytest.raises(EditRefusedError, match="makes no key on this worker"):
        await run.approve(request, decided_by="lead", arguments={"amount": 8})
    await run.approve(request, decided_by="lead")
    await run.result()
    assert effects == ["paid 7"]


async def test_a_worker_without_keys_runs_nothing_that_has_to_be_proven(make_lab: MakeLab, effects: Effects) -> None:
    """XH7: where a tool's own task queue has a worker without keys, a call of a run that takes signed decisions only
    does not run there; a worker that can verify is waited for."""
    queue = f"vault-{uuid.uuid4().hex[:8]}"
    gated = pay(effects, task_queue=queue)
    lab = await make_lab(
        [Agent("desk", model="m", tools=[gated])], script=[PAY, DONE], trusted_keys=ring(GATEWAY), signer=GATEWAY
    )
    async with make_worker(lab.client, HandfastPlugin(tools=[gated]), task_queue=queue):
        run = await lab.start("desk")
        await run.approve(await lab.next_request(run), decided_by="ana")
        await waits_to_try_again(lab, run)
    assert effects == []
    plugin = HandfastPlugin(tools=[gated], trusted_keys=ring(GATEWAY))
    async with make_worker(lab.client, plugin, task_queue=queue):
        await run.result()
    assert effects == ["paid 7"]


async def waits_to_try_again(lab: Lab, run: Run) -> None:
    """Wait until a worker has refused a call, and the run waits before it tries again."""
    async for event in history_of(lab.client.get_workflow_handle(run.id), wait=True):
        if event.HasField("timer_started_event_attributes"):
            return
    raise AssertionError(f"{run.id} ended without waiting")
