"""Scenario rows A: parallel calls, some of them gated."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from handfast import Agent, Approval, RunContext, tool
from handfast.testing import Gate, Reply, call
from support.desk import DONE, MIXED, desk, outputs
from support.labs import Effects, MakeLab


@pytest.mark.quick
async def test_free_calls_run_while_gated_ones_wait(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """A1: of [gated, free, gated] the free call runs at once, two approvals wait, and the model is not called again."""
    lab = await make_lab([desk(effects)], script=[MIXED, DONE], max_cached_workflows=cache)
    run = await lab.start("desk")
    pending = await lab.open_requests(run, 2)
    assert [request.arguments for request in pending] == [{"target": "temp"}, {"target": "logs"}]
    assert (await run.status()).status == "waiting"
    assert len(lab.model.requests) == 1
    for request in pending:
        await run.approve(request, decided_by="lead")
    assert (await run.result()).output == "done"
    assert sorted(effects) == ["look fans", "wipe logs", "wipe temp"]


async def test_one_decision_releases_one_call(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """A2: approving the second gated call runs it alone; the first stays pending, and nothing else runs again."""
    ran = asyncio.Event()

    @tool(approval=True)
    async def wipe(target: str) -> str:
        """Delete a target."""
        effects.append(f"wipe {target}")
        ran.set()
        return "wiped"

    [look] = [each for each in desk(effects).tools if each.name == "look"]
    agent = Agent("desk", model="m", tools=[wipe, look])
    lab = await make_lab([agent], script=[MIXED, DONE], max_cached_workflows=cache)
    run = await lab.start("desk")
    first, second = await lab.open_requests(run, 2)
    await run.approve(second, decided_by="lead")
    await asyncio.wait_for(ran.wait(), 20)
    assert [request.id for request in await run.pending()] == [first.id]
    assert "wipe temp" not in effects
    await run.reject(first, decided_by="lead")
    await run.result()
    assert sorted(effects) == ["look fans", "wipe logs"]
    assert len(lab.model.requests) == 2


async def test_rejecting_both_after_a_restart_gives_three_outputs(
    make_lab: MakeLab, effects: Effects, cache: int
) -> None:
    """A3: rejected by a new worker, the next request carries three outputs: the free call's real one and refusals."""
    lab = await make_lab([desk(effects)], script=[MIXED, DONE], max_cached_workflows=cache)
    run = await lab.start("desk")
    pending = await lab.open_requests(run, 2)
    await lab.replace_worker()
    for request in pending:
        await run.reject(request, decided_by="lead", reason=f"not {request.arguments}")
    await run.result()
    assert outputs(lab) == [
        ("c1", "not {'target': 'temp'}"),
        ("c2", "fans is fine"),
        ("c3", "not {'target': 'logs'}"),
    ]
    assert effects == ["look fans"]


