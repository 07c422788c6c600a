"""Scenario rows B6 and P9: several decisions on one request have one outcome, and each caller is told the truth."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from handfast import Decision, Handfast, Receipt, Reject
from handfast.errors import DecisionConflictError, RequestClosedError, RunEndedError
from handfast.testing import Gate, Reply, call
from support.desk import DONE, desk, outputs
from support.evidence import failed_tasks, logged
from support.labs import Effects, MakeLab

WIPE = Reply(call("wipe", {"target": "t"}, "c1"))
HELD = Gate("more", then=DONE)
"""The run goes on until the test has asked it what it wants to know."""


async def test_the_second_of_two_decisions_reads_who_decided(make_lab: MakeLab, effects: Effects) -> None:
    """B6: the first valid decision starts the call at once; a different one later is told by whom it was decided."""
    lab = await make_lab([desk(effects)], script=[WIPE, HELD])
    run = await lab.start("desk")
    request = await lab.next_request(run)
    await run.approve(request, decided_by="ann")
    await lab.model.wait_for_request(2)
    assert effects == ["wipe t"]
    with pytest.raises(RequestClosedError, match=r"was decided \(approve\) by ann at ") as refused:
        await run.reject(request, decided_by="bob", reason="no")
    assert refused.value.facts["closed_by"] == "ann"
    lab.model.open("more")
    await run.result()
    assert outputs(lab) == [("c1", "wiped t")]


async def test_two_clients_at_once_have_one_outcome(make_lab: MakeLab, effects: Effects) -> None:
    """P9: of two clients that decide differently at the same moment one is recorded, and the other reads by whom."""
    lab = await make_lab([desk(effects)], script=[WIPE, HELD])
    run = await lab.start("desk")
    request = await lab.next_request(run)
    other = Handfast(lab.client, task_queue=lab.task_queue).run(run.id)
    answers = await asyncio.gather(
        run.approve(request, decided_by="ann"),
        other.reject(request, decided_by="bob", reason="no"),
        return_exceptions=True,
    )
    [receipt] = [each for each in answers if isinstance(each, Receipt)]
    [refused] = [each for each in answers if isinstance(each, BaseException)]
    assert isinstance(refused, RequestClosedError)
    assert refused.facts["closed_by"] == receipt.decided_by
    lab.model.open("more")
    await run.result()
    assert effects == (["wipe t"] if receipt.verdict == "approve" else [])
    assert len(outputs(lab)) == 1
    assert await failed_tasks(lab, run) == 0


async def test_a_signal_and_an_update_have_one_outcome(make_lab: MakeLab, effects: Effects) -> None:
    """P9: a signal and an update at one request: one counts, and the log tells of the other what became of it."""
    lab = await make_lab([desk(effects)], script=[WIPE, HELD])
    run = await lab.start("desk")
    request = await lab.next_request(run)
    signalled = Decision(id=request.id, verdict=Reject(reason="no"), decided_by="bob", decision_id=uuid.uuid4().hex)
    await lab.client.get_workflow_handle(run.id).signal("decide", signalled.to_wire())
    with pytest.raises(RequestClosedError, match="by bob"):
        await run.approve(request, decided_by="ann")
    await lab.client.get_workflow_handle(run.id).signal("approve", {"id": request.id, "decided_by": "carl"})
    [refused] = await logged(lab, run, "refused", 1)
    assert refused.by == "carl"
    assert refused.why is not None
    assert "by bob" in refused.why
    assert signalled.decision_id is not None
    outcome = await run.decision(signalled.decision_id)
    assert outcome.state == "recorded"
    lab.model.open("more")
    await run.result()
    assert effects == []
    assert outputs(lab) == [("c1", "no")]


async def test_a_double_click_is_one_decision(make_lab: MakeLab, effects: Effects) -> None:
    """P9: the same form sent twice, also once more by signal, is one decision with one receipt and one effect."""
    lab = await make_lab([desk(effects)], script=[WIPE, HELD])
    run = await lab.start("desk")
    request = await lab.next_request(run)
    receipts = await asyncio.gather(
        *(run.approve(request, decided_by="ann", decision_id="form-1") for _ in range(2)),
    )
    assert {(each.state, each.decided_by, each.at) for each in receipts} == {("recorded", "ann", receipts[0].at)}
    made = {"id": request.id, "verdict": {"kind": "approve"}, "decided_by": "ann", "digest": request.digest}
    await lab.client.get_workflow_handle(run.id).signal("decide", {**made, "decision_id": "form-1"})
    with pytest.raises(DecisionConflictError):
        await run.reject(request, decided_by="ann", decision_id="form-1")
    assert (await run.decision("form-1")).state == "recorded"
    lab.model.open("more")
    await run.result()
    with pytest.raises(RunEndedError):
        await run.approve(request, decided_by="ann")
    assert effects == ["wipe t"]
    assert await failed_tasks(lab, run) == 0
