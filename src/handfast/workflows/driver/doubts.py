"""A call in doubt whose tool can find out whether it took effect: so that the doubt resolves itself."""

from __future__ import annotations

from typing import Final

from temporalio import workflow

from handfast.payloads.cutting import cut
from handfast.payloads.evaluation import Verified, VerifyCall
from handfast.payloads.json_profile import scrub
from handfast.workflows.driver.call_questions import about
from handfast.workflows.driver.endings import CallEndings
from handfast.workflows.driver.existing_activity import FACT_BYTES
from handfast.workflows.frame.frame import Call, Frame
from handfast.workflows.state.run_state import RunState
from handfast.workflows.tasks import timeouts
from handfast.workflows.tasks.settle import Done, Failed
from handfast.workflows.tasks.work import Work

MOST_REPEATS: Final = 2
"""How often a call is run again because its tool says that it took no effect; then a person is asked."""


class Verification:
    """Asks the tools of one frame's calls."""

    def __init__(self, state: RunState, frame: Frame, work: Work, endings: CallEndings) -> None:
        self._state = state
        self._frame = frame
        self._work = work
        self._endings = endings

    async def resolve(self, call: Call, key: str) -> None:
        """Resolve the doubt about a call, where its tool can; ask or tell as ever where it cannot."""
        if call.doubt is None:
            return
        answer = await self._asked(call, key)
        facts, call.doubt = call.doubt, None
        problem = answer.problem
        if problem is None and answer.verified == "run_again" and call.repeats >= MOST_REPEATS:
            problem = f"it took no effect, says verify, after {call.repeats + 1} runs"
        if problem is not None or answer.verified is None:
            told = cut(scrub(problem or "verify could not tell"), FACT_BYTES)[0]
            self._note(call, None, told)
            self._endings.unresolved(call, {**facts, "verify": told})
            return
        self._note(call, answer.verified, str(facts.get("ended")))
        if answer.verified == "ran":
            self._endings.ran(call, answer.output)
            self._endings.settle(call, answer.output)
        elif call.cancelling is not None:
            self._endings.cancelled(call)
        else:
            call.repeats += 1
            call.state, call.starts, call.lost, call.allowed = "ready", 0, [], False

    async def _asked(self, call: Call, key: str) -> Verified:
        arg = about(call, self._frame, self._state, VerifyCall, key=key)
        summary = f"{self._frame.agent} · verifying {call.tool}"
        settled = await self._work.evaluate(arg, summary, timeouts.VERIFICATION, call=call.call_id)
        match settled:
            case Done(answer):
                return answer
            case Failed(message=message):
                return Verified(problem=message)
        return Verified(problem="cancelled before verify had answered")

    def _note(self, call: Call, verdict: str | None, why: str) -> None:
        self._state.ledger.log.note_verified(self._frame.id, call, verdict, why, workflow.now())
