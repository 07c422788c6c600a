"""What one frame does next, pure: mixes of messages that a server delivers in one task only by chance."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final, get_args

import pytest

from handfast.payloads.model_call import ApprovalPlan, PlannedCall
from handfast.payloads.requests import Approve, Request, RunAgain, Verdict
from handfast.payloads.usage import Usage
from handfast.workflows.driver.driver import METHODS
from handfast.workflows.frame.frame import Call, Frame
from handfast.workflows.ledger.entry import Entry
from handfast.workflows.loop.next_steps import next_steps
from handfast.workflows.loop.steps import SetOutput, StartTool, Step
from support.requests import BOUND

NOW: Final = datetime(2026, 1, 1, tzinfo=UTC)


def asked(verdict: Verdict) -> tuple[Frame, Call, dict[str, Entry]]:
    """A frame with one gated call, whose request has been closed since the loop looked last."""
    plan = PlannedCall(index=0, kind="ask", approval=ApprovalPlan())
    call = Call(plan=plan, call_id="c1", tool="wipe", state="asking", request="r1")
    frame = Frame(id="0", agent="desk", agent_path=["desk"], phase="calls", guards_known=True, calls=[call])
    request = Request(
        id="r1",
        kind="approval",
        agent="desk",
        agent_path=["desk"],
        tool="wipe",
        digest="v1:r1",
        bound=BOUND,
        frame="0",
        turn=1,
        requested_at=NOW,
        verdicts=["approve", "reject"],
    )
    return frame, call, {"r1": Entry(request=request, digest="v1:r1", state="decided", verdict=verdict)}


@pytest.mark.parametrize(("cancelling", "output"), [("", ""), ("not needed", " not needed")])
def test_approved_and_cancelled_in_one_task_does_not_run(cancelling: str, output: str) -> None:
    """K10: `cancel_call` answers that a call never runs; that holds when its approval came in just before."""
    frame, call, entries = asked(Approve())
    call.cancelling = cancelling
    [step] = next_steps(frame, entries, NOW, Usage())
    assert step == SetOutput(call, f"This call was cancelled before it finished.{output}")


def test_a_person_runs_a_call_again_that_had_been_cancelled() -> None:
    """P4: a call that was told to stop and ended in doubt is run again where a person says so."""
    frame, call, entries = asked(RunAgain())
    call.cancelling = "too slow"
    assert next_steps(frame, entries, NOW, Usage()) == [StartTool(call)]
    assert call.cancelling is None


def test_a_driver_takes_every_step_that_a_loop_may_ask_for() -> None:
    """A step that the loop names and the driver does not know would stop a run."""
    assert set(METHODS) == set(get_args(Step))
