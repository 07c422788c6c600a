"""Scenario row P16: activities that exist already, on another task queue, whose worker knows nothing of Handfast."""

from __future__ import annotations

import asyncio
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from temporalio import activity
from temporalio.api.enums.v1 import EventType
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

from handfast import Agent, Approve, Ran, RunAgain, activity_tool
from handfast.errors import RunCancelledError, RunFailedError
from handfast.history.reader import history_of
from handfast.testing import Lab, Reply, call, text
from support.evidence import logged
from support.labs import Effects, MakeLab

DONE = Reply(text("done"))
SECOND = timedelta(seconds=1)
GONE = "The outcome of this call is unknown"


class Charge(BaseModel):
    """What the payments team's activity takes."""

    card: str
    cents: int
    note: str = "no note"
    key: str = ""


class Receipt(BaseModel):
    """What it answers."""

    id: str
    cents: int


CHARGE = Reply(call("charge", {"card": "c-7", "cents": 250}, "c1"))


@dataclass
class Wanted:
    """What the other team's activity takes, as they wrote it."""

    card: str
    cents: int
    note: str = "their default"
    key: str = ""


@pytest.fixture
def queue() -> str:
    """A task queue that no other test polls."""
    return f"payments-{uuid.uuid4().hex[:8]}"


@asynccontextmanager
async def payments(lab: Lab, queue: str, *activities: Callable[..., Any]) -> AsyncIterator[None]:
    """A plain Temporal worker of another team."""
    async with Worker(lab.client, task_queue=queue, activities=activities, graceful_shutdown_timeout=SECOND):
        yield


def serving(effects: Effects) -> Callable[..., Any]:
    """The other team's activity, written without a thought of us."""

    @activity.defn(name="ChargeCard")
    async def charge(wanted: Wanted) -> dict[str, Any]:
        effects.append(f"{wanted.card} {wanted.cents} {wanted.note} {bool(wanted.key)}")
        return {"id": "r1", "cents": wanted.cents}

    return charge


def clerk(queue: str | None, **options: Any) -> Agent:
    """An agent that may charge cards."""
    tool = activity_tool("charge", input=Charge, activity="ChargeCard", task_queue=queue, **options)
    return Agent("clerk", model="m", tools=[tool])


def outputs(lab: Lab, request: int = 2) -> dict[str, str]:
    """The outputs that a model request carried."""
    return lab.model.requests[request - 1].tool_outputs


async def test_a_foreign_activity_serves_as_a_tool(make_lab: MakeLab, effects: Effects, queue: str, cache: int) -> None:
    """P16: an activity on another task queue gets the arguments as its one argument, and its result is the output."""
    agent = clerk(queue, output=Receipt, description="Charge a card.")
    lab = await make_lab([agent], script=[CHARGE, DONE], max_cached_workflows=cache)
    async with payments(lab, queue, serving(effects)):
        run = await lab.start("clerk")
        assert (await run.result()).output == "done"
    assert effects == ["c-7 250 their default False"]
    assert outputs(lab) == {"c1": '{"cents": 250, "id": "r1"}'}
    [offered] = lab.model.requests[0].body["tools"]
    assert (offered["name"], offered["description"]) == ("charge", "Charge a card.")
    assert offered["parameters"]["required"] == ["card", "cents"]
    assert list(offered["output_schema"]["properties"]) == ["id", "cents"]
    assert lab.model.violations == []


async def test_a_gated_foreign_activity_runs_as_approved(make_lab: MakeLab, effects: Effects, queue: str) -> None:
    """P16: a gated one waits for a person, and runs with what the person edited and a key of the run's own."""
    agent = clerk(queue, approval=lambda ctx, arguments: arguments.cents > 100, key_field="key")
    reply = Reply(
        call("charge", {"card": "c-7", "cents": 250}, "c1"), call("charge", {"card": "c-8", "cents": 5}, "c2")
    )
    lab = await make_lab([agent], script=[reply, DONE])
    async with payments(lab, queue, serving(effects)):
        run = await lab.start("clerk")
        [request] = await lab.open_requests(run, 1)
        assert (request.tool, request.arguments) == ("charge", {"card": "c-7", "cents": 250})
        await lab.replace_worker()
        edited = {"card": "c-7", "cents": 200, "note": "halved"}
        await run.decide(request, Approve(arguments=edited), decided_by="lead")
        await run.result()
    assert sorted(effects) == ["c-7 200 halved True", "c-8 5 their default True"]
    assert "key" not in lab.model.requests[0].body["tools"][0]["parameters"]["properties"]


