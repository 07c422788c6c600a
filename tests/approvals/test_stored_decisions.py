"""Decisions that pile up while no worker runs: whatever they hold, the run goes on when one returns."""

from __future__ import annotations

import asyncio

import pytest

from handfast import Agent, tool
from handfast.activities.evaluate.decisions import check_arguments
from handfast.activities.evaluate.evaluate import ANSWERS
from handfast.activities.runtime.runtime import Runtime
from handfast.errors import EditRefusedError, RequestClosedError
from handfast.payloads.base import Payload
from handfast.payloads.evaluation import ArgumentsChecked, CheckArguments
from handfast.testing import Reply, call
from support.desk import DONE, desk, outputs
from support.evidence import failed_tasks
from support.labs import Effects, MakeLab


def many(count: int) -> Reply:
    """One reply with *count* gated calls."""
    return Reply(*(call("wipe", {"target": f"t{n}"}, f"c{n}") for n in range(count)))


async def test_forty_long_reasons_do_not_stop_the_run(make_lab: MakeLab, effects: Effects) -> None:
    """Forty rejections of 60 KB each, stored while no worker ran, all reach the model, word for word."""
    lab = await make_lab([desk(effects)], script=[many(40), DONE])
    run = await lab.start("desk")
    pending = await lab.open_requests(run, 40)
    await lab.stop_worker()
    handle = lab.client.get_workflow_handle(run.id)
    reason = "because " * 7500
    await asyncio.gather(*(handle.signal("reject", {"id": each.id, "reason": reason}) for each in pending))
    await lab.start_worker()
    assert (await run.result()).output == "done"
    assert {output for _, output in outputs(lab)} == {reason}
    assert await failed_tasks(lab, run) == 0
    assert await run.pending() == []


async def test_eighty_edited_approvals_do_not_end_the_run(make_lab: MakeLab, effects: Effects) -> None:
    """Eighty approvals with 50 KB of edited arguments each, stored while no worker ran, all run what was edited."""

    @tool(approval=True, effect="at_most_once")
    async def wipe(target: str) -> str:
        """Delete a target."""
        effects.append(target)
        return "wiped"

    # Cached, whatever the profile: to replay megabytes at each of hundreds of tasks takes minutes.
    lab = await make_lab([Agent("desk", model="m", tools=[wipe])], script=[many(80), DONE], max_cached_workflows=100)
    run = await lab.start("desk")
    pending = await lab.open_requests(run, 80)
    await lab.stop_worker()
    handle = lab.client.get_workflow_handle(run.id)
    edited = [f"{number:02}".ljust(50_000, "x") for number in range(80)]
    await asyncio.gather(
        *(
            handle.signal("approve", {"id": each.id, "arguments": {"target": target}, "decided_by": "lead"})
            for each, target in zip(pending, edited, strict=True)
        )
    )
    await lab.start_worker()
    assert (await run.result()).output == "done"
    assert sorted(effects) == edited
    assert await failed_tasks(lab, run) == 0


async def test_many_calls_with_arguments_near_the_inline_limit_all_run(make_lab: MakeLab, effects: Effects) -> None:
    """250 calls of one reply with 6 KB of arguments each fit into what one task may send."""

    @tool(effect="read_only")
    async def read(text: str) -> str:
        """Read a text."""
        effects.append(text[:4])
        return "read"

    reply = Reply(*(call("read", {"text": f"{n:04}".ljust(6000, "x")}, f"c{n}") for n in range(250)))
    lab = await make_lab([Agent("reader", model="m", tools=[read])], script=[reply, DONE])
    run = await lab.start("reader")
    assert (await run.result()).output == "done"
    assert sorted(effects) == [f"{n:04}" for n in range(250)]
    assert await failed_tasks(lab, run) == 0


async def test_a_reject_beats_an_edit_that_is_being_checked(
    make_lab: MakeLab, effects: Effects, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While edited arguments are checked a reject still counts: the edit is refused and nothing runs."""
    checking, go_on = asyncio.Event(), asyncio.Event()

    async def slowly(asked: CheckArguments, runtime: Runtime) -> ArgumentsChecked:
        checking.set()
        await go_on.wait()
        return await check_arguments(asked, runtime)

    kind: type[Payload] = CheckArguments
    monkeypatch.setitem(ANSWERS, kind, slowly)
    lab = await make_lab([desk(effects)], script=[many(1), DONE])
    run = await lab.start("desk")
    request = await lab.next_request(run)
    editing = asyncio.create_task(run.approve(request, decided_by="a", arguments={"target": "other"}))
    await asyncio.wait_for(checking.wait(), 20)
    await run.reject(request, decided_by="b", reason="no")
    go_on.set()
    with pytest.raises(RequestClosedError, match="by b"):
        await editing
    await run.result()
    assert outputs(lab) == [("c0", "no")]
    assert effects == []


async def test_edited_arguments_run_and_the_model_is_told(make_lab: MakeLab, effects: Effects) -> None:
    """An approval with edited arguments runs exactly those; an edit that breaks the schema leaves the request open."""
    lab = await make_lab([desk(effects)], script=[many(1), DONE])
    run = await lab.start("desk")
    request = await lab.next_request(run)
    with pytest.raises(EditRefusedError, match="target: Input should be a valid string"):
        await run.approve(request, decided_by="lead", arguments={"target": 7})
    assert [each.id for each in await run.pending()] == [request.id]
    await run.approve(request, decided_by="lead", arguments={"target": "only this"})
    await run.result()
    assert effects == ["wipe only this"]
    [(_, output)] = outputs(lab)
    assert output.startswith("A person changed the arguments before this ran")
    assert output.endswith("wiped only this")
