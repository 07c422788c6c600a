"""The server is killed with SIGKILL while many runs go on, and started again on its database."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path

from temporalio.client import Client
from temporalio.service import RPCError

from handfast import GiveUp, Handfast, Run
from handfast.errors import HandfastError, RequestClosedError
from handfast.payloads.events import RequestDecided
from handfast.server import EmbeddedServer
from handfast.testing import ResponsesServer
from support.crash.cases import AT_MOST_ONCE, CASES, IDEMPOTENT
from support.crash.ledger import Ledger
from support.crash.matrix import Case, Matrix, play, wrongs
from support.crash.warm_workers import WarmWorkers

RUNS = 20
KILLED_AFTER = 6
"""Decisions that were acknowledged when the server is killed: the others are on their way, or still to come."""


class Load:
    """Runs that are started and decided by somebody who goes on after any failure, with the same decision id."""

    def __init__(self, hf: Handfast) -> None:
        self.hf = hf
        self.started: dict[str, Case] = {}
        self.recorded: set[str] = set()
        """Decisions that the server has acknowledged, by their ids."""
        self.doubts: dict[str, int] = {}
        self.enough = asyncio.Event()
        self.up = asyncio.Event()
        self.up.set()

    async def run(self, number: int) -> None:
        """Start a run, decide what waits, and wait for its end, however often the server goes away meanwhile."""
        case = (IDEMPOTENT, AT_MOST_ONCE)[number % 2]
        run_id = f"load-{number}"
        run: Run | None = None
        while True:
            try:
                if run is None:
                    run = await self.hf.start("shop", f"do {case.name} {run_id}", id=run_id, if_exists="attach")
                    self.started[run_id] = case
                await self._decide_all(run)
                await run.result()
            except RequestClosedError:
                continue  # what was decided before the server died had counted
            except (HandfastError, RPCError):
                await self.up.wait()
            else:
                return

    async def _decide_all(self, run: Run) -> None:
        async for request in run.requests():
            if request.kind == "in_doubt":
                await run.decide(request, GiveUp(), decided_by="lead", decision_id=f"doubt-{request.id}")
                self.doubts[run.id] = 1
                continue
            decision_id = f"decision-{request.id}"
            receipt = await run.approve(request, decided_by="lead", decision_id=decision_id)
            if receipt.state == "recorded":
                self.recorded.add(decision_id)
            if len(self.recorded) >= KILLED_AFTER:
                self.enough.set()


async def decided(run: Run) -> list[RequestDecided]:
    """The decisions that the history of *run* has now; it has to be there."""
    return [event async for event in run.events(wait=False) if isinstance(event, RequestDecided)]


async def test_what_the_server_acknowledged_is_not_lost_and_not_doubled_when_it_is_killed(tmp_path: Path) -> None:
    """XA10: killed in the middle of twenty runs and started again on its database, the server has every run that it
    had acknowledged and every decision; each approved call has one effect, or is in doubt and a person was asked."""
    server = await EmbeddedServer.start(tmp_path, port=0, ui=False)
    port = int(server.address.rpartition(":")[2])
    async with Ledger(tmp_path) as ledger, ResponsesServer(play(CASES)) as model:
        environment = {**ledger.environment, "OPENAI_API_KEY": "test", "OPENAI_BASE_URL": model.base_url}
        async with WarmWorkers(tmp_path, "support.crash.shop:AGENTS", environment) as workers:
            client = await Client.connect(server.address)
            worker = await workers.start(server.address, "load")
            load = Load(Handfast(client, task_queue="load"))
            running = [asyncio.create_task(load.run(number)) for number in range(RUNS)]
            try:
                async with asyncio.timeout(60):
                    await load.enough.wait()
                load.up.clear()
                os.kill(json.loads((tmp_path / "server.json").read_text())["pid"], signal.SIGKILL)
                acknowledged, recorded = set(load.started), set(load.recorded)
                await server.close()
                server = await EmbeddedServer.start(tmp_path, port=port, ui=False)
                kept = {each.decision_id for run_id in acknowledged for each in await decided(load.hf.run(run_id))}
                assert recorded <= kept  # before anybody decides again
                load.up.set()
                async with asyncio.timeout(150):
                    await asyncio.gather(*running)
                matrix = Matrix(server, client, ledger=ledger, workers=workers, model=model)
                trials = {
                    run_id: await matrix.ended(case, load.hf.run(run_id), doubts=load.doubts.get(run_id, 0))
                    for run_id, case in load.started.items()
                }
                assert [line for run_id, trial in trials.items() for line in wrongs(trial, load.started[run_id])] == []
                assert len(recorded) >= KILLED_AFTER
                assert len(trials) == RUNS
            finally:
                for task in running:
                    task.cancel()
                worker.kill()
                await worker.gone()
                await server.close()