async def test_an_activity_without_parameters_gets_no_argument(make_lab: MakeLab, effects: Effects, queue: str) -> None:
    """P16: where no input is declared the activity is started with no argument at all."""

    @activity.defn(name="count_stock")
    async def count() -> list[int]:
        effects.append("counted")
        return [1, 2, 3]

    tool = activity_tool("count_stock", task_queue=queue, effect="read_only")
    lab = await make_lab([Agent("a", model="m", tools=[tool])], script=[Reply(call("count_stock", {}, "c1")), DONE])
    async with payments(lab, queue, count):
        run = await lab.start("a")
        await run.result()
    assert effects == ["counted"]
    assert outputs(lab) == {"c1": "[1, 2, 3]"}


async def test_what_a_foreign_activity_raises_is_told_to_the_model(make_lab: MakeLab, queue: str) -> None:
    """P16: its failure is a known ending: the model reads it, bounded, and no attempt follows."""
    attempts: list[int] = []

    @activity.defn(name="ChargeCard")
    async def charge(wanted: Any) -> None:
        attempts.append(activity.info().attempt)
        raise ApplicationError("the card was declined " + "x" * 20_000, type="Declined")

    lab = await make_lab([clerk(queue)], script=[CHARGE, DONE])
    async with payments(lab, queue, charge):
        run = await lab.start("clerk")
        await run.result()
    assert attempts == [1]
    assert outputs(lab)["c1"].startswith("Error: Declined: the card was declined")
    assert len(outputs(lab)["c1"]) < 9000


class NotFoundError(Exception):
    """Of the other team, by the name that Temporal's own workers use."""


async def test_an_activity_that_says_not_registered_itself_is_not_run_again(
    make_lab: MakeLab, effects: Effects, queue: str
) -> None:
    """P16: only a worker's own words about this activity say that nothing ran; an error of the activity's that reads
    much like them is its ending."""

    @activity.defn(name="ChargeCard")
    async def charge(wanted: dict[str, Any]) -> None:
        effects.append("charge")
        raise NotFoundError("the customer is not registered for receipts")

    lab = await make_lab([clerk(queue)], script=[CHARGE, DONE])
    async with payments(lab, queue, charge):
        run = await lab.start("clerk")
        await asyncio.wait_for(run.result(), 20)
    assert effects == ["charge"]
    assert outputs(lab) == {"c1": "Error: NotFoundError: the customer is not registered for receipts"}


async def test_a_failure_may_end_the_run(make_lab: MakeLab, queue: str) -> None:
    """P16: with on_error="fail" its failure is the run's."""

    @activity.defn(name="ChargeCard")
    async def charge(wanted: Any) -> None:
        raise ValueError("no")

    lab = await make_lab([clerk(queue, on_error="fail")], script=[CHARGE, DONE])
    async with payments(lab, queue, charge):
        run = await lab.start("clerk")
        with pytest.raises(RunFailedError) as failed:
            await run.result()
    assert failed.value.kind == "ToolFailed"


async def test_an_idempotent_foreign_activity_is_retried(make_lab: MakeLab, effects: Effects, queue: str) -> None:
    """P16: effect="idempotent" retries it, with the same key."""
    keys: list[str] = []

    @activity.defn(name="ChargeCard")
    async def charge(wanted: dict[str, Any]) -> str:
        keys.append(wanted["key"])
        if len(keys) == 1:
            raise ValueError("not yet")
        return "charged"

    lab = await make_lab([clerk(queue, effect="idempotent", key_field="key")], script=[CHARGE, DONE])
    async with payments(lab, queue, charge):
        run = await lab.start("clerk")
        await run.result()
    assert len(keys) == 2
    assert len(set(keys)) == 1
    assert outputs(lab) == {"c1": "charged"}


async def test_a_timeout_of_a_foreign_activity_is_in_doubt(make_lab: MakeLab, effects: Effects, queue: str) -> None:
    """P16: it has no begun mark, so every timeout of a gated at_most_once one asks a person, who may run it again."""
    hold = asyncio.Event()

    @activity.defn(name="ChargeCard")
    async def charge(wanted: dict[str, Any]) -> str:
        effects.append("charge")
        if len(effects) == 1:
            await hold.wait()
        return "charged"

    lab = await make_lab([clerk(queue, approval=True, timeout=SECOND)], script=[CHARGE, DONE])
    async with payments(lab, queue, charge):
        run = await lab.start("clerk")
        await run.approve(await lab.next_request(run), decided_by="lead")
        doubt = await next_of_kind(lab, run, "in_doubt")
        assert doubt.facts is not None
        assert doubt.facts["ended"] == "TimeoutStartToClose"
        await run.decide(doubt, RunAgain(), decided_by="lead")
        await run.result()
        hold.set()
    assert effects == ["charge", "charge"]
    assert outputs(lab) == {"c1": "charged"}