async def test_each_call_of_one_tool_needs_its_own_decision(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """A5: five gated calls to the same tool: approving one leaves four that ask."""
    reply = Reply(*(call("wipe", {"target": f"t{n}"}, f"c{n}") for n in range(5)))
    lab = await make_lab([desk(effects)], script=[reply, DONE], max_cached_workflows=cache)
    run = await lab.start("desk")
    pending = await lab.open_requests(run, 5)
    await run.approve(pending[3], decided_by="lead")
    assert len(await run.pending()) == 4
    for request in pending[:3] + pending[4:]:
        await run.reject(request, decided_by="lead")
    await run.result()
    assert effects == ["wipe t3"]


async def test_a_call_repeated_word_for_word_runs_once(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """A6: two identical calls with one id are one call: one request, one effect, one output."""
    twice = Reply(call("wipe", {"target": "t"}, "c1"), call("wipe", {"target": "t"}, "c1"))
    lab = await make_lab([desk(effects)], script=[twice, DONE], max_cached_workflows=cache)
    run = await lab.start("desk")
    [request] = await lab.open_requests(run, 1)
    await run.approve(request, decided_by="lead")
    await run.result()
    assert effects == ["wipe t"]
    assert outputs(lab) == [("c1", "wiped t")]


async def test_different_calls_under_one_id_are_two_calls(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """A6: two different calls with one id each run once, and the model reads an output for each."""
    clash = Reply(call("look", {"check": "a"}, "c1"), call("look", {"check": "b"}, "c1"))
    lab = await make_lab([desk(effects)], script=[clash, DONE], max_cached_workflows=cache)
    run = await lab.start("desk")
    assert (await run.result()).output == "done"
    sent = lab.model.requests[1].body["input"]
    called = [item["call_id"] for item in sent if item["type"] == "function_call"]
    assert len(set(called)) == 2
    assert [item["call_id"] for item in sent if item["type"] == "function_call_output"] == called
    assert sorted(effects) == ["look a", "look b"]


async def test_outputs_go_back_in_the_order_of_the_calls(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """A7: calls that finish and are decided in reverse still give one output each, in the model's order."""
    released = {name: asyncio.Event() for name in ("a", "b", "c")}
    finished: list[str] = []

    @tool(effect="read_only")
    async def slow(name: str) -> str:
        """Wait to be released."""
        await released[name].wait()
        finished.append(name)
        return f"{name} done"

    agent = Agent("desk", model="m", tools=[*desk(effects).tools, slow])
    reply = Reply(
        call("slow", {"name": "a"}, "c1"),
        call("wipe", {"target": "x"}, "c2"),
        call("slow", {"name": "b"}, "c3"),
        call("wipe", {"target": "y"}, "c4"),
        call("slow", {"name": "c"}, "c5"),
    )
    lab = await make_lab([agent], script=[reply, DONE], max_cached_workflows=cache)
    run = await lab.start("desk")
    x, y = await lab.open_requests(run, 2)
    await run.approve(y, decided_by="lead")
    await run.reject(x, decided_by="lead", reason="no")
    for name in ("c", "b", "a"):
        released[name].set()
    await run.result()
    assert outputs(lab) == [
        ("c1", "a done"),
        ("c2", "no"),
        ("c3", "b done"),
        ("c4", "wiped y"),
        ("c5", "c done"),
    ]
    assert sorted(finished) == ["a", "b", "c"]


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param('{"target": ', id="broken-json"),
        pytest.param('["temp"]', id="not-an-object"),
        pytest.param('{"target": NaN}', id="nan"),
        pytest.param('{"target": "a", "target": "b"}', id="duplicate-key"),
        pytest.param('{"target": 7}', id="wrong-type"),
        pytest.param("{}", id="missing"),
        pytest.param('{"target": "t", "force": true}', id="extra"),
    ],
)
async def test_invalid_arguments_ask_nobody(make_lab: MakeLab, effects: Effects, arguments: str, cache: int) -> None:
    """A8: with arguments that break the schema the rule is not called, nobody is asked, and the model reads why."""

    def rule(_context: RunContext, _arguments: object) -> bool:
        effects.append("rule")
        return True

    @tool(approval=rule)
    async def wipe(target: str) -> str:
        """Delete a target."""
        effects.append(f"wipe {target}")
        return "wiped"

    agent = Agent("desk", model="m", tools=[wipe])
    lab = await make_lab([agent], script=[Reply(call("wipe", arguments, "c1")), DONE], max_cached_workflows=cache)
    run = await lab.start("desk")
    assert (await run.result()).output == "done"
    [(_, output)] = outputs(lab)
    assert output.startswith("Error: invalid arguments for wipe")
    assert effects == []


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        pytest.param("raises", "raised ValueError", id="raises"),
        pytest.param("hangs", "took longer than", id="hangs"),
        pytest.param("nonsense", "answered str", id="answers-nonsense"),
    ],
)
async def test_a_rule_that_fails_asks_a_person(
    make_lab: MakeLab, effects: Effects, *, kind: str, reason: str, cache: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A8: a rule that raises, hangs or answers nonsense asks a person, and the request says why."""
    monkeypatch.setattr("handfast.activities.runtime.rules.RULE_S", 0.2)

    async def rule(_context: RunContext, _arguments: object) -> Any:
        if kind == "raises":
            raise ValueError("secret detail")
        if kind == "hangs":
            await asyncio.Event().wait()
        return "yes"

    @tool(approval=rule)
    async def wipe(target: str) -> str:
        """Delete a target."""
        effects.append(target)
        return "wiped"

    script = [Reply(call("wipe", {"target": "t"})), DONE]
    lab = await make_lab([Agent("desk", model="m", tools=[wipe])], script=script, max_cached_workflows=cache)
    run = await lab.start("desk")
    request = await lab.next_request(run)
    assert request.reason is not None
    assert reason in request.reason
    assert "secret" not in request.reason
    await run.reject(request, decided_by="lead")
    await run.result()
    assert effects == []


async def test_rules_that_hang_hold_up_no_tool(
    make_lab: MakeLab, effects: Effects, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rules that block all threads for rules hold up neither other calls nor the model: people are asked, and what
    they approve runs at once."""
    monkeypatch.setattr("handfast.activities.runtime.rules.RULE_S", 0.2)
    go = threading.Event()

    def blocks(_context: RunContext, _arguments: Any) -> bool:
        return go.wait(60)

    @tool(approval=blocks)
    async def wipe(target: str) -> str:
        """Delete a target."""
        effects.append(f"wipe {target}")
        return "wiped"

    agent = Agent("desk", model="m", tools=[wipe])
    many = Reply(*(call("wipe", {"target": str(number)}, f"c{number}") for number in range(40)))
    lab = await make_lab([agent], script=[many, DONE])
    run = await lab.start("desk")
    try:
        requests = await lab.open_requests(run, 40)
        await asyncio.gather(*(run.approve(each, decided_by="lead") for each in requests))
        await run.result()
    finally:
        go.set()
    assert len(effects) == 40
    assert {output for _, output in outputs(lab)} == {"wiped"}


async def test_a_rule_is_asked_once(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """A9: a rule's answer is recorded: replay, a restart and the decision do not evaluate it again."""

    def rule(_context: RunContext, arguments: Any) -> Approval | None:
        effects.append(f"rule {arguments.target}")
        return Approval(reason="big") if arguments.target == "big" else None

    @tool(approval=rule)
    async def wipe(target: str) -> str:
        """Delete a target."""
        effects.append(f"wipe {target}")
        return "wiped"

    agent = Agent("desk", model="m", tools=[wipe])
    reply = Reply(call("wipe", {"target": "big"}), call("wipe", {"target": "small"}))
    lab = await make_lab([agent], script=[reply, Gate("hold", DONE)], max_cached_workflows=cache)
    run = await lab.start("desk")
    request = await lab.next_request(run)
    assert request.reason == "big"
    await lab.replace_worker()
    await run.approve(request, decided_by="lead")
    lab.model.open("hold")
    await run.result()
    assert sorted(effects) == ["rule big", "rule small", "wipe big", "wipe small"]


async def test_a_call_id_of_an_earlier_turn_is_a_new_call(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """A6: a model that takes the same call id again in a later turn makes a new call, with an output of its own."""
    script = [Reply(call("look", {"check": "a"}, "c1")), Reply(call("look", {"check": "b"}, "c1")), DONE]
    lab = await make_lab([desk(effects)], script=script, max_cached_workflows=cache)
    run = await lab.start("desk")
    assert (await run.result()).output == "done"
    assert effects == ["look a", "look b"]
    assert [output for _, output in outputs(lab, 3)] == ["a is fine", "b is fine"]
    assert lab.model.violations == []
