"""The crash matrix: one run, repeated, with its worker killed at every message that matters, and what came of it.

A *case* is a run that is done first without a fault: its proxy names the steps that its effective messages are, which
are the points. The same run is then done for each of them, with SIGKILL before the request is passed on or after the
reply came back. Which steps a run has is no matter of chance, unlike how many messages they take: each must be reached.
Another worker starts at once. A scripted person approves or rejects what waits, and gives up what is in doubt; at the
end every run must have closed, and its histories are replayed.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Final, Literal

from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowHistory
from temporalio.worker import Replayer

from handfast import GiveUp, Handfast, HandfastPlugin, Run
from handfast.errors import RequestClosedError, RunEndedError
from handfast.history.chain import chain_of
from handfast.history.reader import history_of
from handfast.payloads.events import InDoubt, ModelReplied, RequestDecided, RequestOpened, RequestReviewed
from handfast.payloads.requests import Request
from handfast.server import EmbeddedServer
from handfast.testing import Reply, ResponsesServer, Script, call, text
from handfast.testing.replaying import failure_of
from handfast.testing.script import RecordedRequest, Step
from support.crash.grpc_proxy import POLLS, Fault, GrpcProxy, Kill, Point
from support.crash.ledger import Ledger
from support.crash.steps import RunStep
from support.crash.warm_workers import WarmWorker, WarmWorkers
from support.evidence import BY_THE_SERVER

AT_A_TIME: Final = 16
RUN_S: Final = 120.0
GOES_ON_S: Final = 8.0
"""The promise: after a SIGKILL a run goes on within this time."""
START_S: Final = 0.5
BUSY_S: Final = 0.5
AROUND: Final = 6
TRIES: Final = 3
AT_MOST_ONCE: Final = ("charge", "settle")
"""Where the machine is so busy that a run is late it is done again."""


@dataclass(frozen=True)
class Case:
    """One kind of run.

    Attributes:
        calls: The tools that the model calls at once.
        approve: Whether the person approves; else rejects.
        nested: The calls are those of an agent that is used as a tool.
        by: How the decision comes: by update, by signal, or by update with edited arguments, which are checked first.
        before: Turns with a free call each, before the model calls those.
        segment_events: As `Handfast.start`; the person decides when the run has gone on in a fresh history. Only the
            messages around that are points.
        times: How often the model makes each of the calls, all at once.
        review: What the calls' reviewer does: the person decides what it leaves, or while it is still at it.
    """

    name: str
    calls: tuple[str, ...]
    approve: bool = True
    nested: bool = False
    by: Literal["update", "signal", "edit"] = "update"
    before: int = 0
    segment_events: int | None = None
    times: int = 1
    review: Literal["approves", "rejects", "leaves", "raises", "hangs", "is late"] | None = None

    @property
    def gated(self) -> list[str]:
        """The ids of the calls that a person decides."""
        return [call_id for call_id, tool in self.ids if tool != "look"]

    @property
    def ids(self) -> list[tuple[str, str]]:
        """Every call that the model makes: its id, and its tool."""
        numbers = range(self.times)
        return [(tool if self.times == 1 else f"{tool}-{n}", tool) for n in numbers for tool in self.calls]


@dataclass(frozen=True)
class Trial:
    """What came of one run.

    Attributes:
        point: Where something was done to it; None for the one without a fault.
        reached: Whether it came to that point.
        effects: By tool, as the ledger has them.
        bodies: Likewise, how often each tool's body began.
        keys: Likewise, with how many idempotency keys.
        shown: Which requests for approval were shown, by call.
        decided: How often one of them was decided, by call.
        doubts: Calls that a person was asked about, as it is unknown whether they ran.
        told: Calls in doubt about which nobody was asked.
        replies: Recorded replies of the model.
        requests: What the model was asked, attempts included whose reply was lost.
        failed: Workflow tasks that failed. Those that timed out are a crash's due.
        output: The run's answer.
        outputs: What the model read of its calls in the end.
        pause_s: The longest time after the fault in which nothing happened.
        late_s: How much longer than `START_S` the next worker took to start: what a busy machine is given on top.
        whole_s: From the fault to the run's end.
        steps: Which steps it had, in order, and when each was first seen.
        crossed_at: When the run left its history for a fresh one.
        late_before: How often it was done before, and went on later than is promised.
        deciders: Who decided, and how often.
        reviews: What reviewers said: why it was left to people, or None.
    """

    point: Point | None
    reached: bool
    effects: Counter[str]
    bodies: Counter[str]
    keys: Counter[str]
    shown: Mapping[str, set[str]]
    decided: Counter[str]
    doubts: int
    told: int
    replies: int
    requests: int
    failed: int
    output: Any
    outputs: Mapping[str, str]
    pause_s: float
    late_s: float
    whole_s: float
    steps: Mapping[RunStep, float]
    crossed_at: float | None
    late_before: int = 0
    deciders: Counter[str] = field(default_factory=Counter)
    reviews: Sequence[str | None] = ()

    @property
    def in_time(self) -> bool:
        """Whether the run went on within the time that is promised."""
        return self.pause_s <= GOES_ON_S + self.late_s

    @property
    def most_lost_replies(self) -> int:
        """How many replies the kill may cost: the one on its way, and on a machine so busy that a heartbeat of the next
        worker can come too late, one more."""
        return 1 if self.late_s < BUSY_S else 2

    @property
    def points(self) -> list[Point]:
        """Every point of this run; of one that leaves its history, those around that."""
        found: list[Point] = []
        first = 0
        for step, at in self.steps.items():
            if self.crossed_at is not None and at < self.crossed_at:
                first = len(found) - AROUND
            if step.method not in POLLS:
                found.append(Point(*step, "before"))
            found.append(Point(*step, "after"))
        return found if self.crossed_at is None else found[max(first, 0) : first + 3 * AROUND]


def play(cases: Sequence[Case]) -> Script:
    """What the model says in each of the cases; it follows from the request alone."""
    known = {case.name: case for case in cases}

    def choose(request: RecordedRequest) -> Step:
        what, name, run = request.first_user_text.split()
        case = known[name]
        answered = len(request.tool_outputs)
        if answered < case.before:
            return Reply(call("look", {"run": run}, f"look-{answered}"))
        if answered > case.before:
            return Reply(text("done"))
        if case.nested and what == "do":
            return Reply(call("auditor", {"input": f"audit {name} {run}"}, "nested"))
        return Reply(*(call(tool, {"run": run}, call_id) for call_id, tool in case.ids))

    return Script.of(choose)


class Matrix:
    """Runs cases, on one server, with worker processes of their own."""

    def __init__(
        self, server: EmbeddedServer, client: Client, *, ledger: Ledger, workers: WarmWorkers, model: ResponsesServer
    ) -> None:
        """Take what all runs share."""
        self.server = server
        self.client = client
        self.ledger = ledger
        self.workers = workers
        self.model = model
        self._free = asyncio.Semaphore(AT_A_TIME)
        self._asked: dict[str, list[RecordedRequest]] = {}
        self._indexed = 0
        self._started_in: dict[str, float] = {}
        self._replayer = Replayer(workflows=[], plugins=[HandfastPlugin()])

    async def at_every_point(self, case: Case, every: int = 1) -> tuple[Trial, list[Trial]]:
        """Do *case* without a fault, then with a kill at each of its points, or at *every* so many of them."""
        reference = await self.trial(case)
        trials = await self.trials(case, [(point, None) for point in reference.points[::every]])
        return reference, trials

    async def trials(self, case: Case, faults: Iterable[tuple[Point, Fault | None]]) -> list[Trial]:
        """Do *case* once for each fault, some at a time."""
        return await asyncio.gather(*(self._in_time(case, point, fault) for point, fault in faults))

    async def _in_time(self, case: Case, point: Point, fault: Fault | None) -> Trial:
        for before in range(TRIES):
            trial = replace(await self.trial(case, point, fault), late_before=before)
            if fault or trial.in_time or not trial.reached or wrongs(trial, case):
                break
        return trial

    async def trial(self, case: Case, point: Point | None = None, fault: Fault | None = None) -> Trial:
        """Do *case* once, with *fault* at *point*: by default, the worker is killed there."""
        async with self._free, GrpcProxy(self.server.address) as proxy:
            run_id = f"{case.name}-{uuid.uuid4().hex[:8]}"
            living = [await self.workers.start(proxy.address, run_id)]
            if point is not None:
                proxy.plan(point, fault or Kill(living[0].kill))
            replacing = asyncio.create_task(self._replaced(proxy, living, run_id)) if fault is None else None
            try:
                hf = Handfast(self.client, task_queue=run_id)
                run = await hf.start("shop", f"do {case.name} {run_id}", id=run_id, segment_events=case.segment_events)
                async with asyncio.timeout(RUN_S):
                    doubts = await self.decide_all(run, case)
                    output = (await run.result()).output
                ended = time.monotonic()
            finally:
                if replacing is not None and proxy.hit.is_set():
                    await replacing
                elif replacing is not None:
                    replacing.cancel()
                for worker in living:
                    worker.kill()
                    await worker.gone()
        return await self._looked_at(case, run, proxy, point=point, ended=ended, doubts=doubts, output=output)

    async def ended(self, case: Case, run: Run, *, doubts: int) -> Trial:
        """Count what came of a run that has ended elsewhere, and replay its histories."""
        output = (await run.result()).output
        none = GrpcProxy(self.server.address)
        return await self._looked_at(case, run, none, point=None, ended=time.monotonic(), doubts=doubts, output=output)

    async def _replaced(self, proxy: GrpcProxy, living: list[WarmWorker], run_id: str) -> None:
        await proxy.hit.wait()
        began = time.monotonic()
        living.append(await self.workers.start(proxy.address, run_id))
        await living[-1].ready()
        self._started_in[run_id] = time.monotonic() - began

    async def decide_all(self, run: Run, case: Case) -> int:
        """Decide everything that waits, until the run ends; how often it was about a call in doubt."""
        doubts = 0
        async for request in run.requests():
            if request.kind == "in_doubt":
                doubts += 1
                await run.decide(request, GiveUp(), decided_by="lead")
            else:
                if case.segment_events is not None:
                    await self._renewed(run)
                if case.review is None or await self._left_to_people(run, case):
                    await self._decide(run, request, case)
        return doubts

    async def _left_to_people(self, run: Run, case: Case) -> bool:
        """Wait until a person has to decide what is reviewed, or the reviewer has."""
        if case.review == "is late":  # and the person is first
            await self.ledger.begun(run.id, "judge")
            return True
        async for event in run.events():
            if isinstance(event, RequestReviewed):
                return event.left is not None
        return False

    async def clerk(self, run: Run) -> Run:
        """The same run, as a client with a connection of its own sees it."""
        return Handfast(await Client.connect(self.server.address)).run(run.id)

    async def decide_with_others(self, run: Run, case: Case) -> None:
        """Decide everything that waits at once, until the run ends; others do the same, and one of all counts."""
        deciding: list[asyncio.Task[None]] = []
        async for request in run.requests():
            deciding.append(asyncio.create_task(self._decide(run, request, case)))
        for each in await asyncio.gather(*deciding, return_exceptions=True):
            if isinstance(each, BaseException) and not isinstance(each, RequestClosedError | RunEndedError):
                raise each

    async def _decide(self, run: Run, request: Request, case: Case) -> None:
        if not case.approve:
            await run.reject(request, decided_by="lead", reason="no")
        elif case.by == "signal":
            signal = {"id": request.id, "decided_by": "lead", "decision_id": f"by-signal-{request.id}"}
            await self.client.get_workflow_handle(run.id).signal("approve", signal)
        else:
            edited = request.arguments if case.by == "edit" else None
            await run.approve(request, decided_by="lead", arguments=edited)

    async def _renewed(self, run: Run) -> None:
        """Wait until the first history of *run* has ended."""
        first = self.client.get_workflow_handle(run.id, run_id=await first_run(self.client, run.id))
        async for _ in history_of(first, wait=True):
            pass

    async def _looked_at(
        self, case: Case, run: Run, proxy: GrpcProxy, *, point: Point | None, ended: float, doubts: int, output: Any
    ) -> Trial:
        failed = await self._replayed(run)
        events = [event async for event in run.events()]
        shown: dict[str, set[str]] = {}
        for event in events:
            if isinstance(event, RequestOpened) and event.request.kind == "approval":
                shown.setdefault(event.request.call_id or "", set()).add(event.request.id)
        approvals = set[str]().union(*shown.values())
        decided = [event for event in events if isinstance(event, RequestDecided) and event.request in approvals]
        asked = self._asked_by(run.id)
        since = proxy.hit_at or ended
        times = [since, *(at for at in proxy.seen if at > since), max(ended, since)]
        return Trial(
            point=point,
            reached=proxy.hit.is_set(),
            effects=self.ledger.effects(run.id),
            bodies=self.ledger.bodies(run.id),
            keys=Counter({tool: len(self.ledger.keys(run.id, tool)) for tool in case.calls}),
            shown=shown,
            decided=Counter(event.call_id or "" for event in decided),
            doubts=doubts,
            told=sum(isinstance(event, InDoubt) for event in events),
            replies=sum(isinstance(event, ModelReplied) for event in events),
            requests=len(asked),
            failed=failed,
            output=output,
            outputs=dict(asked[-1].tool_outputs) if asked else {},
            pause_s=max(later - earlier for earlier, later in pairwise(times)),
            late_s=max(0.0, self._started_in.get(run.id, 0.0) - START_S),
            whole_s=ended - since,
            steps=dict(proxy.steps),
            crossed_at=proxy.crossed_at,
            deciders=Counter(event.by or "" for event in decided),
            reviews=[event.left for event in events if isinstance(event, RequestReviewed)],
        )

    def _asked_by(self, run_id: str) -> list[RecordedRequest]:
        for request in self.model.requests[self._indexed :]:
            self._asked.setdefault(request.first_user_text.split()[-1], []).append(request)
        self._indexed = len(self.model.requests)
        return self._asked.get(run_id, [])

    async def _replayed(self, run: Run) -> int:
        """Replay every history of *run* on today's code; how many workflow tasks had failed."""
        histories: dict[str, list[Any]] = {}
        first = await first_run(self.client, run.id)
        async for temporal_run, event in chain_of(self.client, run.id, first, wait=False):
            histories.setdefault(temporal_run, []).append(event)
        failed = 0
        for events in histories.values():
            failed += sum(
                each.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED
                and each.workflow_task_failed_event_attributes.cause not in BY_THE_SERVER
                for each in events
            )
            failure = await failure_of(self._replayer, WorkflowHistory(run.id, events))
            if failure is not None:
                raise failure
        return failed