async def test_a_killed_foreign_worker_leaves_its_call_in_doubt(make_lab: MakeLab, tmp_path: Path, queue: str) -> None:
    """P16: the other team's worker is killed in the middle: the person who looked says that it ran."""
    lab = await make_lab([clerk(queue, approval=True, heartbeat_timeout=SECOND)], script=[CHARGE, DONE])
    process = await theirs(lab, queue, tmp_path)
    run = await lab.start("clerk")
    await run.approve(await lab.next_request(run), decided_by="lead")
    assert process.stdout is not None
    assert await asyncio.wait_for(process.stdout.readline(), 20) == b"charging\n"
    process.kill()
    await process.wait()
    doubt = await next_of_kind(lab, run, "in_doubt")
    assert doubt.facts is not None
    assert doubt.facts["ended"] == "TimeoutHeartbeat"
    await run.decide(doubt, Ran(output="receipt r9"), decided_by="lead")
    await run.result()
    assert outputs(lab) == {"c1": "receipt r9"}


async def test_a_free_call_in_doubt_is_told_to_the_model(make_lab: MakeLab, queue: str) -> None:
    """P16: where nobody was asked before, the model reads that the outcome is unknown."""
    hold = asyncio.Event()

    @activity.defn(name="ChargeCard")
    async def charge(wanted: dict[str, Any]) -> None:
        await hold.wait()

    lab = await make_lab([clerk(queue, timeout=SECOND)], script=[CHARGE, DONE])
    async with payments(lab, queue, charge):
        run = await lab.start("clerk")
        await run.result()
        hold.set()
    assert outputs(lab)["c1"].startswith(GONE)


async def test_a_call_that_nobody_takes_becomes_a_request(make_lab: MakeLab, effects: Effects, queue: str) -> None:
    """P16: a task queue without workers is not waited for in silence: it has not run, and may be run again."""
    lab = await make_lab([clerk(queue, start_within=SECOND)], script=[CHARGE, DONE])
    run = await lab.start("clerk")
    request = await lab.next_request(run)
    assert request.kind == "in_doubt"
    assert request.reason == f"no worker took this call from task queue {queue}; it has not run"
    async with payments(lab, queue, serving(effects)):
        await run.decide(request, RunAgain(), decided_by="lead")
        await run.result()
    assert effects == ["c-7 250 their default False"]


async def test_a_worker_that_lacks_the_activity_has_not_run_it(make_lab: MakeLab, effects: Effects, queue: str) -> None:
    """P16: the other team's older worker does not know it: the call is scheduled again, until a newer one takes it."""

    @activity.defn(name="Something")
    async def something() -> None:
        effects.append("something")

    lab = await make_lab([clerk(queue)], script=[CHARGE, DONE])
    async with payments(lab, queue, something):
        run = await lab.start("clerk")
        async with asyncio.timeout(20):
            async for event in history_of(lab.client.get_workflow_handle(run.id), wait=True):
                if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED:
                    break
    async with payments(lab, queue, serving(effects)):
        await run.result()
    assert effects == ["c-7 250 their default False"]
    assert outputs(lab) == {"c1": '{"cents": 250, "id": "r1"}'}


@pytest.mark.parametrize(
    ("heartbeat", "told"),
    [pytest.param(None, GONE, id="deaf"), pytest.param(SECOND, "This call was cancelled", id="hears")],
)
async def test_one_foreign_call_can_be_cancelled(
    make_lab: MakeLab, queue: str, heartbeat: timedelta | None, told: str
) -> None:
    """P16: cancel_call ends it and leaves the run; of one that cannot hear it, the outcome is unknown."""
    started, hold = asyncio.Event(), asyncio.Event()

    @activity.defn(name="ChargeCard")
    async def charge(wanted: dict[str, Any]) -> None:
        started.set()
        while not hold.is_set():
            activity.heartbeat()
            await asyncio.wait({asyncio.ensure_future(hold.wait())}, timeout=0.2)

    lab = await make_lab([clerk(queue, heartbeat_timeout=heartbeat)], script=[CHARGE, DONE])
    async with payments(lab, queue, charge):
        run = await lab.start("clerk")
        await asyncio.wait_for(started.wait(), 20)
        await run.cancel_call("c1", by="lead")
        await asyncio.wait_for(run.result(), 20)
        hold.set()
    assert outputs(lab)["c1"].startswith(told)


