"""Scenario rows C: decisions that hold for the run."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from handfast import Agent, Approval, Match, Ran, Rejection, Remember, Request, Run, RunContext, tool
from handfast.errors import NotAnApproverError, RememberRefusedError
from handfast.payloads.requests import Answer
from handfast.testing import Lab, Reply, Script, call, text
from support.desk import outputs
from support.evidence import failed_tasks, logged
from support.labs import Effects, MakeLab

DONE = Reply(text("done"))


def desk(effects: Effects, approval: Any = True, **options: Any) -> Agent:
    """An agent with two gated tools."""

    @tool(approval=approval)
    async def wipe(target: str, times: int = 1) -> str:
        """Delete a target."""
        effects.append(f"wipe {target}")
        return f"wiped {target}"

    @tool(approval=approval)
    async def run(command: str, where: str = "here") -> str:
        """Run a command."""
        effects.append(f"run {command}")
        return f"ran {command}"

    return Agent("desk", model="m", tools=[wipe, run], **options)


def wipe(call_id: str, target: str = "temp", **arguments: Any) -> Reply:
    """A reply with one call."""
    return Reply(call("wipe", {"target": target, **arguments}, call_id))


def command(call_id: str, line: str, **arguments: Any) -> Reply:
    """A reply with one call."""
    return Reply(call("run", {"command": line, **arguments}, call_id))


async def test_an_approval_for_the_tool_holds_for_the_run(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """C1: after "always" the tool runs without asking, also for calls that were waiting; other tools still ask."""
    siblings = Reply(*(call("wipe", {"target": f"t{n}"}, f"c{n}") for n in range(3)))
    script = [siblings, wipe("c4", "later"), command("c5", "ls"), DONE]
    lab = await make_lab([desk(effects)], script=script, max_cached_workflows=cache)
    run = await lab.start("desk")
    first, *_ = await lab.open_requests(run, 3)
    receipt = await run.approve(first, decided_by="ann", remember="tool")
    assert receipt.state == "recorded"
    other = await lab.next_request(run)
    assert other.tool == "run"
    assert sorted(effects) == ["wipe later", "wipe t0", "wipe t1", "wipe t2"]
    used = await logged(lab, run, "decided", 3)
    assert [step.by for step in used] == ["ann"] * 3
    assert [step.why for step in used] == [None, f"remembered from {first.id}", f"remembered from {first.id}"]
    [released] = await logged(lab, run, "remembered", 1)
    assert (released.request, released.by, released.why) == (first.id, "ann", "desk: wipe c4")
    await run.reject(other, decided_by="ann")
    await run.result()
    assert lab.model.violations == []
    assert await failed_tasks(lab, run) == 0


async def test_an_approval_for_exactly_these_arguments(make_lab: MakeLab, effects: Effects) -> None:
    """C1: remembered for its arguments, the same call runs again, in whatever order they stand, and another asks."""
    same = Reply(call("wipe", {"times": 2, "target": "temp"}, "c2"))
    lab = await make_lab([desk(effects)], script=[wipe("c1", times=2), same, wipe("c3", times=3), DONE])
    run = await lab.start("desk")
    first = await lab.next_request(run)
    await run.approve(first, decided_by="ann", remember="arguments")
    third = await lab.next_request(run)
    assert third.arguments == {"target": "temp", "times": 3}
    assert effects == ["wipe temp", "wipe temp"]
    await run.reject(third, decided_by="ann")
    await run.result()


def worded(_context: RunContext, rejection: Rejection) -> str:
    """Words a rejection."""
    return f"{rejection.decided_by} said no to {rejection.arguments['target']}"


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        pytest.param("never wipe", ["never wipe", "never wipe", "never wipe"], id="reason"),
        pytest.param(None, ["ann said no to a", "ann said no to b", "ann said no to c"], id="worded"),
    ],
)
async def test_a_rejection_holds_with_its_message(
    make_lab: MakeLab, effects: Effects, cache: int, reason: str | None, expected: list[str]
) -> None:
    """C2: after "never" later calls and waiting ones are rejected without asking, in the same words."""
    both = Reply(call("wipe", {"target": "a"}, "c1"), call("wipe", {"target": "b"}, "c2"))
    agent = desk(effects, rejection_text=worded)
    lab = await make_lab([agent], script=[both, wipe("c3", "c"), DONE], max_cached_workflows=cache)
    run = await lab.start("desk")
    first, _ = await lab.open_requests(run, 2)
    await run.reject(first, decided_by="ann", reason=reason, remember="tool")
    assert (await run.result()).output == "done"
    assert [output for _, output in outputs(lab, 3)] == expected
    assert effects == []
    assert lab.model.violations == []


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["sticky-first", "explicit-first"])
@pytest.mark.parametrize("way", ["stored", "updates"])
async def test_an_explicit_decision_wins_for_its_call_only(
    make_lab: MakeLab, effects: Effects, cache: int, order: tuple[int, int], way: str
) -> None:
    """C3: "always" for the tool and "no" to one of its waiting calls, in one workflow task and either order: the no
    counts for that call, the always for all others."""
    three = Reply(*(call("wipe", {"target": f"t{n}"}, f"c{n}") for n in range(3)))
    lab = await make_lab([desk(effects)], script=[three, wipe("c4", "t4"), DONE], max_cached_workflows=cache)
    run = await lab.start("desk")
    a, b, _ = await lab.open_requests(run, 3)
    messages: list[tuple[str, dict[str, Any]]] = [
        ("approve", {"id": a.id, "decided_by": "ann", "remember": "tool"}),
        ("reject", {"id": b.id, "decided_by": "bob", "reason": "not this one"}),
    ]
    handle = lab.client.get_workflow_handle(run.id)
    if way == "stored":
        await lab.stop_worker()
        for index in order:
            await handle.signal(*messages[index])
        await lab.start_worker()
    else:
        await run.reject(b, decided_by="bob", reason="not this one")
        await run.approve(a, decided_by="ann", remember="tool")
    await run.result()
    assert outputs(lab) == [("c0", "wiped t0"), ("c1", "not this one"), ("c2", "wiped t2")]
    assert sorted(effects) == ["wipe t0", "wipe t2", "wipe t4"]
    assert lab.model.violations == []


async def test_a_later_decision_for_the_same_calls_replaces_the_earlier(make_lab: MakeLab, effects: Effects) -> None:
    """C3: what is remembered last for the same calls holds; what is said of fewer calls goes before."""
    two = Reply(call("wipe", {"target": "a"}, "c1"), call("wipe", {"target": "b"}, "c2"))
    lab = await make_lab([desk(effects)], script=[two, wipe("c3", "a"), wipe("c4", "c"), DONE])
    run = await lab.start("desk")
    await lab.open_requests(run, 2)
    first, second = await run.pending()
    await lab.stop_worker()
    handle = lab.client.get_workflow_handle(run.id)
    await handle.signal("approve", {"id": first.id, "decided_by": "ann", "remember": "arguments"})
    await handle.signal("reject", {"id": second.id, "decided_by": "ann", "reason": "no", "remember": "tool"})
    await lab.start_worker()
    await run.result()
    assert effects == ["wipe a", "wipe a"]
    assert outputs(lab, 4)[-1] == ("c4", "no")


async def test_a_remembered_decision_outlives_the_worker_and_not_the_run(
    make_lab: MakeLab, effects: Effects, cache: int
) -> None:
    """C4: after a restart the decision still holds; a new run starts without it."""
    script = [wipe("c1", "a"), wipe("c2", "b"), wipe("c3", "c"), DONE, wipe("d1", "d"), DONE]
    lab = await make_lab([desk(effects)], script=script, max_cached_workflows=cache)
    run = await lab.start("desk")
    await run.approve(await lab.next_request(run), decided_by="ann", remember="tool")
    await lab.replace_worker()
    await run.result()
    assert effects == ["wipe a", "wipe b", "wipe c"]
    fresh = await lab.start("desk")
    request = await lab.next_request(fresh)
    assert request.arguments == {"target": "d"}
    await fresh.reject(request, decided_by="ann")
    await fresh.result()


def two_agents(effects: Effects) -> list[Agent]:
    """Two agents that share a gated tool, one handing over to the other."""
    first = desk(effects)
    second = Agent("back", model="m", tools=first.tools)
    return [Agent("desk", model="m", tools=first.tools, handoffs=[second]), second]


@pytest.mark.parametrize("scope", ["agent", "run"])
async def test_another_agents_tool_of_the_same_name_asks_again(make_lab: MakeLab, effects: Effects, scope: Any) -> None:
    """C5: after a handoff the same tool asks again, unless the decision was given for the whole run."""
    over = Reply(call("transfer_to_back", {}, "h1"))
    lab = await make_lab(two_agents(effects), script=[wipe("c1", "a"), over, wipe("c2", "b"), DONE])
    run = await lab.start("desk")
    first = await lab.next_request(run)
    await run.approve(first, decided_by="ann", remember=Remember(of="tool", scope=scope))
    if scope == "agent":
        second = await lab.next_request(run)
        assert (second.agent, second.arguments) == ("back", {"target": "b"})
        await run.reject(second, decided_by="ann")
    await run.result()
    assert effects == (["wipe a"] if scope == "agent" else ["wipe a", "wipe b"])


async def test_what_has_no_whole_identity_is_decided_once(make_lab: MakeLab, effects: Effects) -> None:
    """C6: an answer, or edited arguments, stand for one call alone: to remember them is refused, the request stays
    open, and the same decision without it is taken."""
    lab = await make_lab([desk(effects)], script=[wipe("c1"), wipe("c2"), DONE])
    run = await lab.start("desk")
    request = await lab.next_request(run)
    with pytest.raises(RememberRefusedError, match="answer is an answer to one call"):
        await run.decide(request, Answer(output="x"), decided_by="ann", remember="tool")
    with pytest.raises(RememberRefusedError, match="with other arguments is about this call alone"):
        await run.approve(request, decided_by="ann", arguments={"target": "x"}, remember="tool")
    assert [each.id for each in await run.pending()] == [request.id]
    await run.approve(request, decided_by="ann")
    await run.reject(await lab.next_request(run), decided_by="ann")
    await run.result()
    assert effects == ["wipe temp"]


async def test_a_call_in_doubt_is_decided_alone(make_lab: MakeLab, effects: Effects) -> None:
    """C6: a request that is about one attempt, and not about a kind of call, cannot be remembered."""

    @tool(on_unknown="ask", timeout=timedelta(seconds=1))
    async def wait() -> str:
        """Take too long."""
        await asyncio.Event().wait()
        return "never"

    lab = await make_lab([Agent("desk", model="m", tools=[wait])], script=[Reply(call("wait", {}, "c1")), DONE])
    run = await lab.start("desk")
    request = await lab.next_request(run)
    assert request.kind == "in_doubt"
    with pytest.raises(RememberRefusedError, match="kind in_doubt"):
        await run.decide(request, Ran(output="it did"), decided_by="ann", remember="tool")
    await run.decide(request, Ran(output="it did"), decided_by="ann")
    await run.result()
    assert outputs(lab) == [("c1", "it did")]


async def test_arguments_that_a_request_shows_in_part_are_compared_whole(make_lab: MakeLab, effects: Effects) -> None:
    """C6: above 16 KB the request shows a preview; what is remembered are the whole arguments."""
    long, other = "x" * 20_000, "x" * 19_999 + "y"
    lab = await make_lab([desk(effects)], script=[wipe("c1", long), wipe("c2", long), wipe("c3", other), DONE])
    run = await lab.start("desk")
    request = await lab.next_request(run)
    assert request.arguments is None
    await run.approve(request, decided_by="ann", remember="arguments")
    third = await lab.next_request(run)
    assert effects == [f"wipe {long}"] * 2
    await run.reject(third, decided_by="ann")
    await run.result()


async def test_a_pattern_releases_what_fits_and_nothing_else(make_lab: MakeLab, effects: Effects) -> None:
    """C1: remembered by a pattern, calls that fit run; a compound command and another place ask."""
    script = [
        command("c1", "pytest tests/unit"),
        command("c2", "pytest tests/spec -x"),
        command("c3", "pytest; rm -r x"),
        command("c4", "pytest tests", where="there"),
        DONE,
    ]
    lab = await make_lab([desk(effects)], script=script)
    run = await lab.start("desk")
    await run.approve(await lab.next_request(run), decided_by="ann", remember=Match(command="pytest *"))
    compound = await lab.next_request(run)
    assert compound.arguments == {"command": "pytest; rm -r x"}
    await run.reject(compound, decided_by="ann", reason="no")
    elsewhere = await lab.next_request(run)
    assert elsewhere.arguments == {"command": "pytest tests", "where": "there"}
    await run.reject(elsewhere, decided_by="ann", reason="no")
    await run.result()
    assert effects == ["run pytest tests/unit", "run pytest tests/spec -x"]


@pytest.mark.parametrize(
    ("patterns", "problem"),
    [
        ({"comand": "ls *"}, "comand is no argument of this call"),
        ({"times": "2"}, "times is no text"),
        ({"target": "other *"}, "does not fit this very call"),
    ],
)
async def test_a_pattern_that_does_not_fit_its_own_call_is_refused(
    make_lab: MakeLab, effects: Effects, patterns: dict[str, str], problem: str
) -> None:
    """C6: a pattern for an unknown or other than text parameter, or that misses the decided call, is refused."""
    lab = await make_lab([desk(effects)], script=[wipe("c1", "temp files", times=2), DONE])
    run = await lab.start("desk")
    request = await lab.next_request(run)
    with pytest.raises(RememberRefusedError, match=problem):
        await run.approve(request, decided_by="ann", remember=Remember(of="match", match=patterns))
    assert [each.id for each in await run.pending()] == [request.id]
    await run.reject(request, decided_by="ann")
    await run.result()
    assert effects == []


async def test_a_malformed_wish_changes_nothing(make_lab: MakeLab, effects: Effects) -> None:
    """C1: a signal whose `remember` cannot be read, or is too wide, decides nothing; the run stays healthy."""
    lab = await make_lab([desk(effects)], script=[wipe("c1"), wipe("c2"), DONE])
    run = await lab.start("desk")
    request = await lab.next_request(run)
    wishes: list[Any] = [
        "always",
        7,
        True,
        [],
        {},
        {"for": "everything"},
        {"for": "tool", "scope": "world"},
        {"for": "tool", "match": {"target": "temp"}},
        {"match": {}},
        {"match": {"target": "*"}},
        {"match": {"target": 7}},
        {"match": {"target": "temp; x"}},
        {"match": {f"p{n}": "x" for n in range(30)}},
        {"match": {"target": "x" * 5000}},
        {"of": "match"},
        {"match": {"other": "temp"}},
    ]
    handle = lab.client.get_workflow_handle(run.id)
    for wish in wishes:
        await handle.signal("approve", {"id": request.id, "decided_by": "ann", "remember": wish})
    refused = await logged(lab, run, "refused", len(wishes))
    assert len(refused) == len(wishes)
    assert [each.id for each in await run.pending()] == [request.id]
    assert effects == []
    await run.approve(request, decided_by="ann")
    await run.reject(await lab.next_request(run), decided_by="ann")
    await run.result()
    assert effects == ["wipe temp"]
    assert await failed_tasks(lab, run) == 0


async def both_open(make_lab: MakeLab, effects: Effects, rule: Any, **options: Any) -> tuple[Lab, Run, list[Request]]:
    """A run that waits for two calls of one tool, a small and a large one."""
    two = Reply(call("wipe", {"target": "a"}, "c1"), call("wipe", {"target": "b", "times": 9}, "c2"))
    lab = await make_lab([desk(effects, approval=rule)], script=[two, DONE], **options)
    run = await lab.start("desk", requested_by="rita")
    return lab, run, await lab.open_requests(run, 2)


async def test_what_is_remembered_does_not_answer_for_other_approvers(make_lab: MakeLab, effects: Effects) -> None:
    """C1: an "always" by somebody who may decide small calls leaves those that others have to decide waiting."""

    def rule(_context: RunContext, arguments: Any) -> Approval:
        return Approval(approvers=["ann"] if getattr(arguments, "times", 1) < 5 else ["boss"])

    _, run, [small, large] = await both_open(make_lab, effects, rule)
    with pytest.raises(NotAnApproverError):
        await run.approve(small, decided_by="boss", remember="tool")
    await run.approve(small, decided_by="ann", remember="tool")
    assert [each.id for each in await run.pending()] == [large.id]
    await run.approve(large, decided_by="boss")
    await run.result()
    assert effects == ["wipe a", "wipe b"]


async def test_the_spelling_of_approvers_makes_no_other_people(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """C1: a waiting call whose rule spells the same people in another way is answered too; one of others is not."""

    def rule(_context: RunContext, arguments: Any) -> Approval:
        spelled = {1: ["Ann", "bob", "group:ops"], 2: ["group:ops", "user:BOB", "ann "]}.get(arguments.times)
        return Approval(approvers=spelled or ["boss"])

    script = [Reply(*(call("wipe", {"target": f"t{n}", "times": n}, f"c{n}") for n in (1, 2, 3))), DONE]
    lab = await make_lab([desk(effects, rule)], script=script, max_cached_workflows=cache)
    run = await lab.start("desk")
    first, _, other = await lab.open_requests(run, 3)
    await run.approve(first, decided_by="ann", remember="tool")
    await logged(lab, run, "decided", 2)
    assert [each.id for each in await run.pending()] == [other.id]
    await run.reject(other, decided_by="boss")
    await run.result()
    assert sorted(effects) == ["wipe t1", "wipe t2"]


async def test_a_quorum_is_asked_each_time(make_lab: MakeLab, effects: Effects) -> None:
    """C6: where several people have to approve, no vote is remembered."""
    _, run, requests = await both_open(make_lab, effects, Approval(quorum=2))
    with pytest.raises(RememberRefusedError, match="several people"):
        await run.approve(requests[0], decided_by="ann", remember="tool")
    for request in requests:
        await run.reject(request, decided_by="ann")
    await run.result()
    assert effects == []


async def test_an_approval_reaches_every_loop_of_the_run(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """C1: two loops of one agent, each with a call of the tool that waits: an "always" to one releases the other's."""
    wiper = desk(effects)
    nested = Agent("wiper", description="Wipes.", model="m", tools=wiper.tools)
    triage = Agent("triage", instructions="You are triage.", model="m", tools=[nested.as_tool()])
    both = Reply(call("wiper", {"input": "left"}, "o1"), call("wiper", {"input": "right"}, "o2"))
    script = Script.per_conversation(
        {
            "start": [both, DONE],
            "left": [wipe("l1", "left"), wipe("l2", "left again"), Reply(text("left done"))],
            "right": [wipe("r1", "right"), Reply(text("right done"))],
        }
    )
    lab = await make_lab([triage], script=script, max_cached_workflows=cache)
    run = await lab.start("triage", "start")
    first, second = await lab.open_requests(run, 2)
    assert first.frame != second.frame
    await run.approve(first, decided_by="ann", remember="tool")
    assert (await run.result()).output == "done"
    assert sorted(effects) == ["wipe left", "wipe left again", "wipe right"]
    assert await failed_tasks(lab, run) == 0
