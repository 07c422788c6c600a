"""Resolves the doubt about a call whose tool can find out whether it took effect."""

from __future__ import annotations

from typing import Final

from temporalio import workflow

from handfast.payloads.cutting import cut
from handfast.payloads.evaluation import Verified, VerifyCall
from handfast.payloads.json_profile import scrub
from handfast.workflows.driver.endings import CallEndings
from handfast.workflows.driver.existing_activity import FACT_BYTES
from handfast.workflows.driver.frame_loop import FrameLoop
from handfast.workflows.frame.frame import Call
from handfast.workflows.ledger.log import RequestLog
from handfast.workflows.tasks import timeouts
from handfast.workflows.tasks.await_activity import Done, Failed

MOST_REPEATS: Final = 2
"""Most times that a call runs again because its tool says that it took no effect; then a person is asked."""


class Verification:
    """Asks the `verify` functions of one frame's tools."""

    def __init__(self, loop: FrameLoop, log: RequestLog, endings: CallEndings) -> None:
        """Take the loop, the ledger's log, and the part that ends calls."""
        self._loop = loop
        self._frame = loop.frame
        self._log = log
        self._endings = endings

    async def resolve(self, call: Call, key: str) -> None:
        """Resolve the doubt about a call by the tool's `verify`; if that cannot tell, follow its `on_unknown`."""
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
            self._endings.set_output(call, answer.output)
        elif call.cancelling is not None:
            self._endings.cancelled(call)
        else:
            call.repeats += 1
            call.state, call.starts, call.lost, call.allowed = "ready", 0, [], False

    async def _asked(self, call: Call, key: str) -> Verified:
        question = self._loop.about(call, VerifyCall, key=key)
        ending = await self._loop.ask(question, f"verifying {call.tool}", timeouts.VERIFICATION, call=call.call_id)
        match ending:
            case Done(answer):
                return answer
            case Failed(message=message):
                return Verified(problem=message)
        return Verified(problem="cancelled before verify had answered")

    def _note(self, call: Call, verdict: str | None, why: str) -> None:
        self._log.note_verified(self._frame.id, call, verdict, why, workflow.now())
