"""Handoffs: the last thing of a turn, after which another agent goes on with the frame."""

from __future__ import annotations

from temporalio import workflow

from handfast.payloads.evaluation import FilterHistory, TellHandoff
from handfast.payloads.model_call import ToldHooks
from handfast.workflows.driver.call_questions import about
from handfast.workflows.driver.endings import CallEndings, with_refusal
from handfast.workflows.frame.frame import Call, Failure, Frame, HandedOver
from handfast.workflows.state.run_state import RunState
from handfast.workflows.tasks import timeouts
from handfast.workflows.tasks.settle import Cancelled, Done, Failed
from handfast.workflows.tasks.work import Work


class Handoffs:
    """Carries out the handoffs of one frame."""

    def __init__(self, state: RunState, frame: Frame, work: Work, endings: CallEndings) -> None:
        self._state = state
        self._frame = frame
        self._work = work
        self._endings = endings

    async def hand_over(self, call: Call) -> None:
        """Tell user code where it wants to be told, then let the handoff take place."""
        refused: str | None = None
        if call.plan.told:
            arg = about(call, self._frame, self._state, TellHandoff)
            again = call.missing_since is not None
            summary = f"{self._frame.agent} · {call.tool}"
            match await self._work.evaluate(arg, summary, timeouts.TOLD_ONCE, by_any_worker=again):
                case Done(told):
                    if told.problem is not None:
                        self._endings.settle(call, told.problem)
                        return
                    call.context, refused = told.context, told.context_refused
                case Cancelled():
                    self._endings.settle(call, f"The handoff to {call.plan.agent} was cancelled.")
                    return
                case Failed(not_registered=True) | Failed(type="Missing"):  # a worker of another version took it
                    self._endings.not_begun(call, missing=True)
                    return
                case failed:
                    # It may have had its effect; to call it again could repeat that, and the handoff does not need it.
                    self._state.ledger.log.note_doubt(self._frame.id, call, failed.type, workflow.now())
        self.take_place(call, refused)

    def take_place(self, call: Call, context_refused: str | None = None) -> None:
        """Settle the handoff as the one that won its turn."""
        frame = self._frame
        to = str(call.plan.agent)
        self._endings.settle(call, with_refusal(f"The agent {to} goes on from here.", context_refused))
        frame.handoff = HandedOver(agent=to, by=frame.agent, name=call.tool, filtered=bool(call.plan.filtered))

    def finish(self) -> None:
        """The turn is over: let the next agent go on, once it is known what it sees."""
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
        """Replace what the model reads by what the handoff's filter left of it; the blocks themselves stay."""
        frame, handoff = self._frame, self._frame.handoff
        assert handoff is not None
        if frame.history is not None:  # a worker of a later deploy has a filter where the one before it had none
            frame.fail(
                Failure(type="HistoryExcluded", message=f"{handoff.name}: its filter cannot change what is kept")
            )
            return
        origin = self._state.origin(frame).model_copy(update={"agent": handoff.by})
        arg = FilterHistory(origin=origin, tool=handoff.name)
        summary = f"{handoff.by} · what {frame.agent} sees"
        answer = await self._work.evaluate(arg, summary, timeouts.PART_OF_RUN)
        made = answer.value if isinstance(answer, Done) else None
        if made is None or made.items is None or made.block is None:
            problem = made.problem if made is not None else "its filter could not be evaluated"
            frame.fail(Failure(type="HandoffFailed", message=f"{handoff.name}: {problem}"))
            return
        frame.earlier += frame.blocks
        frame.blocks = [self._state.transcript.add(made.block, made.items)]
        frame.cursor, frame.seen, frame.handoff = 0, None, None
        frame.epoch += 1
        frame.phase = "model"
