"""The course of the demo: start a ticket, ask people, kill the worker on request, count the effects."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import suppress
from typing import Final

from temporalio.client import WorkflowFailureError, WorkflowHandle
from temporalio.service import RPCError

from activities.workspace import Workspace
from demonstration.count import Count
from demonstration.evidence import CUSTOMER, Evidence, ToolRun, look, prepare, tool_runs
from demonstration.model import TICKET
from demonstration.person import No, Person, Yes, described, listed, verdict_of
from demonstration.screen import DemoError, Screen
from demonstration.workers import LOOK_EVERY_S, Setting, Workers
from desk import groups
from handfast import Handfast, Ran, Receipt, Request, Run, RunAgain
from handfast.errors import EditRefusedError, NotAnApproverError, RequesterExcludedError
from handfast.payloads.events import RequestReviewed
from workflows.service_desk import Resolution, ServiceDesk, Ticket

BY_DEADLINE: Final = {"reject": "it is rejected", "approve": "it is approved", "fail": "the ticket fails"}
FOLLOW_UP_AFTER_S: Final = 1.0
FREE_CALLS_WITHIN_S: Final = 10.0
TROUBLE_EVERY_S: Final = 5.0


class Story:
    """Plays one ticket, from its start to the count of its effects."""

    def __init__(self, setting: Setting, person: Person, screen: Screen) -> None:
        """Prepare the workspace; nothing runs yet."""
        self._setting, self._person, self._screen = setting, person, screen
        self.id = f"ticket-{uuid.uuid4().hex[:8]}"
        folder = setting.directory / "demo" / self.id
        self._workspace: Workspace = prepare(folder / "workspace")
        self._count = Count(self._workspace)
        # A task queue of its own, so that no other worker takes part in what is counted here.
        self._workers = Workers(setting, screen, f"demo-{self.id}", folder, self._workspace.root)
        self._handle: WorkflowHandle[ServiceDesk, Resolution] | None = None
        self._agent = "triage"
        self._runs_told = 0
        self._told_free = False

    async def play(self) -> Resolution:
        """Run the ticket to its end.

        Raises:
            DemoError: The ticket failed, or the server is away.
        """
        await self._workers.start()
        self._handle = await self._setting.client.start_workflow(
            ServiceDesk.run,
            Ticket(TICKET, FOLLOW_UP_AFTER_S, requested_by=self._person.name, customer=CUSTOMER),
            id=self.id,
            task_queue=f"demo-{self.id}",
            static_summary=TICKET,
        )
        run = Handfast(self._setting.client).run(self.id)
        self._screen.line(f"Ticket {self.id}, by {self._person.name}: {TICKET}", "bold")
        trouble = asyncio.create_task(self._tell_trouble(run))
        try:
            async for request in run.requests():
                await self._take(run, request)
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
        await self._workers.stop()

    async def summary(self, resolution: Resolution) -> list[str]:
        """Write what happened, counted; return what is wrong with it."""
        runs = await self._tool_runs()
        screen = self._screen
        screen.line()
        screen.line(f"The answer, by {resolution.ended_by}", "bold")
        screen.line(resolution.outcome.report)
        for each in resolution.outcome.left_open:
            screen.line(f"Left open: {each}")
        screen.line("The follow-up, by another agent after a durable timer", "bold")
        screen.line(resolution.closing_note)
        screen.line()
        screen.line("Summary", "bold")
        screen.table(self._count.rows(runs))
        screen.line(f"  Effects are lines of effects.log and ledger.jsonl in {self._workspace.root}.", "dim")
        screen.line(f"  Run       {self.id}")
        screen.line(f"  Temporal  {self.page} (while the server runs)")
        wrong = self._count.wrong(runs)
        if self._workers.kills_left and self._count.approved:
            wrong.append("the worker was not killed as often as planned")
        return wrong

    @property
    def page(self) -> str:
        """The run on Temporal's own web page."""
        return f"{self._setting.server.ui_url}/namespaces/{self._setting.server.namespace}/workflows/{self.id}"

    # --- what people are asked ---

    async def _take(self, run: Run, request: Request) -> None:
        await self._tell_agents(request)
        match request.kind:
            case "question":
                await self._answer(run, request)
            case "in_doubt":
                await self._settle_doubt(run, request)
            case "approval":
                if request.review is not None and await self._is_decided(run, request):
                    return
                await self._tell_free_calls(run)
                await self._workers.kill_while_waiting(run)
                await self._approve_or_not(run, request)
            case kind:
                raise DemoError(f"{request.agent} waits for a decision of kind {kind}: {request.reason}")

    async def _answer(self, run: Run, request: Request) -> None:
        name = self._person.name
        self._screen.line(f"{request.agent} asks: {(request.arguments or {}).get('question')}", "yellow")
        said = await self._person.say(request)
        await run.answer(request, said, decided_by=name)
        self._count.note(request, f'answered by {name}: "{said}"')

    async def _is_decided(self, run: Run, request: Request) -> bool:
        """Wait for what the reviewer says of a request; return True where it has decided it."""
        async for event in run.events():
            if isinstance(event, RequestReviewed) and event.request == request.id:
                if event.left is not None:
                    self._screen.line(f"{event.by} leaves {described(request)} to people: {event.why}", "dim")
                    return False
                self._screen.line(f"{request.agent} wants to run {described(request)}", "yellow")
                self._screen.line(f"  {event.by} says {event.verdict}: {event.why}", "cyan")
                self._count.note(request, f'{event.verdict}ed by {event.by}: "{event.why}"')
                return True
        return False

    async def _approve_or_not(self, run: Run, request: Request) -> None:
        self._screen.line(f"{request.agent} wants to run {described(request)}", "yellow")
        if request.deadline is not None:
            until = request.deadline.astimezone().strftime("%a %H:%M")
            self._screen.line(
                f"  {request.reason} Unanswered until {until}, {BY_DEADLINE[request.on_deadline]}.", "dim"
            )
        name, answer, receipt = await self._decide(run, request)
        if isinstance(answer, No):
            reason = f': "{answer.reason}"' if answer.reason else ", no reason given"
            self._count.note(request, f"rejected by {name}{reason}")
            return
        changed = f" with {listed(answer.changes)}" if answer.changes else ""
        if receipt.asked_again is not None:
            self._screen.line(f"  {name} may not approve what {name} changed: it is asked about again.", "yellow")
            self._count.note(request, f"changed by {name}{changed}")
            return
        self._count.note(request, f"approved by {name}{changed}", approved=True)
        await self._workers.kill_while_running()

    async def _decide(self, run: Run, request: Request) -> tuple[str, Yes | No, Receipt]:
        """Have it decided: by the person, and where a rule refuses that, by one of finance after the other."""
        person = self._person
        names = iter([*groups["finance"]])
        name, answer = person.name, await person.answer(request)
        while True:
            try:
                verdict = verdict_of(answer, request)
                return name, answer, await run.decide(request, verdict, decided_by=name)
            except EditRefusedError as refusal:
                self._screen.line(f"  Refused: {refusal}", "red")
                answer = await person.answer(request)
            except (NotAnApproverError, RequesterExcludedError) as refusal:
                rule = str(refusal.facts.get("rule"))
                self._screen.line(f"  Refused by a rule: {refusal}", "red")
                self._count.note(request, f"{name} refused ({rule})")
                name = next(names, "")
                if not name:
                    raise DemoError(f"nobody may decide {request.id}") from None
                self._screen.line(f"  {name}, who is of finance, is asked instead.")
                answer = await person.answer_as(name, request, answer)

    async def _settle_doubt(self, run: Run, request: Request) -> None:
        target = (request.arguments or {}).get("target")
        evidence: Evidence = look(self._workspace, request.tool, request.call_id, str(target) if target else None)
        self._screen.line(f"In doubt: {described(request)}: {request.reason}", "yellow")
        self._screen.line(f"  A look at the workspace: {evidence}.")
        if await self._person.took_effect(request, evidence):
            await run.decide(
                request, Ran(output=f"It ran before its worker died: {evidence}."), decided_by=self._person.name
            )
            decision = "it ran"
        else:
            await run.decide(request, RunAgain(), decided_by=self._person.name)
            decision = "run it again"
        self._screen.line(f"  {self._person.name} says: {decision}.", "cyan")
        self._count.note(request, f'in doubt: "{decision}"')

    # --- what is told meanwhile ---

    async def _tell_agents(self, request: Request) -> None:
        """Say who works on the ticket now, and which agents were used as tools."""
        agent = request.agent_path[0]
        if agent != self._agent:
            self._screen.line(f"{self._agent} has handed the ticket over: {agent} goes on.")
            self._agent = agent
        runs = await self._tool_runs()
        nested: dict[tuple[str, ...], list[str]] = {}
        for each in runs[self._runs_told :]:
            if len(each.path) > 1:
                nested.setdefault(each.path, []).append(each.tool)
        self._runs_told = len(runs)
        for path, tools in nested.items():
            self._screen.line(
                f"{path[-2]} has asked the {path[-1]}, an agent of its own, which used {', '.join(tools)}."
            )

    async def _tool_runs(self) -> list[ToolRun]:
        assert self._handle is not None
        return [*tool_runs(await self._handle.fetch_history())]

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
        if settled and not self._told_free:
            self._told_free = True
            self._screen.line(f"{', '.join(settled)} needed no approval: done, while {status.pending} calls wait.")

    async def _tell_trouble(self, run: Run) -> None:
        """Say why nothing happens, where a real model's provider is the reason."""
        told: str | None = None
        while self._setting.scripted_at is None:
            await asyncio.sleep(TROUBLE_EVERY_S)
            problem = (await run.status()).problem
            if problem is not None and problem != told:
                told = problem
                self._screen.line(f"  {problem}", "yellow")
