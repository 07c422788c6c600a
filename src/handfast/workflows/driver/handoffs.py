"""Handoffs: the last thing of a turn, after which another agent goes on with the frame."""

from __future__ import annotations

from temporalio import workflow

from handfast.payloads.evaluation import FilterHistory, TellHandoff
from handfast.payloads.model_call import ToldHooks
from handfast.workflows.driver.endings import CallEndings, with_refusal
from handfast.workflows.driver.frame_loop import FrameLoop
from handfast.workflows.frame.frame import Call, Failure, HandedOver
from handfast.workflows.ledger.log import RequestLog
from handfast.workflows.tasks import timeouts
from handfast.workflows.tasks.await_activity import Cancelled, Done, Failed


class Handoffs:
    """Carries out the handoffs of one frame."""

    def __init__(self, loop: FrameLoop, log: RequestLog, endings: CallEndings) -> None:
        """Take the loop, the ledger's log, and the part that ends calls."""
        self._loop = loop
        self._frame = loop.frame
        self._log = log
        self._endings = endings

    async def hand_over(self, call: Call) -> None:
        """Call `on_handoff`, if the handoff has one; then let it take place."""
        refused: str | None = None
        if call.plan.told:
            again = call.missing_since is not None
            question = self._loop.about(call, TellHandoff)
            match await self._loop.ask(question, call.tool, timeouts.TOLD_ONCE, by_any_worker=again):
                case Done(told):
                    if told.problem is not None:
                        self._endings.set_output(call, told.problem)
                        return
                    call.context, refused = told.context, told.context_refused
                case Cancelled():
                    self._endings.set_output(call, f"The handoff to {call.plan.agent} was cancelled.")
                    return
                case Failed(not_registered=True) | Failed(type="Missing"):  # a worker of another version took it
                    self._endings.not_begun(call, missing=True)
                    return
                case failed:
                    # It may have had its effect; to call it again could repeat that, and the handoff does not need it.
                    self._log.note_doubt(self._frame.id, call, failed.type, workflow.now())
        self.take_place(call, refused)

    def take_place(self, call: Call, context_refused: str | None = None) -> None:
        """Settle the handoff as the one that won its turn."""
        frame = self._frame
        to = str(call.plan.agent)
        self._endings.set_output(call, with_refusal(f"The agent {to} goes on from here.", context_refused))
        frame.handoff = HandedOver(agent=to, by=frame.agent, name=call.tool, filtered=bool(call.plan.filtered))

    def finish(self) -> None:
        """Let the next agent go on when the turn is over, or ask the handoff's filter first."""
        frame = self._frame
        handoff = frame.handoff
        if handoff is None:
            return
        frame.agent = handoff.agent
        frame.agent_path = [*frame.agent_path[:-1], handoff.agent]
        frame.untold.append(ToldHooks(what="started", by=handoff.by))
        if handoff.filtered:
            frame.phase = "filter"
        else:
            frame.handoff = None

    async def filter_history(self) -> None:
        """Read what the handoff's filter leaves of the conversation; the blocks themselves stay."""
        frame, handoff = self._frame, self._frame.handoff
        assert handoff is not None
        if frame.history is not None:  # a worker of a later deploy has a filter where the one before it had none
            frame.fail(
                Failure(type="HistoryExcluded", message=f"{handoff.name}: its filter cannot change what is kept")
            )
            return
        origin = self._loop.origin.model_copy(update={"agent": handoff.by})
        arg = FilterHistory(origin=origin, tool=handoff.name)
        summary = f"{handoff.by} · what {frame.agent} sees"
        answer = await self._loop.work.evaluate(arg, summary, timeouts.PART_OF_RUN)
        made = answer.value if isinstance(answer, Done) else None
        if made is None or made.items is None or made.block is None:
            problem = made.problem if made is not None else "its filter could not be evaluated"
            frame.fail(Failure(type="HandoffFailed", message=f"{handoff.name}: {problem}"))
            return
        frame.earlier += frame.blocks
        frame.blocks = [self._loop.transcript.add(made.block, made.items)]
        frame.cursor, frame.seen, frame.handoff = 0, None, None
        frame.epoch += 1
        frame.phase = "model"
