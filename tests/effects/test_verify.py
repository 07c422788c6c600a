"""Scenario row P4: a tool that can find out whether a call in doubt took effect resolves the doubt by itself."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel
from temporalio import activity

from handfast import Agent, GiveUp, Handfast, Ran, Run, RunAgain, Signer, ToolContext, activity_tool, tool
from handfast.errors import DecisionUnsignedError, DefinitionError
from handfast.payloads.events import EffectVerified, RequestOpened, ToolCalled, ToolOutput
from handfast.server import EmbeddedServer
from handfast.testing import Reply, call
from handfast.workflows.loop.verdicts import OUTCOME_UNKNOWN
from support.clear import clear, client_with, ring
from support.desk import DONE, outputs
from support.labs import Effects, MakeLab
from support.signing import ring as keys_of

PAY = Reply(call("pay", {"order": "7"}, "c1"))
Verdict = Ran | RunAgain | None


class Bank:
    """The other side: knows which payments came, by their keys, and answers as it was told to."""

    def __init__(self, *answers: Verdict | Exception | str) -> None:
        self._answers = list(answers)
        self.asked: list[tuple[str, Any]] = []
        self.keys: list[str] = []
        self.lost = 1

    async def verify(self, ctx: ToolContext[Any]) -> Any:
        """Answer what is next; the last answer stays."""
        self.asked.append((ctx.idempotency_key, ctx.arguments))
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def agent(self, **options: Any) -> Agent:
        """An agent whose payments do not come back as long as `lost` says so."""

        @tool(timeout=timedelta(seconds=0.3), verify=self.verify, **options)
        async def pay(ctx: ToolContext[Any], order: str) -> str:
            """Pay an order."""
            self.keys.append(ctx.idempotency_key)
            if len(self.keys) <= self.lost:
                await asyncio.Event().wait()
            return f"paid {order}"

        return Agent("till", tools=[pay])


async def test_a_tool_that_knows_what_became_of_its_call_resolves_it(make_lab: MakeLab, cache: int) -> None:
    """P4: asked with the call's own key and arguments, the tool says that it took effect: the model reads that output,
    nothing is repeated, nobody is asked, and the events say who said so."""
    bank = Bank(ConnectionError("busy"), Ran(output={"receipt": 12}))
    lab = await make_lab([bank.agent(approval=True)], script=[PAY, DONE], max_cached_workflows=cache)
    run = await lab.start("till")
    await run.approve(await lab.next_request(run), decided_by="lead")
    assert (await run.result()).output == "done"
    assert outputs(lab) == [("c1", '{"receipt": 12}')]
    assert bank.asked == [(bank.keys[0], {"order": "7"})] * 2
    assert len(bank.keys) == 1
    events = [event async for event in run.events()]
    [verified] = [event for event in events if isinstance(event, EffectVerified)]
    assert (verified.verdict, verified.call_id) == ("ran", "c1")
    assert [(each.output, each.by) for each in events if isinstance(each, ToolOutput)] == [
        ('{"receipt": 12}', "verify")
    ]
    assert len([event for event in events if isinstance(event, RequestOpened)]) == 1


async def test_a_call_that_took_no_effect_runs_again_under_its_key(make_lab: MakeLab, cache: int) -> None:
    """P4: where the tool says that its call took no effect, it runs again with the same key, by itself."""
    bank = Bank(RunAgain())
    lab = await make_lab([bank.agent()], script=[PAY, DONE], max_cached_workflows=cache)
    run = await lab.start("till")
    assert (await run.result()).output == "done"
    assert outputs(lab) == [("c1", "paid 7")]
    assert len(bank.keys) == 2
    assert len(set(bank.keys)) == 1
    told = [event async for event in run.events() if isinstance(event, EffectVerified | ToolCalled)]
    assert [event.type for event in told] == ["tool_called", "effect_verified", "tool_called"]


async def test_a_call_that_never_takes_effect_is_asked_about(make_lab: MakeLab) -> None:
    """P4: after three runs that took no effect, says the tool, a person is asked."""
    bank = Bank(RunAgain())
    bank.lost = 3
    lab = await make_lab([bank.agent(on_unknown="ask")], script=[PAY, DONE])
    run = await lab.start("till")
    doubt = await lab.next_request(run)
    assert doubt.facts is not None
    assert doubt.facts["verify"] == "it took no effect, says verify, after 3 runs"
    await run.decide(doubt, RunAgain(), decided_by="lead")
    assert (await run.result()).output == "done"
    assert outputs(lab) == [("c1", "paid 7")]
    assert len(bank.keys) == 4


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        pytest.param(None, "verify could not tell", id="unknown"),
        pytest.param("yes", "verify answered str, not Ran, RunAgain or None", id="no-answer"),
        pytest.param(ValueError("no such order"), "verify raised ValueError: no such order", id="raises"),
        pytest.param(Ran.model_construct(output=object()), "cannot be given to the model", id="strange-output"),
    ],
)
async def test_a_tool_that_cannot_tell_leaves_the_doubt_to_a_person(
    make_lab: MakeLab, answer: Any, problem: str
) -> None:
    """P4: whatever else verify does, nothing runs again: a person is asked, who reads what was the matter."""
    bank = Bank(answer)
    lab = await make_lab([bank.agent(approval=True)], script=[PAY, DONE])
    run = await lab.start("till")
    await run.approve(await lab.next_request(run), decided_by="lead")
    async with asyncio.timeout(45):
        doubt = await anext(each async for each in run.requests() if each.kind == "in_doubt")
    assert doubt.facts is not None
    assert problem in str(doubt.facts["verify"])
    assert str(doubt.facts["ended"]).startswith("it took longer than its 0.3 s")
    await run.decide(doubt, GiveUp(), decided_by="lead")
    assert (await run.result()).output == "done"
    assert outputs(lab) == [("c1", OUTCOME_UNKNOWN)]
    assert len(bank.keys) == 1


async def test_verify_where_decisions_are_signed_and_payloads_encrypted(
    make_lab: MakeLab, server: EmbeddedServer
) -> None:
    """P4: a call that took no effect runs again by the signed approval that it had, and where that is proven no more a
    person is asked instead; who says what became of a call in doubt signs it; verify's words are in no history."""
    old, new = Signer.generate(), Signer.generate()
    trust = keys_of(old, new)
    retiring: list[str] = []

    class SomeBank(Bank):
        async def verify(self, ctx: ToolContext[Any]) -> Any:
            if retiring:
                trust._keys.pop(retiring.pop())
            return await super().verify(ctx)

    bank = SomeBank(RunAgain(), RunAgain(), Ran(output="r3ceipt"), None)
    lab = await make_lab(
        [bank.agent(approval=True)],
        script=[PAY, DONE] * 4,
        client=await client_with(server, ring("k1")),
        trusted_keys=trust,
        signer=old,
    )

    async def approved() -> Run:
        bank.lost = len(bank.keys) + 1
        run = await lab.start("till")
        await run.approve(await lab.next_request(run), decided_by="lead")
        return run

    run = await approved()
    assert (await run.result()).output == "done"
    assert len(bank.keys) == 2
    assert len(set(bank.keys)) == 1

    retiring.append(old.kid)
    run = await approved()
    async with asyncio.timeout(45):
        again = await anext(each async for each in run.requests() if "proven" in (each.reason or ""))
    assert again.kind == "approval"
    assert len(bank.keys) == 3
    signing = Handfast(lab.client, task_queue=lab.task_queue, signer=new)
    await signing.run(run.id).approve(again, decided_by="lead")
    assert (await run.result()).output == "done"
    assert len(bank.keys) == 4

    lab.hf = signing
    run = await approved()
    assert (await run.result()).output == "done"
    assert lab.model.requests[-1].body["input"][-1]["output"] == "r3ceipt"
    assert [each.by async for each in run.events() if isinstance(each, ToolOutput)] == ["verify"]

    run = await approved()
    async with asyncio.timeout(45):
        doubt = await anext(each async for each in run.requests() if each.kind == "in_doubt")
    with pytest.raises(DecisionUnsignedError):
        await (
            Handfast(lab.client, task_queue=lab.task_queue)
            .run(run.id)
            .decide(doubt, Ran(output="x"), decided_by="lead")
        )
    await run.decide(doubt, Ran(output="said by lead"), decided_by="lead")
    assert (await run.result()).output == "done"
    assert lab.model.requests[-1].body["input"][-1]["output"] == "said by lead"
    assert len(bank.keys) == 6
    for each in lab._runs:
        assert [found for history in await lab.histories(each) for found in clear(history.events)] == []