async def test_a_cancel_waits_only_for_an_activity_that_can_hear_it(make_lab: MakeLab, queue: str) -> None:
    """P16: a run is cancelled at once beside an activity without heartbeats, and that call is noted as in doubt."""
    started, hold = asyncio.Event(), asyncio.Event()

    @activity.defn(name="ChargeCard")
    async def charge(wanted: dict[str, Any]) -> None:
        started.set()
        await hold.wait()

    lab = await make_lab([clerk(queue)], script=[CHARGE])
    async with payments(lab, queue, charge):
        run = await lab.start("clerk")
        await asyncio.wait_for(started.wait(), 20)
        await run.cancel("enough")
        with pytest.raises(RunCancelledError):
            await asyncio.wait_for(run.result(), 20)
        hold.set()
    [doubt] = await logged(lab, run, "in_doubt", 1)
    assert doubt.why == "charge c1: cancelled"


async def test_large_arguments_are_sent_over_several_tasks(make_lab: MakeLab, effects: Effects, queue: str) -> None:
    """P16: a reply whose calls are too large for the commands of one workflow task runs each of them once."""

    @activity.defn(name="ChargeCard")
    async def charge(wanted: dict[str, Any]) -> int:
        effects.append(wanted["card"][:2])
        return len(wanted["card"])

    calls = [call("charge", {"card": f"{n} " + "x" * 210_000, "cents": 1}, f"c{n}") for n in range(8)]
    lab = await make_lab([clerk(queue)], script=[Reply(*calls), DONE])
    async with payments(lab, queue, charge):
        run = await lab.start("clerk")
        await run.result()
    assert sorted(effects) == [f"{n} " for n in range(8)]
    assert outputs(lab) == {f"c{n}": "210002" for n in range(8)}


async def test_arguments_too_large_to_be_sent_are_refused(make_lab: MakeLab, effects: Effects, queue: str) -> None:
    """P16: above 256 KB nothing is started, and the model reads why."""
    lab = await make_lab(
        [clerk(queue)], script=[Reply(call("charge", {"card": "x" * 300_000, "cents": 1}, "c1")), DONE]
    )
    run = await lab.start("clerk")
    await run.result()
    assert "at most 262,144 can be sent" in outputs(lab)["c1"]


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        pytest.param("plain", "plain", id="text"),
        pytest.param(None, "", id="nothing"),
        pytest.param(b"\x00\xff", "Error: the activity ran, but its result cannot be given to you as JSON", id="bytes"),
        pytest.param("y" * 400_000, "yyyy", id="large"),
    ],
)
async def test_every_result_is_given_to_the_model_or_explained(
    make_lab: MakeLab, queue: str, result: Any, expected: str
) -> None:
    """P16: whatever the other team's activity returns, the call ends with an output that can be read."""

    @activity.defn(name="ChargeCard")
    async def charge(wanted: dict[str, Any]) -> Any:
        return result

    lab = await make_lab([clerk(queue)], script=[CHARGE, DONE])
    async with payments(lab, queue, charge):
        run = await lab.start("clerk")
        await run.result()
    assert outputs(lab)["c1"].startswith(expected)
    assert len(outputs(lab)["c1"]) <= 256 * 1024


async def next_of_kind(lab: Lab, run: Any, kind: str) -> Any:
    """The next open request of one kind."""
    async with asyncio.timeout(30):
        async for request in run.requests():
            if request.kind == kind:
                return request
    raise AssertionError(f"no request of kind {kind}")


THEIRS = """
import asyncio, sys
from temporalio import activity
from temporalio.client import Client
from temporalio.worker import Worker

@activity.defn(name="ChargeCard")
async def charge(wanted: dict) -> None:
    activity.heartbeat()
    print("charging", flush=True)
    while True:
        await asyncio.sleep(0.2)
        activity.heartbeat()

async def main() -> None:
    client = await Client.connect(sys.argv[1])
    async with Worker(client, task_queue=sys.argv[2], activities=[charge]):
        print("ready", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def theirs(lab: Lab, queue: str, folder: Path) -> asyncio.subprocess.Process:
    """A worker of the other team as a process of its own."""
    script = folder / "theirs.py"
    script.write_text(THEIRS)
    address = lab.client.service_client.config.target_host
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(script), address, queue, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await asyncio.wait_for(process.stdout.readline(), 20) == b"ready\n"
    return process
