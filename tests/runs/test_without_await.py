"""The client of `handfast.sync`: the same methods for scripts and notebooks, without ``await``."""

from __future__ import annotations

import asyncio
import inspect
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import handfast
from handfast import Agent, Approve, sync, tool
from handfast.client.many import Started
from handfast.errors import RunExistsError, UsageError, WaitingForPeople
from handfast.payloads.events import RunFinished
from handfast.testing import Lab, Reply, call, text
from support.labs import MakeLab

WAIT = timedelta(seconds=30)


@tool(approval=True)
def refund(order: int) -> str:
    """Pay an order back."""
    return f"refunded {order}"


DESK = Agent("desk", model="m", tools=[refund], output_type=list[int])
ASKS = Reply(call("refund", {"order": 7}, "c1"))
DONE = Reply(text('{"response": [7]}'))


def client_of(lab: Lab) -> sync.Handfast:
    """A client without ``await`` for the server and the task queue of a lab."""
    address = lab.client.service_client.config.target_host
    return sync.Handfast.connect(address, task_queue=lab.task_queue, artifacts=False)


async def script(lab: Lab, program: Callable[[sync.Handfast], Any]) -> Any:
    """Run a program in a thread of its own, as a script has one; the lab's worker and model are in this one."""
    async with asyncio.timeout(90):
        return await asyncio.to_thread(lambda: program(client_of(lab)))


async def test_a_script_starts_watches_and_decides(make_lab: MakeLab) -> None:
    """Start, requests, decision, result, events, transcript, lists and the record of a run, all without ``await``."""
    lab = await make_lab([DESK], script=[ASKS, DONE, ASKS])

    def program(hf: sync.Handfast) -> str:
        run = hf.start(DESK, "Refund order 7", labels={"made": "sync"})
        for request in run.requests():
            assert hf.run(run.id).in_full(request).arguments == {"order": 7}
            assert run.approve(request, decided_by="lead").state == "recorded"
        result = run.result(items=True, timeout=WAIT)
        assert result.output == [7]
        assert result.items == run.transcript()
        assert isinstance(list(run.events())[-1], RunFinished)
        assert [each.type for each in run.stream()] == [each.type for each in run.events(wait=False)]
        assert next(hf.export(run.id))["kind"] == "run"
        waits = hf.start("desk", "Refund order 7")
        with pytest.raises(WaitingForPeople):
            waits.result(wait_for_people=False)
        with pytest.raises(RunExistsError):
            hf.start("desk", "again", id=waits.id)
        assert [each.tool for each in waits.pending()] == ["refund"]
        assert waits.status().status == "waiting"
        assert waits.cancel("enough")
        return waits.id

    lab.watch(lab.hf.run(await script(lab, program)))


async def test_a_script_talks(make_lab: MakeLab) -> None:
    """A session and its turns without ``await``."""
    lab = await make_lab([Agent("desk", model="m")], script=[Reply(text("one")), Reply(text("two"))])
    name = f"s-{uuid.uuid4().hex[:8]}"

    def program(hf: sync.Handfast) -> None:
        session = hf.session(name, agent="desk")
        turn = session.send("hello", message_id="m1")
        assert turn.receipt is not None
        assert (turn.output(timeout=WAIT), turn.id) == ("one", "m1")
        assert session.turn("m1").status().state == "answered"
        assert [each.type for each in session.turn("m1").stream()][-1] == "message_answered"
        assert session.send("again").result(timeout=WAIT).output == "two"
        assert len(session.items()) == 4
        assert session.close("done")
        assert session.result(timeout=WAIT).turns == 2

    await script(lab, program)
    lab.watch(lab.hf.session(name))


async def test_many_runs_are_started_and_decided(make_lab: MakeLab) -> None:
    """What `start_many` gives is without ``await`` too; a callback that would wait for itself is told so."""
    lab = await make_lab([DESK], script=[ASKS, ASKS, DONE, DONE])
    names = [f"many-{uuid.uuid4().hex[:8]}" for _ in range(2)]

    def program(hf: sync.Handfast) -> None:
        told: list[str] = []

        def hear(each: Started[sync.Run]) -> None:
            assert each.run is not None
            with pytest.raises(UsageError, match="a callback of this client cannot call it"):
                each.run.pending()
            told.append(each.run.id)

        started = hf.start_many([{"agent": "desk", "input": "go", "id": name} for name in names], on_result=hear)
        runs = [each.run for each in started if each.run is not None]
        assert sorted(told) == sorted(names)
        for run in runs:
            next(run.requests())
        waiting = [each for each in hf.requests(agent="desk") if each.run in names]
        decided = hf.decide_many(waiting, Approve(), decided_by="lead")
        assert [each.error for each in decided] == [None, None]
        assert [run.result(output_type=list[int], timeout=WAIT).output for run in runs] == [[7], [7]]

    await script(lab, program)
    for name in names:
        lab.watch(lab.hf.run(name))


async def test_it_works_where_a_loop_is_running(make_lab: MakeLab) -> None:
    """In a notebook, whose cells run in an event loop, a call blocks as anywhere else."""
    lab = await make_lab([DESK], script=[ASKS, DONE])

    async def cell(hf: sync.Handfast) -> str:
        run = hf.start("desk", "go")
        run.approve(next(run.requests()), decided_by="lead")
        run.result(timeout=WAIT)
        return run.id

    lab.watch(lab.hf.run(await script(lab, lambda hf: asyncio.run(cell(hf)))))


INTERRUPTED = """
import sys
from handfast.sync import Handfast

hf = Handfast.connect(sys.argv[1], task_queue=sys.argv[2])
run = hf.start("desk", "go", id=sys.argv[3])
next(run.requests())
try:
    print("waiting", flush=True)
    run.result()
except KeyboardInterrupt:
    print(run.status().status, flush=True)
"""


async def test_a_wait_is_interrupted(make_lab: MakeLab, tmp_path: Path) -> None:
    """Ctrl-C ends the wait for a result; the run goes on, and so does the script."""
    lab = await make_lab([DESK], script=[ASKS])
    name = f"desk-{uuid.uuid4().hex[:8]}"
    lab.watch(lab.hf.run(name))
    command = (sys.executable, "-c", INTERRUPTED, lab.client.service_client.config.target_host, lab.task_queue, name)
    process = await asyncio.create_subprocess_exec(*command, cwd=tmp_path, stdout=subprocess.PIPE)
    assert process.stdout is not None
    async with asyncio.timeout(60):
        assert await process.stdout.readline() == b"waiting\n"
        process.send_signal(signal.SIGINT)
        assert await process.stdout.readline() == b"waiting\n"  # the run's status
        assert await process.wait() == 0


def methods_of(kind: type) -> dict[str, inspect.Signature]:
    """The public methods of a class, with their parameters."""
    return {
        name: inspect.signature(getattr(kind, name)).replace(return_annotation=None)
        for name in dir(kind)
        if not name.startswith("_") and callable(getattr(kind, name))
    }


@pytest.mark.parametrize("name", sync.__all__)
def test_nothing_is_missing(name: str) -> None:
    """Each public method of the client, of runs, sessions and turns is there, with the same arguments."""
    blocking, awaited = methods_of(getattr(sync, name)), methods_of(getattr(handfast, name))
    assert blocking.keys() == awaited.keys()
    for method, signature in awaited.items():
        assert list(blocking[method].parameters) == list(signature.parameters), method
