"""Scenario rows N: what was spent is counted once, and never lost."""

from __future__ import annotations

from datetime import timedelta

import pytest

from handfast import Agent, RequestUsage, Usage, tool
from handfast.errors import RunCancelledError, RunFailedError
from handfast.payloads.base import json_size
from handfast.testing import Fail, Hang, Reply, call, refusal, text
from handfast.testing.script import Step, Usage as Spent
from handfast.workflows.frame.frame import Frame
from handfast.workflows.state.spending import MOST_REQUESTS, REQUESTS_BYTES, Spending
from support.labs import Effects, MakeLab


def spent(tokens: int) -> Spent:
    """Token counts that tell one reply from another."""
    return Spent(input_tokens=tokens, output_tokens=tokens // 10, cached_tokens=tokens // 2, reasoning_tokens=1)


def counted(*tokens: int) -> Usage:
    """What replies with these counts come to."""
    return Usage(
        requests=len(tokens),
        input_tokens=sum(tokens),
        cached_input_tokens=sum(each // 2 for each in tokens),
        output_tokens=sum(each // 10 for each in tokens),
        reasoning_tokens=len(tokens),
        total_tokens=sum(each + each // 10 for each in tokens),
    )


def desk(effects: Effects) -> Agent:
    """An agent with one gated and one free tool."""

    @tool(approval=True)
    async def wipe(target: str) -> str:
        """Delete a target."""
        effects.append(target)
        return "wiped"

    @tool(effect="read_only")
    async def look() -> str:
        """Look."""
        return "fine"

    return Agent("desk", model="m", tools=[wipe, look])


WIPE = Reply(call("wipe", {"target": "a"}), usage=spent(100))
LOOK = Reply(call("look"), usage=spent(50))


async def test_usage_is_whole_after_pauses(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """N1: over pauses and restarts usage adds up, and the figures of each reply remain, with agent, turn and model."""
    script = [WIPE, WIPE, Reply(text("done"), usage=spent(300))]
    lab = await make_lab([desk(effects)], script=script, max_cached_workflows=cache)
    run = await lab.start("desk")
    for turn in (1, 2):
        async for request in run.requests():
            if request.turn == turn:
                break
        await lab.replace_worker()
        status = await run.status()
        assert status.usage == counted(*[100] * turn)
        assert [each.turn for each in status.by_request] == list(range(1, turn + 1))
        await run.approve(request, decided_by="lead")
    result = await run.result()
    assert result.usage == counted(100, 100, 300)
    assert result.by_request == [
        RequestUsage(agent="desk", agent_path=["desk"], turn=turn, model="m", usage=counted(tokens))
        for turn, tokens in ((1, 100), (2, 100), (3, 300))
    ]


async def test_each_real_attempt_counts_once(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """N3: attempts without a reply count nothing, broken replies count once each, and replays count nothing."""
    script: list[Step] = [
        Fail(500),
        LOOK,
        Reply(usage=spent(20)),
        Reply(text("half"), status="failed", usage=spent(30)),
        Fail(429, retry_after=0.01),
        Reply(text("done"), usage=spent(300)),
    ]
    lab = await make_lab([desk(effects)], script=script, max_cached_workflows=cache)
    run = await lab.start("desk")
    result = await run.result()
    assert result.usage == counted(50, 20, 30, 300)
    assert [(each.turn, each.usage.input_tokens) for each in result.by_request] == [(1, 50), (2, 20), (2, 30), (2, 300)]
    assert len(lab.model.requests) == 6
    await lab.replace_worker()
    assert (await run.status()).usage == result.usage


@pytest.mark.parametrize(
    ("last", "kind"),
    [
        pytest.param([Reply(refusal("no"), usage=spent(70))], "ModelRefusal", id="refusal"),
        pytest.param([Reply(text("hal"), status="incomplete", usage=spent(70))], "ModelIncomplete", id="incomplete"),
        pytest.param([Reply(usage=spent(70))] * 3, "ModelReplyInvalid", id="empty"),
    ],
)
async def test_a_failed_run_keeps_what_it_spent(
    make_lab: MakeLab, effects: Effects, last: list[Reply], kind: str, cache: int
) -> None:
    """N4: the error of a failed run says what was spent, the replies that ended it included, and so does its status."""
    lab = await make_lab([desk(effects)], script=[LOOK, *last], max_cached_workflows=cache)
    run = await lab.start("desk")
    with pytest.raises(RunFailedError) as failed:
        await run.result()
    assert failed.value.kind == kind
    assert failed.value.usage == counted(50, *[70] * len(last))
    status = await run.status()
    assert (status.status, status.usage) == ("failed", counted(50, *[70] * len(last)))
    assert [each.usage.input_tokens for each in status.by_request] == [50, *[70] * len(last)]


async def test_a_cancelled_run_keeps_what_it_spent(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """N4: cancelled during its second model call, a run still says what the first one cost."""
    lab = await make_lab([desk(effects)], script=[LOOK, Hang()], max_cached_workflows=cache)
    run = await lab.start("desk")
    await lab.model.wait_for_request(2)
    await run.cancel("enough")
    with pytest.raises(RunCancelledError) as cancelled:
        await run.result()
    assert cancelled.value.usage == counted(50)
    assert (await run.status()).usage == counted(50)
    await lab.stop_worker()
    with pytest.raises(RunCancelledError) as unknown:
        await run.result(timeout=timedelta(seconds=20))
    assert unknown.value.usage is None
    await lab.start_worker()


async def test_a_stopped_run_keeps_what_it_spent(make_lab: MakeLab, effects: Effects) -> None:
    """N4: told to stop after its turn, a run answers with what it spent."""
    lab = await make_lab([desk(effects)], script=[WIPE])
    run = await lab.start("desk")
    request = await lab.next_request(run)
    await lab.client.get_workflow_handle(run.id).signal("stop", "that will do")
    await run.approve(request, decided_by="lead")
    result = await run.result()
    assert (result.stopped, result.usage) == ("that will do", counted(100))


async def test_nested_replies_are_among_the_figures(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """N2: the figures of a nested agent's replies stand among the root's, once, with the path that leads to it."""
    inner = Agent("inner", model="small", tools=desk(effects).tools)
    outer = Agent("outer", model="m", tools=[inner.as_tool()])
    script = [
        Reply(call("inner", {"input": "look"}), usage=spent(10)),
        WIPE,
        Reply(text("looked"), usage=spent(20)),
        Reply(text("done"), usage=spent(30)),
    ]
    lab = await make_lab([outer], script=script, max_cached_workflows=cache)
    run = await lab.start("outer")
    request = await lab.next_request(run)
    await lab.replace_worker()
    await run.approve(request, decided_by="lead")
    result = await run.result()
    assert result.usage == counted(10, 100, 20, 30)
    assert [(each.agent_path, each.turn, each.model) for each in result.by_request] == [
        (["outer"], 1, "m"),
        (["outer", "inner"], 1, "small"),
        (["outer", "inner"], 2, "small"),
        (["outer"], 2, "m"),
    ]


def test_the_figures_are_bounded() -> None:
    """N1: of very many replies the newest figures are kept, in a bounded number of bytes; the total counts all."""
    kept = Spending([])
    frame = Frame(id="0", agent="a" * 64, agent_path=["a" * 64] * 30)
    for turn in range(MOST_REQUESTS + 500):
        frame.turn = turn
        kept.add(frame, Usage(requests=1, total_tokens=1), "m")
    found = kept.of([frame])
    assert frame.usage.requests == MOST_REQUESTS + 500
    assert found[-1].turn == MOST_REQUESTS + 500
    assert 10 < len(found) < MOST_REQUESTS
    assert sum(json_size(each.to_wire()) for each in found) <= REQUESTS_BYTES
    assert kept.of([frame], room=100) == []
