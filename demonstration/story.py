"""The demo itself: start a ticket, ask the person, kill the worker where that was wished, count the effects."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final, Literal

from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.service import RPCError

from activities import pause
from activities.workspace import JOURNAL, Workspace
from demonstration.evidence import FILES, completed_tools, effects, files_in, look, prepare
from demonstration.model import TICKET
from demonstration.person import Person, described
from demonstration.screen import DemoError, Screen
from demonstration.worker_process import WorkerProcess, environment_of_worker
from holdfast import Holdfast, Ran, Request, Run, RunAgain
from holdfast.server import EmbeddedServer
from workflows.service_desk import Resolution, ServiceDesk, Ticket

Crash = Literal["before", "after"]

BY_DEADLINE: Final = {"reject": "it is rejected", "approve": "it is approved", "fail": "the ticket fails"}
FOLLOW_UP_AFTER_S: Final = 1.0
FREE_CALLS_WITHIN_S: Final = 10.0
PAUSED_WITHIN_S: Final = 30.0
LOOK_EVERY_S: Final = 0.02
TROUBLE_EVERY_S: Final = 5.0


@dataclass(frozen=True)
class Setting:
    """Where the demo plays.

    Attributes:
        directory: Where its workspace and logs go.
        scripted_at: Base URL of the scripted model, None for OpenAI.
        crash: Whether the worker is killed, and if so where in the middle of the tool: before or after its effect.
    """

    server: EmbeddedServer
    client: Client
    directory: Path
    model: str
    scripted_at: str | None
    crash: Crash | None


@dataclass(frozen=True)
class Decided:
    """One call that a person was asked about, as the summary shows it."""

    call: str
    target: str
    decision: str

    @classmethod
    def of(cls, request: Request, decision: str) -> Decided:
        """Note a decision."""
        return cls(described(request), str((request.arguments or {}).get("target")), decision)

    def then(self, decision: str) -> Decided:
        """Note a further decision about the same call."""
        return replace(self, decision=f"{self.decision}; {decision}")


class Story:
    """One ticket from its start to the count of its effects."""

    def __init__(self, setting: Setting, person: Person, screen: Screen) -> None:
        """Prepare the workspace; nothing runs yet."""
        self._setting, self._person, self._screen = setting, person, screen
        self.id = f"ticket-{uuid.uuid4().hex[:8]}"
        self._folder = setting.directory / "demo" / self.id
        self._workspace: Workspace = prepare(self._folder / "workspace")
        self._pause_file = self._folder / "paused"
        self._worker: WorkerProcess | None = None
        self._handle: WorkflowHandle[ServiceDesk, Resolution] | None = None
        self._kills_left = ["waiting", "running"] if setting.crash else []
        self._decisions: dict[str, Decided] = {}
        self._approved: Counter[str] = Counter()
        self._told_free = False

    async def play(self) -> Resolution:
        """Run the ticket to its end.

        Raises:
            DemoError: It cannot be.
        """
        task_queue = f"demo-{self.id}"  # of its own, so that no other worker takes part in what is counted here
        await self._start_worker(task_queue)
        self._handle = await self._setting.client.start_workflow(
            ServiceDesk.run,
            Ticket(TICKET, follow_up_after_s=FOLLOW_UP_AFTER_S, requested_by="demo"),
            id=self.id,
            task_queue=task_queue,
            static_summary=TICKET,
        )
        run = Holdfast(self._setting.client, task_queue=task_queue).run(self.id)
        self._screen.line(f"Ticket {self.id}: {TICKET}", "bold")
        trouble = asyncio.create_task(self._tell_trouble(run))
        try:
            async for request in run.requests():
                await self._take(run, request, task_queue)
            return await self._handle.result()
        except WorkflowFailureError as error:
            raise DemoError(f"the ticket failed: {error.cause}") from error
        finally:
            trouble.cancel()

    async def close(self) -> None:
        """End what this demo started: its worker, and its ticket where that still runs."""
        if self._handle is not None:
            with suppress(RPCError):  # it has ended by itself
                await self._handle.terminate("the demo was left before the end")
        if self._worker is not None:
            await self._worker.stop()

    async def summary(self, resolution: Resolution) -> list[str]:
        """Write what happened, counted; return what is wrong with it."""
        assert self._handle is not None
        done = effects(self._workspace)
        left = partial(files_in, self._workspace)
        diagnostics = completed_tools(await self._handle.fetch_history())["run_diagnostic"]
        screen = self._screen
        screen.line()
        screen.line("The answer", "bold")
        screen.line(resolution.answer)
        screen.line("The follow-up, by a second agent after a durable timer", "bold")
        screen.line(resolution.closing_note)
        screen.line()
        screen.line("Summary", "bold")
        rows = [("call", "took effect", "files", "decision")]
        rows += [
            (each.call, times(done[each.target]), f"{FILES.get(each.target, 0)} -> {left(each.target)}", each.decision)
            for each in self._decisions.values()
        ]
        rows.append(("run_diagnostic, by both agents", f"ran {times(diagnostics)}", "", "none needed: read-only"))
        screen.table(rows)
        screen.line(f"  Effects are lines of {self._workspace.root / JOURNAL}; files were counted beside it.", "dim")
        screen.line(f"  Run       {self.id}")
        screen.line(f"  Temporal  {self.page} (while the server runs)")
        return self._wrong(done, diagnostics)

    @property
    def page(self) -> str:
        """The run on Temporal's own web page."""
        return f"{self._setting.server.ui_url}/namespaces/{self._setting.server.namespace}/workflows/{self.id}"

    # --- the person's part ---

    async def _take(self, run: Run, request: Request, task_queue: str) -> None:
        if not self._told_free:
            self._told_free = True
            await self._tell_free_calls(run)
        if self._kills_left[:1] == ["waiting"]:
            await self._kill_while_waiting(run, task_queue)
        screen, person = self._screen, self._person
        if request.kind == "in_doubt":
            await self._settle_doubt(run, request)
            return
        screen.line(f"{request.agent} wants to run {described(request)}", "yellow")
        if request.deadline is not None:
            until = request.deadline.astimezone().strftime("%H:%M")
            screen.line(f"  {request.reason} Without an answer by {until} {BY_DEADLINE[request.on_deadline]}.", "dim")
        answer = await person.answer(request)
        if not answer.yes:
            await run.reject(request, decided_by=person.name, reason=answer.reason)
            reason = f': "{answer.reason}"' if answer.reason else ", no reason given"
            self._note(request, f"rejected by {person.name}{reason}")
            return
        await run.approve(request, decided_by=person.name)
        self._note(request, f"approved by {person.name}")
        self._approved[self._decisions[request.call_id or ""].target] += 1
        if self._kills_left:
            await self._kill_while_running(task_queue)

    def _note(self, request: Request, decision: str) -> None:
        call_id = request.call_id or ""
        before = self._decisions.get(call_id)
        self._decisions[call_id] = Decided.of(request, decision) if before is None else before.then(decision)

    async def _tell_free_calls(self, run: Run) -> None:
        """Let the calls that need nobody finish first, so that the first kill hits a worker that only waits."""
        loop = asyncio.get_running_loop()
        give_up_at = loop.time() + FREE_CALLS_WITHIN_S
        status = await run.status()
        while any(call.state in ("running", "ready") for call in status.calls):
            if loop.time() > give_up_at:
                return
            await asyncio.sleep(LOOK_EVERY_S)
            status = await run.status()
        settled = [call.tool for call in status.calls if call.state == "settled"]
        if settled:
            self._screen.line(f"{', '.join(settled)} needed no approval: done, while {status.pending} calls wait.")

    async def _settle_doubt(self, run: Run, request: Request) -> None:
        evidence = look(self._workspace, Decided.of(request, "").target, request.call_id)
        self._screen.line(f"In doubt: {described(request)}: {request.reason}", "yellow")
        self._screen.line(f"  A look at the workspace: {evidence}.")
        if await self._person.took_effect(request, evidence):
            output = f"It ran before its worker died: {evidence}."
            await run.decide(request, Ran(output=output), decided_by=self._person.name)
            decision = "it ran"
        else:
            await run.decide(request, RunAgain(), decided_by=self._person.name)
            decision = "run it again"
        self._screen.line(f"  {self._person.name} says: {decision}.", "cyan")
        self._note(request, f'in doubt: "{decision}"')

    # --- the crashes ---

    async def _kill_while_waiting(self, run: Run, task_queue: str) -> None:
        self._kills_left.remove("waiting")
        waiting = len(await run.pending())
        await self._kill(f"while {waiting} requests wait for a person")
        self._screen.line(f"  With no worker alive the server still lists {len(await run.pending())} open requests.")
        await self._start_worker(task_queue, pause_at=self._setting.crash)

    async def _kill_while_running(self, task_queue: str) -> None:
        self._kills_left.remove("running")
        give_up_at = asyncio.get_running_loop().time() + PAUSED_WITHIN_S
        while not self._pause_file.exists():
            if asyncio.get_running_loop().time() > give_up_at:
                raise DemoError(f"the approved call did not begin within {PAUSED_WITHIN_S:.0f} s")
            await asyncio.sleep(LOOK_EVERY_S)
        await self._kill(f"in the middle of the approved call, {self._setting.crash} its effect")
        self._pause_file.unlink()
        await self._start_worker(task_queue)

    async def _kill(self, when: str) -> None:
        assert self._worker is not None
        await self._worker.kill()
        self._screen.line(f"kill -9 {self._worker.pid}: the worker died {when}.", "red")

    async def _start_worker(self, task_queue: str, *, pause_at: Crash | None = None) -> None:
        environment = environment_of_worker(
            address=self._setting.server.address,
            task_queue=task_queue,
            workspace=self._workspace.root,
            model=self._setting.model,
            scripted_at=self._setting.scripted_at,
        )
        if pause_at is not None:
            environment[pause.VARIABLE] = f"{pause_at}:{self._pause_file}"
        self._worker = await WorkerProcess.start(environment, self._folder / "worker.log")
        told = f" with {pause.VARIABLE}: its tool will stand still {pause_at} its effect" if pause_at else ""
        self._screen.line(f"A worker runs: process {self._worker.pid} (python worker.py){told}.", "dim")

    # --- the rest ---

    def _wrong(self, done: Counter[str], diagnostics: int) -> list[str]:
        left = partial(files_in, self._workspace)
        wrong = [
            f"cleanups of {target} took effect {done[target]} time(s), but {self._approved[target]} were approved"
            for target in sorted(FILES.keys() | done.keys() | self._approved.keys())
            if done[target] != self._approved[target]
        ]
        wrong += [
            f"{target} has {left(target)} files left"
            for target, count in FILES.items()
            if left(target) != (0 if self._approved[target] else count)
        ]
        if not self._decisions:
            wrong.append("nobody was asked for anything")
        if not diagnostics:
            wrong.append("no diagnostic ran")
        if self._kills_left and self._approved:
            wrong.append("the worker was not killed as often as planned")
        return wrong

    async def _tell_trouble(self, run: Run) -> None:
        """Say why nothing happens, where a real model's provider is the reason."""
        told: str | None = None
        while self._setting.scripted_at is None:
            await asyncio.sleep(TROUBLE_EVERY_S)
            problem = (await run.status()).problem
            if problem is not None and problem != told:
                told = problem
                self._screen.line(f"  {problem}", "yellow")


def times(count: int) -> str:
    """Say how often."""
    return {0: "never", 1: "once", 2: "twice"}.get(count, f"{count} times")
