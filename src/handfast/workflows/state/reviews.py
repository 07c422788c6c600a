"""Has requests reviewed beside the people who may decide them. No frame waits for it, and no quiet point."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from temporalio import workflow

from handfast.errors import PayloadInvalidError
from handfast.payloads.requests import Request
from handfast.payloads.review import REVIEW
from handfast.payloads.review_call import ReviewCall, Reviewed
from handfast.payloads.usage import Spent
from handfast.workflows.frame.identity import Identity
from handfast.workflows.frame.table import FrameTable
from handfast.workflows.ledger import reviews
from handfast.workflows.ledger.ledger import Ledger
from handfast.workflows.loop.limits import counts_cost
from handfast.workflows.state.call_arguments import CallArguments
from handfast.workflows.state.spending import Spending
from handfast.workflows.tasks.await_activity import Cancelled, Done, Ending, Failed, await_activity, start_activity
from handfast.workflows.tasks.marks import TaskMarks
from handfast.workflows.tasks.timeouts import review as timeouts_of

MOST_UNDER_WAY: Final = 20
"""Reviews at the same time; further requests are reviewed in their order."""
REVIEWED_BLOCKS: Final = 8
"""Blocks of a conversation that a reviewer is shown something of, beside the first one."""
_LEFT_OUT: Final = ("arguments", "arguments_preview", "arguments_bytes", "votes", "schedule")
"""Fields of a request that its reviewer gets in another way, or not at all."""


class Reviews:
    """Asks the reviewers of open requests, and takes what they say.

    What lasts of a review is in its request: one that is under way when a history is left is begun anew in the next.
    """

    def __init__(
        self,
        ledger: Ledger,
        frames: FrameTable,
        arguments: CallArguments,
        spending: Spending,
        *,
        identity: Identity,
        marks: TaskMarks,
        changed: Callable[[], None],
        held: Callable[[], bool],
    ) -> None:
        """Begin with none under way.

        Args:
            ledger: Holds the requests.
            frames: Hold the calls that they ask about.
            arguments: Looks up the arguments of those.
            spending: Counts what a reviewer's model call has cost.
            identity: Of the workflow.
            marks: Likewise.
            changed: Wakes the loops, and has the ledger published.
            held: Says whether the history is about to be left: what begins now would have to begin again.
        """
        self._ledger = ledger
        self._frames = frames
        self._arguments = arguments
        self._spending = spending
        self._identity = identity
        self._marks = marks
        self._changed = changed
        self._held = held
        self._activities: dict[str, workflow.ActivityHandle[Any]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def send(self) -> None:
        """Begin the reviews that are due, and cancel those whose requests somebody else has closed."""
        for request_id, task in [(each, task) for each, task in self._tasks.items() if task.done()]:
            del self._tasks[request_id]
            task.result()  # an exception in it is a bug of ours and fails the workflow task
        for request_id in [each for each in self._activities if not self._ledger.book.waits(each)]:
            self._activities.pop(request_id).cancel()
        if self._held():
            return
        for request in self._ledger.book.open_requests():
            if len(self._tasks) >= MOST_UNDER_WAY:
                return
            if reviews.due(request) and request.id not in self._tasks:
                self._begin(request)

    # --- inside ---

    def _begin(self, request: Request) -> None:
        assert request.review is not None
        frame = self._frames.frame_of(request)
        arguments, at = self._arguments.placed_of_request(request)
        asked = ReviewCall(
            origin=self._identity.origin(frame),
            request=request.model_copy(update=dict.fromkeys(_LEFT_OUT)),
            arguments=arguments,
            at=at,
            blocks=[*frame.blocks[:1], *frame.blocks[1:][-REVIEWED_BLOCKS:]],
            costs=any(map(counts_cost, self._frames.above(frame))) or None,
        )
        summary = f"{request.agent} · {request.review.by} reviews {request.tool}"
        config = timeouts_of(request.review.timeout_s, frame.model_queue)
        activity = start_activity(REVIEW, asked.to_wire(), summary, config, self._marks)
        self._activities[request.id] = activity
        self._tasks[request.id] = asyncio.create_task(self._review(request, activity))

    async def _review(self, request: Request, activity: workflow.ActivityHandle[Any]) -> None:
        said = _said(await await_activity(activity, self._marks), request)
        self._activities.pop(request.id, None)
        if said is None:
            return
        if said.spent is not None:
            self._count(request, said.spent)
        # A decision that is being checked came first; where it is refused, this one counts.
        await workflow.wait_condition(lambda: not self._is_being_decided(request.id))
        if self._ledger.book.waits(request.id):
            reviews.take(self._ledger, request.id, said, workflow.now())
        self._changed()

    def _count(self, request: Request, spent: Spent) -> None:
        frame = next((frame for frame in self._frames.all if frame.id == request.frame), None)
        if frame is not None:
            self._spending.add(frame, spent.usage, spent.model)

    def _is_being_decided(self, request_id: str) -> bool:
        entry = self._ledger.book.entries.get(request_id)
        return entry is not None and (entry.state == "checking" or self._ledger.book.is_looked_up(request_id))


def _said(ending: Ending, request: Request) -> Reviewed | None:
    """Read what a reviewer said; None where it was cancelled."""
    match ending:
        case Done(value):
            try:
                return Reviewed.from_wire(value)
            except PayloadInvalidError as error:
                return Reviewed(problem=f"what the reviewer said cannot be read: {error}")
        case Failed() if ending.timed_out:
            review = request.review
            took = "" if review is None else f" than {review.timeout_s:g} s"
            return Reviewed(problem=f"the review took longer{took}", spent=ending.spent)
        case Failed(type=kind, message=message):
            return Reviewed(problem=f"the reviewer could not be asked: {kind}: {message}", spent=ending.spent)
        case Cancelled():
            return None
