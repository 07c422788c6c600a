"""What a caller of `Run` gets when it gives up, when the server's limits are met, and when its time is over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
import pytest_asyncio
from temporalio.api.enums.v1 import EventType

from handfast.errors import RunEndedError
from handfast.server import EmbeddedServer
from handfast.testing import Gate, Reply, call
from support.desk import DONE, desk
from support.evidence import events_of
from support.labs import Effects, MakeLab

WIPE = Reply(call("wipe", {"target": "t"}, "c1"))


@pytest_asyncio.fixture(loop_scope="session")
async def strict_server() -> AsyncIterator[EmbeddedServer]:
    """A server that takes one update per run."""
    limit = ["--dynamic-config-value", "history.maxTotalUpdates=1"]
    async with await EmbeddedServer.start(persistent=False, port=0, ui=False, extra_args=limit) as running:
        yield running


async def test_a_cancelled_approval_is_not_stored(make_lab: MakeLab, effects: Effects) -> None:
    """Who stops waiting for `approve()` while no worker answers gets the cancellation, and no signal is stored."""
    lab = await make_lab([desk(effects)], script=[WIPE])
    run = await lab.start("desk")
    request = await lab.next_request(run)
    await lab.stop_worker()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await run.approve(request, decided_by="lead")
    kinds = {event.event_type for event in await events_of(lab, run)}
    assert EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED not in kinds
    assert [each.id for each in await run.pending()] == [request.id]
    assert effects == []


async def test_a_decision_repeated_after_the_end_gets_its_first_receipt(make_lab: MakeLab, effects: Effects) -> None:
    """A client that did not hear its receipt gets it by deciding again, also when the run has ended meanwhile."""
    lab = await make_lab([desk(effects)], script=[WIPE, DONE])
    run = await lab.start("desk")
    request = await lab.next_request(run)
    receipt = await run.approve(request, decided_by="lead", decision_id="once")
    await run.result()
    again = await run.approve(request, decided_by="lead", decision_id="once")
    assert (again.state, again.decision_id) == (receipt.state, receipt.decision_id) == ("recorded", "once")
    with pytest.raises(RunEndedError):
        await run.approve(request, decided_by="lead", decision_id="another")
    assert effects == ["wipe t"]


async def test_beyond_the_servers_limit_of_updates_decisions_are_stored(
    strict_server: EmbeddedServer, make_lab: MakeLab, effects: Effects
) -> None:
    """A run that has had all the updates that the server allows still takes decisions, and each counts once."""
    calls = [call("wipe", {"target": f"t{number}"}, f"c{number}") for number in range(3)]
    lab = await make_lab([desk(effects)], script=[Reply(*calls), DONE], server=strict_server)
    run = await lab.start("desk")
    requests = await lab.open_requests(run, 3)
    receipts = [await run.approve(request, decided_by="lead") for request in requests]
    assert [receipt.state for receipt in receipts] == ["recorded", "stored", "stored"]
    assert (await run.result()).output == "done"
    assert sorted(effects) == ["wipe t0", "wipe t1", "wipe t2"]
    assert receipts[-1].decision_id is not None
    assert (await run.decision(receipts[-1].decision_id)).state == "recorded"


async def test_the_timeout_bounds_the_wait_for_a_request_too(make_lab: MakeLab, effects: Effects) -> None:
    """`result(wait_for_people=False, timeout=…)` ends in time while the model thinks; the run goes on."""
    lab = await make_lab([desk(effects)], script=[Gate("thinking", then=DONE)])
    run = await lab.start("desk")
    await lab.model.wait_for_request(1)
    async with asyncio.timeout(20):
        with pytest.raises(TimeoutError, match="did not end in time; it goes on"):
            await run.result(wait_for_people=False, timeout=timedelta(seconds=0.5))
    lab.model.open("thinking")
    assert (await run.result(wait_for_people=False, timeout=timedelta(seconds=30))).output == "done"


async def test_asking_for_a_decision_without_a_worker_ends_in_time(
    make_lab: MakeLab, effects: Effects, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With every worker down `decision()` says in time that nobody answered, and not that the server is away."""
    monkeypatch.setattr("handfast.client.handle.ANSWER_WITHIN", timedelta(seconds=1))
    lab = await make_lab([desk(effects)], script=[WIPE, DONE])
    run = await lab.start("desk")
    request = await lab.next_request(run)
    await lab.stop_worker()
    with pytest.raises(TimeoutError, match=r"no worker of .* answered"):
        await run.decision("any")
    await lab.start_worker()
    await run.reject(request, decided_by="lead")
    await run.result()
