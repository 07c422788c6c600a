"""The runs of one workflow: their state, and the parts that work on it."""

from __future__ import annotations

import asyncio
from typing import Literal

from temporalio import workflow

from handfast.errors import TooManySignalsError
from handfast.payloads.history import KeptHistory
from handfast.payloads.model_call import ToldHooks
from handfast.payloads.requests import MEMO_REQUEST, Transition
from handfast.payloads.runs import RunFacts, RunInput, RunPhase
from handfast.payloads.transcript import user_message
from handfast.workflows.frame.frame import Failure, Frame
from handfast.workflows.frame.identity import Identity
from handfast.workflows.ledger.ledger import Ledger
from handfast.workflows.loop.messages import RefuseMessages
from handfast.workflows.state.call_arguments import CallArguments
from handfast.workflows.state.mailbox import Mailbox
from handfast.workflows.state.notifications import Notifier
from handfast.workflows.state.publish import Publisher
from handfast.workflows.state.reviews import Reviews
from handfast.workflows.state.run_state import RunState
from handfast.workflows.state.segment import Segment
from handfast.workflows.state.spending import Spending
from handfast.workflows.state.transcript import Transcript
from handfast.workflows.tasks.command_budget import CommandBudget
from handfast.workflows.tasks.marks import TaskMarks
from handfast.workflows.tasks.work import Work


