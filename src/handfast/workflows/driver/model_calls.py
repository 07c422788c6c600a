"""One frame's model calls: what is asked, and what becomes of every ending."""

from __future__ import annotations

from typing import Final

from temporalio import workflow

from handfast.payloads.json_profile import JsonObject
from handfast.payloads.mcp import MCP_UNAVAILABLE
from handfast.payloads.model_call import REPLY_BROKEN, ModelCall, ModelReply
from handfast.payloads.underway import Underway
from handfast.workflows.driver.answers import Answers
from handfast.workflows.driver.last_words import LastWords
from handfast.workflows.frame import provider_history
from handfast.workflows.frame.frame import Failure, Frame, Queued
from handfast.workflows.ledger import requests
from handfast.workflows.loop import guardrails, next_steps
from handfast.workflows.state.run_state import RunState
from handfast.workflows.tasks import timeouts
from handfast.workflows.tasks.settle import Cancelled, Done, Failed, Settled
from handfast.workflows.tasks.work import Work

CONVERSATION_BYTES: Final = 16_000_000
"""Most bytes of the blocks that a model call reads: above, no model takes it, and every worker would hold it."""
HISTORY_BYTES: Final = 40_000_000
"""Size of a history from which no further model call is made in it: at 50 MB the server terminates the workflow."""


