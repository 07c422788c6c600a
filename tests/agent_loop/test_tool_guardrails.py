"""Scenario rows M2 and M3: guardrails of tools."""

from __future__ import annotations

from typing import Any

import pytest

from handfast import Agent, Allow, Fail, Replace, Run, ToolContext, ToolInputGuardrail, tool
from handfast.errors import RunFailedError
from handfast.payloads.tool_call import ToolOutcome
from handfast.testing import Lab, Reply, call, text
from support.desk import outputs
from support.labs import Effects, MakeLab
from support.outputs import tool_outcomes

DONE = Reply(text("done"))
PAY = Reply(call("pay", {"amount": 7}, "c1"))


def agent(effects: Effects, *, approval: bool = True, **options: Any) -> Agent:
    """An agent whose one tool has guardrails."""

    @tool(approval=approval, **options)
    async def pay(amount: int) -> dict[str, int]:
        """Pay."""
        effects.append(f"paid {amount}")
        return {"paid": amount}

    return Agent("desk", model="m", tools=[pay])


def raising(_ctx: ToolContext, _subject: object) -> None:
    """A guardrail with a bug."""
    raise KeyError("the secret 4711")


async def test_input_guardrails_see_what_a_person_approved(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """M2: by default an input guardrail is asked after the approval, just before the call, about what will run."""

    def look(ctx: ToolContext, arguments: Any) -> Allow:
        effects.append(f"looked at {arguments.amount} of {ctx.tool} {ctx.call_id} {ctx.arguments}")
        return Allow()

    lab = await make_lab([agent(effects, input_guardrails=[look])], script=[PAY, DONE], max_cached_workflows=cache)
    run = await lab.start("desk")
    request = await lab.next_request(run)
    assert effects == []
    await run.approve(request, decided_by="lead", arguments={"amount": 5})
    await run.result()
    assert effects == ["looked at 5 of pay c1 {'amount': 5}", "paid 5"]


@pytest.mark.parametrize(
    ("verdict", "read"),
    [
        pytest.param(Replace("not today"), "not today", id="text"),
        pytest.param(Replace({"paid": 0}), '{"paid": 0}', id="json"),
        pytest.param(Replace(""), "", id="empty"),
    ],
)
async def test_a_guardrail_stops_an_approved_call(
    make_lab: MakeLab, effects: Effects, verdict: Replace, read: str, cache: int
) -> None:
    """M2: what an input guardrail answers with Replace is the call's output, and the tool does not run."""

    async def stop(_ctx: ToolContext, _arguments: object) -> Replace:
        return verdict

    lab = await make_lab([agent(effects, input_guardrails=[stop])], script=[PAY, DONE], max_cached_workflows=cache)
    run = await lab.start("desk")
    await run.approve(await lab.next_request(run), decided_by="lead")
    await run.result()
    assert outputs(lab) == [("c1", read)]
    assert effects == []
    assert lab.model.violations == []


async def test_rejected_before_approval_nobody_is_asked(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """M2: with before_approval a guardrail is asked before a person, and again before the call; what it stops opens
    no request."""

    def small(ctx: ToolContext, arguments: Any) -> Replace | None:
        effects.append(f"looked at {arguments.amount} as {ctx.agent}")
        return Replace("too much") if arguments.amount > 5 else None

    script = [PAY, Reply(call("pay", {"amount": 5}, "c2")), Reply(text("done"))]
    lab = await make_lab(
        [agent(effects, input_guardrails=[ToolInputGuardrail(small, before_approval=True)])],
        script=script,
        max_cached_workflows=cache,
    )
    run = await lab.start("desk")
    request = await lab.next_request(run)
    assert request.arguments == {"amount": 5}
    assert effects == ["looked at 7 as desk", "looked at 5 as desk"]
    await run.approve(request, decided_by="lead", arguments={"amount": 6})
    await run.result()
    assert effects[2:] == ["looked at 6 as desk"]
    assert outputs(lab, 3) == [("c1", "too much"), ("c2", "too much")]


@pytest.mark.parametrize("before_approval", [False, True])
async def test_a_guardrail_fails_the_run(
    make_lab: MakeLab, effects: Effects, before_approval: bool, cache: int
) -> None:
    """M2: Fail ends the run as GuardrailTripped with the reason, before or after the approval; nothing ran. A reason
    that is no valid Unicode, as where it quotes what was checked, does not take the failure's type away."""

    def forbid(_ctx: ToolContext, _arguments: object) -> Fail:
        return Fail("stolen card \ud800")

    lab = await make_lab(
        [agent(effects, input_guardrails=[ToolInputGuardrail(forbid, before_approval=before_approval)])],
        script=[PAY],
        max_cached_workflows=cache,
    )
    run = await lab.start("desk")
    if not before_approval:
        await run.approve(await lab.next_request(run), decided_by="lead")
    with pytest.raises(RunFailedError, match="stolen card \ufffd") as failed:
        await run.result()
    assert failed.value.kind == "GuardrailTripped"
    assert effects == []


def answering_nonsense(_ctx: ToolContext, _subject: object) -> Any:
    """A guardrail that answers what it must not."""
    return "fine"


@pytest.mark.parametrize(
    ("guardrail", "why"),
    [
        pytest.param(raising, "an input guardrail raised KeyError", id="raises"),
        pytest.param(answering_nonsense, "an input guardrail answered str", id="nonsense"),
    ],
)
@pytest.mark.parametrize("before_approval", [False, True])
async def test_a_guardrail_that_cannot_judge_stops_the_call(
    make_lab: MakeLab, effects: Effects, guardrail: Any, why: str, before_approval: bool
) -> None:
    """M2: an input guardrail that raises or answers nonsense fails closed: the call does not run, the run goes on."""
    lab = await make_lab(
        [
            agent(
                effects,
                approval=False,
                input_guardrails=[ToolInputGuardrail(guardrail, before_approval=before_approval)],
            )
        ],
        script=[PAY, DONE],
    )
    await (await lab.start("desk")).result()
    [(_, output)] = outputs(lab)
    assert why in output
    assert "4711" not in output
    assert effects == []


async def ended(lab: Lab, run: Run) -> ToolOutcome:
    """The one recorded outcome."""
    [outcome] = await tool_outcomes(lab, run)
    return outcome


async def test_an_output_guardrail_puts_something_in_its_place(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """M3: output guardrails see what the tool returned, one after the other; the model reads what they leave."""

    def first(_ctx: ToolContext, output: Any) -> Replace:
        return Replace({"paid": output["paid"], "checked": True})

    async def second(_ctx: ToolContext, output: Any) -> Replace | None:
        return Replace(output | {"twice": True})

    lab = await make_lab(
        [agent(effects, approval=False, output_guardrails=[first, second])],
        script=[PAY, DONE],
        max_cached_workflows=cache,
    )
    await (await lab.start("desk")).result()
    assert outputs(lab) == [("c1", '{"paid": 7, "checked": true, "twice": true}')]


async def test_an_output_guardrail_that_fails_keeps_the_output(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """M3: an output guardrail that raises after the effect withholds the output from the model; it is kept in the
    record, and the tool is not executed again."""
    lab = await make_lab([agent(effects, output_guardrails=[raising])], script=[PAY, DONE], max_cached_workflows=cache)
    run = await lab.start("desk")
    await run.approve(await lab.next_request(run), decided_by="lead")
    await run.result()
    [(_, output)] = outputs(lab)
    assert output == (
        "The tool ran, but its output was withheld: a guardrail raised KeyError. Do not run it again to see it."
    )
    assert (await ended(lab, run)).withheld == '{"paid": 7}'
    assert effects == ["paid 7"]


async def test_an_output_guardrail_fails_the_run(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """M3: Fail after the effect ends the run as GuardrailTripped; the output is in the record, the tool ran once."""

    def forbid(_ctx: ToolContext, output: Any) -> Fail:
        return Fail(f"paid {output['paid']} in the wrong currency")

    lab = await make_lab(
        [agent(effects, approval=False, output_guardrails=[forbid])], script=[PAY], max_cached_workflows=cache
    )
    run = await lab.start("desk")
    with pytest.raises(RunFailedError, match="pay: paid 7 in the wrong currency") as failed:
        await run.result()
    assert failed.value.kind == "GuardrailTripped"
    assert (await ended(lab, run)).output == '{"paid": 7}'
    assert effects == ["paid 7"]
