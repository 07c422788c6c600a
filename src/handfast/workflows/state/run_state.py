"""What all frames of one workflow share: ledger, transcript, and what the world may see of them."""

from __future__ import annotations

import asyncio
from typing import Final

from temporalio import workflow

from handfast.errors import RequestClosedError
from handfast.payloads.base import json_size
from handfast.payloads.carry import SEGMENT_EVENTS
from handfast.payloads.json_profile import JsonObject
from handfast.payloads.model_call import Origin, ToldHooks
from handfast.payloads.proofs import Proofs
from handfast.payloads.requests import MEMO_REQUEST, Request, Transition
from handfast.payloads.review_call import ReviewCall
from handfast.payloads.runs import RunFacts, RunInput, RunPhase
from handfast.payloads.tool_call import ArgumentsAt
from handfast.payloads.transcript import user_message
from handfast.payloads.usage import Spent
from handfast.workflows.frame import provider_history
from handfast.workflows.frame.frame import Call, Failure, Frame, asked_call, asking_frame
from handfast.workflows.frame.table import FrameTable
from handfast.workflows.ledger import binding, requests
from handfast.workflows.ledger.binding import Asker
from handfast.workflows.ledger.entry import Entry
from handfast.workflows.ledger.ledger import Ledger, LedgerState
from handfast.workflows.ledger.requests import place_of
from handfast.workflows.loop import limits
from handfast.workflows.loop.messages import RefuseMessages
from handfast.workflows.state.leaving import Leaving
from handfast.workflows.state.mailbox import Mailbox, MailboxState
from handfast.workflows.state.notifications import Notifier
from handfast.workflows.state.publish import LISTED_BYTES, Publisher
from handfast.workflows.state.reviews import Reviews
from handfast.workflows.state.spending import Spending
from handfast.workflows.state.transcript import Transcript
from handfast.workflows.tasks.command_budget import Room
from handfast.workflows.tasks.intake import SignalTally
from handfast.workflows.tasks.marks import Marks
from handfast.workflows.tasks.work import Work

REVIEWED_BLOCKS: Final = 8
"""Blocks of a conversation that a reviewer is shown something of, beside the first one."""
_LEFT_OUT: Final = ("arguments", "arguments_preview", "arguments_bytes", "votes", "schedule")
"""Fields of a request that its reviewer gets in another way, or not at all."""