class ModelTurns:
    """Asks the model, and writes its reply into the frame."""

    def __init__(self, state: RunState, frame: Frame, work: Work, last_words: LastWords) -> None:
        self._state = state
        self._frame = frame
        self._work = work
        self._last_words = last_words
        self._answers = Answers(state, frame)

    async def call(self) -> None:
        """Make one model call, to its end."""
        frame = self._frame
        if self._interrupted() or self._too_large():
            return
        early = [] if frame.guards_known else list(frame.queue)
        arg = ModelCall(
            origin=self._state.origin(frame),
            after=frame.seen,
            ids=[*frame.blocks[frame.cursor :], *(message.block for message in early)],
            called=True if frame.agent in frame.callers else None,
            probe=not (frame.limit_known and self._state.publisher.attributes_known and self._state.probed),
            guard=None if frame.guards_known else True,
            by_reference=True if frame.artifacts else None,
            history=provider_history.asked(frame),
            stream=True if frame.stream else None,
            underway=frame.underway,
            failed=frame.failed_calls or None,
            told=frame.untold or None,
        )
        settled = await self._work.activity(
            "handfast.call_model",
            arg.to_wire(),
            f"{frame.agent} · turn {frame.turn + 1}",
            timeouts.model_call(frame.model_queue),
            model=True,
            by_any_worker=frame.missing_since is not None,
        )
        reply = ModelReply.from_wire(settled.value) if isinstance(settled, Done) else None
        if reply is not None:
            self._state.spending.add(frame, reply.usage, reply.model)
        elif isinstance(settled, Failed) and settled.spent is not None:
            self._state.spending.add(frame, settled.spent.usage, settled.spent.model)
        if self._work.ending:
            return  # the frame has its ending already, of which this is a part
        if self._interrupted():
            return  # also where a whole reply came in: the message was there first
        if reply is not None:
            self._take_reply(reply, early)
            if reply.refusal is not None:
                await self._last_words.refused(reply)
            return
        self._take_failure(settled)

    def _take_failure(self, settled: Settled) -> None:
        frame = self._frame
        if not (isinstance(settled, Failed) and settled.timed_out):
            frame.underway = None  # it has ended, or nobody wants it any more
        match settled:
            case Cancelled():
                frame.failure = Failure(type="Cancelled", message="the model call was cancelled")
            case Failed() as failed if failed.type == "AgentMissing" or failed.not_registered:
                self._agent_missing()
            case Failed(type=kind, message=message) if kind == REPLY_BROKEN:
                self._reply_broken(message)
            case Failed(type="TimeoutScheduleToClose", under=under, message=message):
                self._out_of_patience(under, message)
            case Failed(type=kind, message=message):
                frame.failure = Failure(type=kind, message=message)

    def _interrupted(self) -> bool:
        """Whether a message wants the call to be made again, with it; what came of this one does not count."""
        if not self._frame.interrupted:
            return False
        self._frame.interrupted, self._frame.underway = False, None
        self._frame.phase = "model"
        return True

    def _take_reply(self, reply: ModelReply, early: list[Queued]) -> None:
        """Write a reply into the frame.

        Args:
            reply: What came back.
            early: Messages that were given along, as it was not known which guardrails would look at them.
        """
        frame = self._frame
        frame.missing_since, frame.resume_at, frame.broken_replies, frame.waits = None, None, 0, 0
        self._state.archives = self._state.archives or bool(reply.archive)
        self._state.ledger.state.signed = self._state.ledger.state.signed or bool(reply.signed)
        self._state.notifier.wanted = self._state.notifier.wanted or bool(reply.notify)
        frame.underway = reply.underway
        if reply.underway is not None:
            self._still_underway(reply.underway, reply, early)
            return
        if provider_history.take(frame, reply) or guardrails.know(frame, reply):
            return
        self._state.mailbox.place(frame, early, workflow.now())
        if not frame.limit_known:
            frame.take_limits(reply, unlimited=self._state.unlimited(frame))
        if reply.attributes is not None:
            self._state.publisher.attributes_exist(reply.attributes)
        if not self._state.probed:
            self._state.probed, self._state.keeps = True, bool(reply.keeps)
        self._state.transcript.add(reply.block, reply.items)
        frame.take(reply)
        if not frame.calls and reply.refusal is None:
            self._answers.take(reply)

    def _still_underway(self, underway: Underway, reply: ModelReply, early: list[Queued]) -> None:
        """The provider still makes the reply: it is waited for by a further call, within reason."""
        frame = self._frame
        guardrails.know(frame, reply)  # there are none, or they would have been named in place of this
        frame.untold = []
        self._state.mailbox.place(frame, early, workflow.now())
        if underway.calls < timeouts.MOST_UNDERWAY:
            frame.phase = "model"
            return
        message = f"the response {underway.response} was not complete after {underway.calls} calls that waited for it"
        frame.failure = Failure(type="ModelUnavailable", message=message)

    def _too_large(self) -> bool:
        """End a frame whose conversation is more than anybody can send or keep, before it hurts."""
        frame = self._frame
        size, held = self._state.transcript.size(frame.blocks), workflow.info().get_current_history_size()
        if size > CONVERSATION_BYTES:
            told = f"the conversation has {size:,} bytes, and a model call carries {CONVERSATION_BYTES:,} at most"
        elif held > HISTORY_BYTES:
            told = f"the workflow's history has {held:,} bytes, and the server would soon end it"
        else:
            return False
        facts: JsonObject = {"bytes": size, "limit": CONVERSATION_BYTES, "history_bytes": held}
        frame.fail(
            Failure(
                type="ConversationTooLarge",
                message=f"{told}; give the agent a truncation or a compaction, keep large outputs as artifacts, and "
                "let a workflow of your own go on in a fresh history (AgentHost.carry)",
                facts=facts,
            )
        )
        return True

    def _reply_broken(self, message: str) -> None:
        frame = self._frame
        frame.missing_since = None
        frame.broken_replies += 1
        if frame.broken_replies == next_steps.MOST_BROKEN_REPLIES:
            frame.failure = Failure(type="ModelReplyInvalid", message=message)
            return
        frame.phase = "backoff"
        frame.resume_at = workflow.now() + next_steps.delay_of(frame.broken_replies - 1)

    def _out_of_patience(self, under: str | None, message: str) -> None:
        """An hour has passed. Where neither model nor MCP server was asked in it, no worker was there: that is waited
        for."""
        frame = self._frame
        frame.waits += 1
        if under == MCP_UNAVAILABLE:
            frame.failure = Failure(type=under, message=message)
        elif (under is not None and under.startswith("Model")) or frame.waits > timeouts.MOST_WAITS:
            frame.failure = Failure(type="ModelUnavailable", message=message)
        else:
            frame.phase = "model"

    def _agent_missing(self) -> None:
        frame, now = self._frame, workflow.now()
        frame.missing_since = frame.missing_since or now
        if now - frame.missing_since < next_steps.MISSING_PATIENCE:
            frame.phase = "backoff"
            frame.resume_at = now + next_steps.pause_of_missing(frame.missing_since, now)
            return
        if self._work.ending:
            return
        frame.phase = "stuck"
        frame.request = self._state.ledger.book.open(requests.missing_agent(frame, self._state.asker))
