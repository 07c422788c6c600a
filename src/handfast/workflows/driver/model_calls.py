"""One frame's model calls: what is asked, and what becomes of every ending."""

from __future__ import annotations

from typing import Final

from temporalio import workflow

from handfast.payloads.json_profile import JsonObject
from handfast.payloads.mcp import MCP_UNAVAILABLE
from handfast.payloads.model_call import REPLY_BROKEN, ModelCall, ModelReply, Underway
from handfast.payloads.transcript import user_message
from handfast.workflows.driver.frame_loop import FrameLoop
from handfast.workflows.driver.last_words import LastWords
from handfast.workflows.frame.frame import Failure, Queued
from handfast.workflows.frame.items import answer_value, text_of_reply
from handfast.workflows.ledger import requests
from handfast.workflows.ledger.ledger import Ledger
from handfast.workflows.loop import guardrails, next_steps
from handfast.workflows.state.deployment import Deployment
from handfast.workflows.state.mailbox import Mailbox
from handfast.workflows.state.spending import Spending
from handfast.workflows.tasks import timeouts
from handfast.workflows.tasks.await_activity import Cancelled, Done, Ending, Failed

MOST_INVALID_OUTPUTS: Final = 2
"""Answers that do not fit the output type before the run fails: the model is told once what was wrong."""
CONVERSATION_BYTES: Final = 16_000_000
"""Most bytes of the blocks that a model call reads: above, no model takes it, and every worker would hold it."""
HISTORY_BYTES: Final = 40_000_000
"""Size of a history from which no further model call is made in it: at 50 MB the server terminates the workflow."""


class ModelCalls:
    """Calls the model, and writes its replies into the frame."""

    def __init__(
        self,
        loop: FrameLoop,
        ledger: Ledger,
        mailbox: Mailbox,
        spending: Spending,
        deployment: Deployment,
        *,
        last_words: LastWords,
    ) -> None:
        """Take the loop, and the parts that a reply is written to."""
        self._loop = loop
        self._frame = loop.frame
        self._ledger = ledger
        self._mailbox = mailbox
        self._spending = spending
        self._deployment = deployment
        self._last_words = last_words

    async def call(self, *, costs: bool) -> None:
        """Make one model call, and take its ending; *costs*: a limit of money holds."""
        frame = self._frame
        if self._interrupted() or self._too_large():
            return
        early = [] if frame.guards_known else list(frame.queue)
        arg = ModelCall(
            origin=self._loop.origin,
            after=frame.seen,
            ids=[*frame.blocks[frame.cursor :], *(message.block for message in early)],
            called=True if frame.agent in frame.callers else None,
            probe=not frame.limit_known or self._deployment.needs_probe(workflow.info().run_id),
            guard=None if frame.guards_known else True,
            by_reference=True if frame.artifacts else None,
            history=frame.history_to_ask(),
            stream=True if frame.stream else None,
            underway=frame.underway,
            failed=frame.failed_calls or None,
            told=frame.untold or None,
            costs=True if costs else None,
        )
        ending = await self._loop.work.activity(
            "handfast.call_model",
            arg.to_wire(),
            f"{frame.agent} · turn {frame.turn + 1}",
            timeouts.model_call(frame.model_queue),
            model=True,
            by_any_worker=frame.missing_since is not None,
        )
        reply = ModelReply.from_wire(ending.value) if isinstance(ending, Done) else None
        if reply is not None:
            self._spending.add(frame, reply.usage, reply.model)
        elif isinstance(ending, Failed) and ending.spent is not None:
            self._spending.add(frame, ending.spent.usage, ending.spent.model)
        if self._loop.work.ending:
            return  # the frame has its ending already, of which this is a part
        if self._interrupted():
            return  # also where a whole reply came in: the message was there first
        if reply is not None:
            self._take_reply(reply, early)
            if reply.refusal is not None:
                await self._last_words.refused(reply)
            return
        self._take_failure(ending)

    def _take_failure(self, ending: Ending) -> None:
        frame = self._frame
        if not (isinstance(ending, Failed) and ending.timed_out):
            frame.underway = None  # it has ended, or nobody wants it any more
        match ending:
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
        """Return whether a message makes the call anew, with it; the call under way does not count then."""
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
        self._deployment.take(reply)
        self._ledger.state.signed = self._ledger.state.signed or bool(reply.signed)
        frame.underway = reply.underway
        if reply.underway is not None:
            self._still_underway(reply.underway, reply, early)
            return
        if frame.take_history(reply) or guardrails.know(frame, reply):
            return
        self._mailbox.place(frame, early, workflow.now())
        if not frame.limit_known:
            frame.take_limits(reply)
        self._deployment.take_probe(reply, workflow.info().run_id)
        self._loop.transcript.add(reply.block, reply.items)
        frame.take(reply)
        if not frame.calls and reply.refusal is None:
            self._take_answer(reply)

    def _take_answer(self, reply: ModelReply) -> None:
        """Take a reply without calls: end the frame with it, or ask for it once more."""
        structured = reply.structured
        if structured is None:
            guardrails.finish(self._frame, text_of_reply(reply.items), reply)
        elif structured.problem is not None:
            self._refuse_answer(structured.problem)
        else:
            try:
                value = answer_value(reply.items, structured)
            except ValueError as error:  # a worker of another version found that it fits
                self._refuse_answer(str(error))
            else:
                guardrails.finish(self._frame, value, reply)

    def _refuse_answer(self, problem: str) -> None:
        """Tell the model once what is wrong with its answer."""
        frame = self._frame
        frame.invalid_outputs += 1
        if frame.invalid_outputs >= MOST_INVALID_OUTPUTS:
            frame.failure = Failure(type="OutputInvalid", message=f"{frame.agent}: {problem}")
            return
        text = f"Your answer could not be used: {problem}. Answer again in the required format."
        frame.blocks.append(self._loop.transcript.new_block([user_message(text)]))
        frame.phase = "model"

    def _still_underway(self, underway: Underway, reply: ModelReply, early: list[Queued]) -> None:
        """Wait for a reply that the provider still makes, by a further call."""
        frame = self._frame
        guardrails.know(frame, reply)  # there are none, or they would have been named in place of this
        frame.untold = []
        self._mailbox.place(frame, early, workflow.now())
        if underway.calls < timeouts.MOST_UNDERWAY:
            frame.phase = "model"
            return
        message = f"the response {underway.response} was not complete after {underway.calls} calls that waited for it"
        frame.failure = Failure(type="ModelUnavailable", message=message)

    def _too_large(self) -> bool:
        """Fail a frame whose conversation no model takes, or whose history the server would end."""
        frame = self._frame
        size, held = self._loop.transcript.size(frame.blocks), workflow.info().get_current_history_size()
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
        """Call again after an hour without a worker; fail if the model, or an MCP server, has failed for that long."""
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
        if self._loop.work.ending:
            return
        frame.phase = "stuck"
        frame.request = self._ledger.book.open(requests.for_missing_agent(frame, self._loop.identity))