async def first_run(client: Client, run_id: str) -> str:
    """The id of a run's first history."""
    newest = await client.get_workflow_handle(run_id).describe()
    return newest.raw_description.workflow_execution_info.first_run_id


def wrongs(trial: Trial, case: Case) -> list[str]:
    """What breaks the base rule, whatever the fault was: one line each.

    A denied call has no effect, a call with an output has one, one in doubt at most one and a person was asked; each
    call was shown and decided once, and no workflow task failed. That the run ended at all was waited for.
    """
    gated = case.gated
    found = {
        "workflow tasks failed": trial.failed,
        "some calls were shown twice, or not at all": {each: len(trial.shown.get(each, ())) for each in gated}
        != dict.fromkeys(gated, 1),
        "some calls were decided twice, or not at all": trial.decided != Counter(gated),
        "it did not end with the model's answer": trial.output != "done",
    }
    for tool in case.calls:
        effects, bodies, keys = trial.effects[tool], trial.bodies[tool], trial.keys[tool]
        if not case.approve:
            found[f"the rejected {tool} ran"] = effects or bodies
        elif tool in AT_MOST_ONCE:
            found[f"{tool} began {bodies} times"] = bodies > 1
            found[f"{tool} had {effects} effects"] = effects > 1 if trial.doubts else effects != 1
        else:
            found[f"{tool} had {effects} effects"] = effects != case.times
            found[f"{tool} had {keys} keys"] = keys != case.times
            found[f"{tool} was in doubt"] = trial.doubts or trial.told
    return [f"{trial.point}: {what}" for what, is_so in found.items() if is_so]