class Order(BaseModel):
    """What the other team's activity takes."""

    order: str
    key: str


async def test_an_existing_activity_is_verified_too(make_lab: MakeLab, effects: Effects) -> None:
    """P4: of another team's activity that timed out, a function of the agents' own finds out what became of it."""

    @activity.defn(name="pay")
    async def pay(given: Any) -> str:
        effects.append(given["key"])
        await asyncio.Event().wait()
        return "paid"

    async def verify(ctx: ToolContext[Any]) -> Verdict:
        return Ran(output=f"paid {ctx.arguments['order']}") if ctx.idempotency_key in effects else RunAgain()

    paying = activity_tool("pay", input=Order, key_field="key", timeout=timedelta(seconds=0.5), verify=verify)
    lab = await make_lab([Agent("till", tools=[paying])], script=[PAY, DONE], activities=[pay])
    run = await lab.start("till")
    assert (await run.result()).output == "done"
    assert outputs(lab) == [("c1", "paid 7")]
    assert len(effects) == 1


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"verify": "bank"}, "verify must be a function of the tool context"),
        ({"verify": lambda: None}, "verify, given the tool context,"),
        ({"verify": lambda ctx: None, "effect": "idempotent"}, 'verify is for effect="at_most_once"'),
    ],
)
def test_a_verify_that_cannot_work_is_refused(options: dict[str, Any], problem: str) -> None:
    """Whoever defines a tool reads at once what is wrong with its verify."""

    def pay(order: str) -> str:
        """Pay an order."""
        return order

    with pytest.raises(DefinitionError, match=problem):
        tool(**options)(pay)
