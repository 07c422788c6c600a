"""A storm: workers are killed one after the other, messages are lost, and many runs go on meanwhile."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from itertools import count
from typing import Final

from temporalio.service import RPCError, RPCStatusCode

from handfast import Handfast, Run
from support.crash.cases import AT_MOST_ONCE, DENIED, IDEMPOTENT, NESTED, PARALLEL
from support.crash.grpc_proxy import POLLS, Delay, Double, Drop, Fault, GrpcProxy, Side
from support.crash.matrix import Case, Matrix, Trial, wrongs
from support.crash.warm_workers import WarmWorker
from support.load import flood

MIXED: Final = (IDEMPOTENT, AT_MOST_ONCE, DENIED, PARALLEL, NESTED)
STRANGE: Final = ("send", "approve", "reject", "decide", "raise", "no-such-signal")
NONSENSE: Final = {"id": "none", "decided_by": "stranger"}
CLOSED_WITHIN_S: Final = 120.0
"""How long the runs may go on when the storm is over."""


@dataclass(frozen=True)
class Weather:
    """What a storm is like.

    Attributes:
        seed: Of everything that is left to chance.
        seconds: How long it lasts.
        kill_every_s: How long it is between two kills, give or take a third.
        lost: Share of the messages that matter which are lost, doubled or held up.
        runs: How many runs begin while it lasts, evenly; None: as many as there can be, `at_a_time`.
        clerks: How many clients decide all that waits of a run, each at the same time as the others.
        flood: How many signals a stranger sends to one run at a time, of names that it knows and others.
        flood_every_s: How long it is between two floods.
    """

    seed: int
    seconds: float
    kill_every_s: float = 1.0
    lost: float = 0.0
    runs: int | None = None
    at_a_time: int = 12
    cases: Sequence[Case] = MIXED
    clerks: int = 1
    flood: int = 0
    flood_every_s: float = 10.0


@dataclass
class Aftermath:
    """What came of it.

    Attributes:
        wrong: What broke the base rule, a line each; runs that did not end included.
        approved: Calls that a person approved.
        effects: Of those calls.
        doubts: Of those calls, the ones that are in doubt; `without` of them had no effect.
        floods: Bursts of signals that a stranger sent.
    """

    runs: int = 0
    kills: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    approved: int = 0
    effects: int = 0
    doubts: int = 0
    without: int = 0
    rejected: int = 0
    floods: int = 0
    wrong: list[str] = field(default_factory=list)

    def add(self, case: Case, trial: Trial) -> None:
        """Count one run that has ended."""
        gated = case.gated
        if not case.approve:
            self.rejected += len(gated)
            return
        effects = sum(trial.effects[tool] for tool in case.calls if tool != "look")
        self.approved += len(gated)
        self.effects += effects
        self.doubts += trial.doubts
        self.without += max(0, min(trial.doubts, len(gated) - effects))


class Storm:
    """Two workers that are killed in turn, each behind a proxy of its own, and the runs that they serve."""

    def __init__(self, matrix: Matrix, weather: Weather) -> None:
        """Take what the matrix runs on."""
        self.matrix = matrix
        self.weather = weather
        self.task_queue = f"storm-{uuid.uuid4().hex[:8]}"
        self.begun = 0
        self.after = Aftermath()
        self._chance = random.Random(weather.seed)
        self._started: list[tuple[Case, Run, asyncio.Task[int]]] = []
        self._over = asyncio.Event()
        self._workers: list[WarmWorker] = []
        self._proxies: list[GrpcProxy] = []

    @property
    def under_way(self) -> int:
        """How many runs have begun and not ended."""
        return sum(not task.done() for _, _, task in self._started)

    async def pass_over(self) -> Aftermath:
        """Let it come and go; wait until every run has ended, and look at what came of each."""
        async with AsyncExitStack() as stack:
            for _ in range(2):
                proxy = await stack.enter_async_context(GrpcProxy(self.matrix.server.address))
                proxy.plan_by(self._fault)
                self._proxies.append(proxy)
                self._workers.append(await self.matrix.workers.start(proxy.address, self.task_queue))
            stack.push_async_callback(self._end_workers)
            beside = [asyncio.create_task(self._kill_in_turn())]
            if self.weather.flood:
                beside.append(asyncio.create_task(self._flood_runs()))
            try:
                await self._begin_runs()
            finally:
                self._over.set()
                await asyncio.gather(*beside)
            for proxy in self._proxies:
                proxy.plan_by(None)
            await asyncio.wait({task for _, _, task in self._started}, timeout=CLOSED_WITHIN_S)
            for case, run, task in self._started:
                await self._look_at(case, run, task)
        return self.after

    async def _begin_runs(self) -> None:
        hf = Handfast(self.matrix.client, task_queue=self.task_queue)
        weather = self.weather
        free = asyncio.Semaphore(weather.at_a_time)
        until = time.monotonic() + weather.seconds
        for number in count():
            if weather.runs is not None:
                if number == weather.runs:
                    break
                await asyncio.sleep(weather.seconds / weather.runs)  # they begin evenly
            else:
                await free.acquire()
                if time.monotonic() > until:
                    break
            case = weather.cases[number % len(weather.cases)]
            run_id = f"{self.task_queue}-{number}"
            run = await hf.start("shop", f"do {case.name} {run_id}", id=run_id)
            task = asyncio.create_task(self._to_its_end(case, run))
            task.add_done_callback(lambda _: free.release())
            self._started.append((case, run, task))
            self.begun += 1

    async def _to_its_end(self, case: Case, run: Run) -> int:
        if self.weather.clerks == 1:
            doubts = await self.matrix.decide_all(run, case)
        else:
            clerks = [await self.matrix.clerk(run) for _ in range(self.weather.clerks)]
            await asyncio.gather(*(self.matrix.decide_with_others(clerk, case) for clerk in clerks))
            doubts = 0
        await run.result()
        return doubts

    async def _is_over_in(self, about_s: float) -> bool:
        try:
            await asyncio.wait_for(self._over.wait(), self._chance.uniform(about_s * 2 / 3, about_s * 4 / 3))
        except TimeoutError:
            return False
        return True

    async def _flood_runs(self) -> None:
        while not await self._is_over_in(self.weather.flood_every_s):
            living = [run for _, run, task in self._started if not task.done()]
            if living:
                self.after.floods += 1
                try:
                    await flood(self.matrix.client, self._chance.choice(living), STRANGE, self.weather.flood, NONSENSE)
                except RPCError as error:
                    # The run has ended meanwhile, or its history takes no more signals.
                    if error.status not in (RPCStatusCode.NOT_FOUND, RPCStatusCode.INVALID_ARGUMENT):
                        raise

    async def _kill_in_turn(self) -> None:
        for number in count():
            if await self._is_over_in(self.weather.kill_every_s):
                return
            turn = number % len(self._workers)
            worker = self._workers[turn]
            worker.kill()
            await worker.gone()
            self._workers[turn] = await self.matrix.workers.start(self._proxies[turn].address, self.task_queue)
            self.after.kills += 1

    def _fault(self, method: str, side: Side) -> Fault | None:
        if self._chance.random() >= self.weather.lost:
            return None
        kinds: list[Fault] = [Drop(), Delay(self._chance.uniform(0.1, 4.0))]
        if method not in POLLS:
            kinds.append(Double())
        fault = self._chance.choice(kinds)
        self.after.faults[type(fault).__name__.lower()] += 1
        return fault

    async def _end_workers(self) -> None:
        for worker in self._workers:
            worker.kill()
            await worker.gone()

    async def _look_at(self, case: Case, run: Run, task: asyncio.Task[int]) -> None:
        self.after.runs += 1
        if not task.done():
            task.cancel()
            self.after.wrong.append(f"{run.id}: did not end within {CLOSED_WITHIN_S:g} s")
            return
        failure = task.exception()
        if failure is not None:
            self.after.wrong.append(f"{run.id}: {failure!r}")
            return
        trial = await self.matrix.ended(case, run, doubts=task.result())
        self.after.wrong += [f"{run.id}: {line}" for line in wrongs(trial, case)]
        self.after.add(case, trial)