class Runs:
    """Makes the parts of a workflow's runs, and hands them out.

    A part keeps nothing for itself that has to last: that is in `state`.

    Attributes:
        state: All that lasts.
        works: Activities and nested loops that each frame has under way.
        version: Changes whenever something is said from outside; drivers wait for it.
        too_heavy: Why the runs can neither be taken along nor stay in this history; a session ends with it.
    """

    def __init__(self, prefix: str, state: RunState) -> None:
        """Make the parts.

        Args:
            prefix: Before the names of the workflow's handlers; empty in a workflow of ours.
            state: As the former history left it, or a new one.
        """
        info = workflow.info()
        self.state = state
        self.frames = state.frames
        self.marks = TaskMarks()
        self.identity = Identity(
            workflow_id=info.workflow_id,
            workflow_run=info.first_execution_run_id,
            query=f"{prefix}transcript",
            now=workflow.now,
            new_id=lambda: str(workflow.uuid4()),
        )
        self.transcript = Transcript(state.transcript, self.identity.new_id)
        self.budget = CommandBudget(self.transcript.new_block)
        self.arguments = CallArguments(self.frames, self.transcript, self.budget, self.identity)
        self.ledger = Ledger(state.ledger, self.arguments.of_request, self.frames.root_of)
        self.mailbox = Mailbox(state.mailbox, self.ledger.log, self.transcript.new_block)
        self.spending = Spending(state.spending)
        self.segment = Segment(state.segment, lambda: self.quiet)
        self.publisher = Publisher(state.shown, state.deployment, self.marks)
        self.notifier = Notifier(state.notifier, self.ledger.log, state.deployment, self.marks, self.changed)
        self.reviews = Reviews(
            self.ledger,
            self.frames,
            self.arguments,
            self.spending,
            identity=self.identity,
            marks=self.marks,
            changed=self.changed,
            held=lambda: self.segment.holds,
        )
        self.works: dict[str, Work] = {frame.id: Work(self.marks) for frame in self.frames.all}
        self.version = 0
        self.too_heavy: Failure | None = None
        self._prefix = prefix
        self._ended: RunPhase = "idle"
        self._told_in = 0
        self._publishing: asyncio.Task[None] | None = None
        for request in self.ledger.book.open_requests():
            if not self.publisher.shows(request.id):
                self.ledger.book.unpublished[request.id] = request
        self.notifier.send()

    # --- where they stand ---

    @property
    def about_to_begin(self) -> bool:
        """True while a workflow of ours has been started, and its run has not begun: messages may come that early."""
        return not self._prefix and not self.frames.all

    @property
    def phase(self) -> RunPhase:
        """Phase of the workflow, as its status says it."""
        if not self.frames.driven:
            return self._ended
        return "waiting" if self.ledger.book.open_requests() else "running"

    @property
    def quiet(self) -> bool:
        """True while no loop has anything under way, and no decision is being checked."""
        return not self.ledger.book.busy and all(work.quiet for work in self.works.values())

    @property
    def told_in_this_task(self) -> bool:
        """True if something was said from outside in the workflow task under way."""
        return self._told_in == workflow.info().get_current_history_length()

    # --- beginning and ending ---

    def begin(self, given: RunInput) -> Frame:
        """Enter the root frame of a run from *given*."""
        frame = Frame(
            id=self.frames.new_id(),
            agent=given.agent,
            agent_path=[given.agent],
            max_turns=given.max_turns,
            unlimited=given.limits_turns and given.max_turns is None,
            requested_by=given.requested_by,
            stop=self.state.stop_first,
            history=KeptHistory.begin(given.history),
            stream=bool(given.stream),
            on_message=given.on_message or "follow_up",
            model_queue=given.model_queue,
            queue=self.mailbox.take_over(),
            untold=[ToldHooks(what="started")],
        )
        facts = RunFacts(
            context=given.context,
            labels=given.labels,
            requested_by=given.requested_by,
            model=given.model,
            model_settings=given.model_settings,
        )
        if facts != RunFacts():
            frame.facts = self.transcript.new_block([facts.to_wire()])
        if given.input:
            items = [user_message(given.input)] if isinstance(given.input, str) else given.input
            frame.blocks.append(self.transcript.new_block(items))
        self.state.labels |= given.labels
        self.state.stop_first = None
        self.frames.all.append(frame)
        return frame

    def begin_anew(self) -> None:
        """Withdraw the requests that a failed history has left in the memo: nobody waits for them any more."""
        left = [key.removeprefix(MEMO_REQUEST) for key in workflow.info().raw_memo if key.startswith(MEMO_REQUEST)]
        why = "the workflow failed, and was begun again by its retry policy"
        for request in left:
            self.state.shown[request] = 0
            self.ledger.book.unpublished[request] = None
            self.ledger.log.note(Transition(what="withdrawn", at=workflow.now(), request=request, why=why))
        self.publish()

    def forget(self, frame: Frame) -> None:
        """Forget a frame that has ended."""
        self.frames.all.remove(frame)
        self.works.pop(frame.id, None)

    def stay(self) -> None:
        """Stay in this history for good: steps that were held back are taken."""
        self.segment.end()
        self.version += 1

    def close(self, how: RunPhase) -> None:
        """Publish the last state of a workflow that ends with its run."""
        self._ended = how
        self.mailbox.refuse_early(RefuseMessages("ended", "the run did not begin"), workflow.now())
        self.publish()

    # --- changes ---

    def changed(self) -> None:
        """Wake the drivers: something was said from outside.

        Where there is no driver, publish in their place, once however many signals a task brings.
        """
        self.wake()
        if not self.frames.driven and (self._publishing is None or self._publishing.done()):
            self._publishing = asyncio.create_task(self._publish_later())

    def flooded(self, name: str, count: int) -> None:
        """Say in the log, and where attention is called to runs, that signals of *name* are refused unread."""
        now = workflow.now()
        what: Literal["refused", "message_refused"] = "message_refused" if name.endswith("send") else "refused"
        named = f"signals {name}" if name else "signals of unknown names"
        refusal = TooManySignalsError(f"{count:,} {named} so far were refused unread: too many came at once")
        self.ledger.log.note(Transition(what=what, at=now, why=f"{type(refusal).__name__}: {refusal.message}"))
        self.publisher.flooded(self.state.signals.refused, now)
        self.changed()

    def wake(self) -> None:
        """Wake the drivers."""
        self.version += 1
        self._told_in = workflow.info().get_current_history_length()

    def publish(self) -> None:
        """Write changes to memo and search attributes, and have people notified of them."""
        frame = self.frames.run_frame
        self.notifier.take(self.state.labels)
        self.publisher.publish(self.ledger, self.phase, frame.agent if frame else None, self.state.labels)
        self.notifier.send()
        self.reviews.send()

    async def _publish_later(self) -> None:
        self.publish_if_idle()

    def publish_if_idle(self) -> None:
        """Publish where no driver is there to do it in the same task."""
        if not self.frames.driven:
            self.publish()