class RunState(FrameTable):
    """One table of frames, one ledger, one transcript.

    Attributes:
        active: Ids of the frames that a driver is at work on.
        works: What the frames that are driven have under way, by frame.
        labels: Of all runs.
        unlimited_frames: Frames whose caller lifted the agent's own turn limit.
        leaving: When all goes on in a fresh history.
        too_heavy: Why it can neither be taken along nor stay here any longer: what has no end of its own ends with it.
        keeps: Workers keep outside the history what is too large for it; `probed` once one was asked in this history.
        archives: The workers have an archive, into which the run's history goes.
        ledger_version: Changes whenever a decision changes the ledger; drivers wait for it.
    """

    def __init__(
        self,
        prefix: str,
        segment_events: int = SEGMENT_EVENTS,
        ledger: LedgerState | None = None,
        mailbox: MailboxState | None = None,
    ) -> None:
        """Begin empty.

        Args:
            prefix: Before the names of the workflow's handlers.
            segment_events: Events of the history after which all goes on in a fresh one.
            ledger: As a former history left it.
            mailbox: Likewise.
        """
        super().__init__()
        info = workflow.info()
        self.ledger = Ledger(ledger, self._arguments_of, self.root_of)
        self.mailbox = Mailbox(mailbox or MailboxState(), self.ledger.log, self.new_block)
        self.transcript = Transcript()
        self.room = Room(self.new_block)
        self.marks = Marks()
        self.signals = SignalTally()
        self.publisher = Publisher(self.marks)
        self.notifier = Notifier(self.ledger, self.ledger_changed, self.marks)
        self.spending = Spending()
        self.asker = Asker(
            workflow_id=info.workflow_id,
            workflow_run=info.first_execution_run_id,
            now=workflow.now,
            new_id=lambda: str(workflow.uuid4()),
        )
        self.active: set[str] = set()
        self.works: dict[str, Work] = {}
        self.archives = False
        self.ledger_version = 0
        self.unlimited_frames: set[str] = set()
        self.labels: dict[str, str] = {}
        self.leaving = Leaving(segment_events, lambda: self.quiet)
        self.reviews = Reviews(
            self.ledger,
            self.marks,
            call_of=self._review_call,
            spent=self._count_review,
            changed=self.ledger_changed,
            held=lambda: self.leaving.holds,
        )
        self.too_heavy: Failure | None = None
        self.keeps = False
        self.probed = False
        self._prefix = prefix
        self._ended: RunPhase = "idle"
        self._stop_first: str | None = None
        self._told_in = 0
        self._publishing: asyncio.Task[None] | None = None

    @property
    def query(self) -> str:
        """Name of the workflow's transcript query."""
        return f"{self._prefix}transcript"

    @property
    def about_to_begin(self) -> bool:
        """Whether a workflow of ours has been started, and its run has not begun: messages may come that early."""
        return not self._prefix and not self.frames

    def begin_anew(self) -> None:
        """Withdraw what a history that failed has left in the memo: nobody waits for it any more."""
        left = [key.removeprefix(MEMO_REQUEST) for key in workflow.info().raw_memo if key.startswith(MEMO_REQUEST)]
        self.publisher.restore(None, dict.fromkeys(left, 0))
        for request in left:
            self.ledger.book.unpublished[request] = None
            why = "the workflow failed, and was begun again by its retry policy"
            self.ledger.log.note(Transition(what="withdrawn", at=workflow.now(), request=request, why=why))
        self.publish()

    def ledger_changed(self) -> None:
        """Wake the drivers; where there is none, publish in their place, once however many signals a task brings."""
        self.wake()
        if not self.active and (self._publishing is None or self._publishing.done()):
            self._publishing = asyncio.create_task(self._publish_later())

    def wake(self) -> None:
        """Wake the drivers: something was said from outside."""
        self.ledger_version += 1
        self._told_in = workflow.info().get_current_history_length()

    @property
    def told_in_this_task(self) -> bool:
        """Whether something was said from outside in the workflow task under way."""
        return self._told_in == workflow.info().get_current_history_length()

    @property
    def phase(self) -> RunPhase:
        """Where the workflow stands."""
        if not self.active:
            return self._ended
        return "waiting" if self.ledger.book.open_requests() else "running"

    def close(self, how: RunPhase) -> None:
        """Publish the last state of a workflow that ends with its run."""
        self._ended = how
        self.mailbox.refuse_early(RefuseMessages("ended", "the run did not begin"), workflow.now())
        self.publish()

    def new_frame(self, given: RunInput) -> Frame:
        """Enter a frame for a run from *given*."""
        frame = Frame(
            id=self._new_frame_id(),
            agent=given.agent,
            agent_path=[given.agent],
            max_turns=given.max_turns,
            requested_by=given.requested_by,
            stop=self._stop_first,
            history=provider_history.begin(given.history),
            stream=bool(given.stream),
            on_message=given.on_message or "follow_up",
            model_queue=given.model_queue,
            queue=self.mailbox.take_over(),
            untold=[ToldHooks(what="started")],
        )
        if given.limits_turns and given.max_turns is None:
            self.unlimited_frames.add(frame.id)
        facts = RunFacts(
            context=given.context,
            labels=given.labels,
            requested_by=given.requested_by,
            model=given.model,
            model_settings=given.model_settings,
        )
        if facts != RunFacts():
            frame.facts = self.new_block([facts.to_wire()])
        if given.input:
            frame.blocks.append(
                self.new_block([user_message(given.input)] if isinstance(given.input, str) else given.input)
            )
        self.labels = {**self.labels, **given.labels}
        self._stop_first = None
        self.frames.append(frame)
        return frame

    def new_child(self, parent: Frame, agent: str, block: str) -> Frame:
        """Enter a frame for a nested loop that reads *block*; it shares context and labels of the run."""
        frame = Frame(
            id=self._new_frame_id(),
            parent=parent.id,
            agent=agent,
            agent_path=[*parent.agent_path, agent],
            blocks=[block],
            facts=parent.facts,
            stop=parent.stop,
            namespace=parent.namespace,
            requested_by=parent.requested_by,
            stream=parent.stream,
            on_message=parent.on_message,
            model_queue=parent.model_queue,
            untold=[ToldHooks(what="started")],
        )
        self.frames.append(frame)
        return frame

    def forget(self, frame: Frame) -> None:
        """Let go of a frame that has ended."""
        self.frames.remove(frame)
        self.works.pop(frame.id, None)
        self.unlimited_frames.discard(frame.id)

    @property
    def quiet(self) -> bool:
        """Whether no loop has anything under way, and no decision is being checked."""
        return not self.ledger.book.busy and all(work.quiet for work in self.works.values())

    def stay(self) -> None:
        """Stay in this history for good: what was held goes on."""
        self.leaving.end()
        self.ledger_version += 1

    def drop_below(self, top: Frame) -> None:
        """Let go of the nested loops of a frame, which have all ended."""
        for frame in self.under(top):
            if frame is not top:
                self.forget(frame)

    def tick(self, frame: Frame) -> None:
        """Look at the clocks of a frame and of those above it, wherever one may be needed."""
        above: str | None = frame.id
        while above is not None:
            each = self.frame(above)
            if each.max_seconds is not None or not each.limit_known:
                limits.tick(each, workflow.now(), resting=self._rests(each))
            above = each.parent

    def _rests(self, top: Frame) -> bool:
        """Whether a frame, with everything below it, does nothing but wait for people."""
        frames = {frame.id for frame in self.under(top)}
        busy = any(not self.works[each].quiet for each in frames if each in self.works)
        return not busy and any(request.frame in frames for request in self.ledger.book.open_requests())

    def new_block(self, items: list[JsonObject]) -> str:
        """Enter items that the workflow made itself; return their block's id."""
        return self.transcript.add(str(workflow.uuid4()), items)

    def replace_block(self, frame: Frame, old: str, items: list[JsonObject]) -> str | None:
        """Let *items* be read in the place of a block of *frame*; return their block's id, None where there are none.

        Whoever still asks for the old block by its id gets these too.
        """
        new = self.new_block(items)
        self.transcript.redirect(old, new)
        frame.replace_block(old, new if items else None)
        return new if items else None

    def origin(self, frame: Frame) -> Origin:
        """Where an activity of *frame* belongs."""
        return Origin(
            workflow_run=self.asker.workflow_run,
            agent=frame.agent,
            agent_path=frame.agent_path,
            frame=frame.id,
            epoch=frame.epoch,
            turn=frame.turn,
            query=self.query,
            facts=frame.facts,
            parent=frame.parent,
            call=frame.parent_call,
        )

    def origin_of(self, request: Request) -> Origin:
        """Where an activity that serves *request* belongs.

        Raises:
            RequestClosedError: Its loop is there no more.
        """
        return self.origin(asking_frame(self.frames, request))

    def call_of(self, request: Request) -> tuple[Frame, Call]:
        """The call that *request* is about, and its frame.

        Raises:
            RequestClosedError: It waits for that no more.
        """
        return asked_call(self.frames, request)

    def recalled(self, request: Request, call: Call, arguments: JsonObject) -> Entry | None:
        """The remembered decision that answers a call, bound to the arguments that it runs with; None: ask."""
        entry = self.ledger.recall(request, arguments, call.call_id, workflow.now())
        if entry is not None:
            binding.bind_recalled(entry, request, arguments)
        return entry

    def in_full(self, request: Request) -> Request:
        """An open request with its arguments whole, as far as one answer has room for them."""
        arguments = self._arguments_of(request)
        if arguments is None or json_size(arguments) > LISTED_BYTES:
            return request
        return request.model_copy(
            update={"arguments": arguments, "arguments_preview": None, "arguments_bytes": None},
        )

    def _arguments_of(self, request: Request) -> JsonObject | None:
        """Whole, also where the request shows only their start; None where it is about no call that waits."""
        if request.arguments is not None:
            return request.arguments
        try:
            frame, call = self.call_of(request)
        except RequestClosedError:
            return None
        return call.edited or self.arguments_of(frame, call)

    def item_of(self, frame: Frame, call: Call) -> JsonObject:
        """The item of the reply that made *call*."""
        assert frame.reply is not None
        return self.transcript.items(frame.reply)[call.plan.index]

    def arguments_of(self, frame: Frame, call: Call) -> JsonObject:
        """What *call* runs with."""
        return requests.arguments_of(call, self.item_of(frame, call))

    def is_bound(self, frame: Frame, call: Call) -> bool:
        """Whether what *call* runs with is what was approved: for calls that no tool's wrapper checks."""
        return binding.is_bound(frame, call, self.arguments_of(frame, call), self.asker)

    def placed_arguments(self, frame: Frame, call: Call) -> tuple[JsonObject | None, ArgumentsAt | None]:
        """What *call* runs with, as an activity gets it."""
        return self.room.placed(self.arguments_of(frame, call), place_of(frame, call))

    def placed_proofs(self, call: Call) -> Proofs | None:
        """The decisions behind a call, as its activity gets them; None where it waited for nobody, or none need be."""
        proofs = call.proofs
        if proofs is None or not (self.ledger.state.signed or proofs.decisions or proofs.again):
            return None
        wire = proofs.to_wire()
        if self.room.takes_small(wire):
            return proofs
        return Proofs(at=self.new_block([wire]))

    def unlimited(self, frame: Frame) -> bool:
        """Whether the caller lifted the agent's own turn limit."""
        return frame.id in self.unlimited_frames

    def stop(self, why: str) -> None:
        """Let every loop under way end after its turn.

        One that waits between turns, for a person, ends now; a run that is only about to begin, before its first one.
        """
        if self.about_to_begin:
            self._stop_first = why
        for frame in self.frames:
            if frame.phase == "finished" or frame.failure is not None:
                continue
            frame.stop = why
            if frame.phase in ("budget", "stuck") and frame.request is not None:
                self.ledger.book.withdraw(frame.request, workflow.now(), "the run was told to stop")
                frame.phase = "model"
        self.ledger_changed()

    def publish(self) -> None:
        """Write what changed to memo and search attributes."""
        frame = self.run_frame
        self.notifier.take(self.labels)
        self.publisher.publish(self.ledger, self.phase, frame.agent if frame else None, self.labels)
        self.notifier.send()
        self.reviews.send()

    async def _publish_later(self) -> None:
        self.publish_if_idle()

    def _review_call(self, request: Request) -> tuple[ReviewCall, str | None]:
        """Return what a reviewer is asked about a request, and the task queue of the run's model calls."""
        frame, call = self.call_of(request)
        place = None if call.edited is not None else place_of(frame, call)
        arguments, at = self.room.placed(self._arguments_of(request) or {}, place)
        asked = ReviewCall(
            origin=self.origin(frame),
            request=request.model_copy(update=dict.fromkeys(_LEFT_OUT)),
            arguments=arguments,
            at=at,
            blocks=[*frame.blocks[:1], *frame.blocks[1:][-REVIEWED_BLOCKS:]],
        )
        return asked, frame.model_queue

    def _count_review(self, request: Request, spent: Spent) -> None:
        frame = next((frame for frame in self.frames if frame.id == request.frame), None)
        if frame is not None:
            self.spending.add(frame, spent.usage, spent.model)

    def publish_if_idle(self) -> None:
        """Publish where no driver is there to do it in the same task."""
        if not self.active:
            self.publish()
