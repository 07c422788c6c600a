"""Fault row XM6, without a gateway: the run's own log of decisions."""

from __future__ import annotations

import asyncio
from typing import Any

from temporalio.api.history.v1 import HistoryEvent

from _evidence import events_of, failed_tasks
from conftest import Effects, MakeLab
from holdfast import Approval, Approve, Receipt, Reject
from holdfast.errors import RefusalError
from holdfast.events import ledger_changes
from holdfast.payloads.requests import Transition
from holdfast.testing import Reply, call
from spec.test_p_long_waits import DONE, wiper

COUNTED = ("decided", "voted", "edited")


async def test_xm6_each_decision_that_was_taken_has_one_row_and_each_row_a_decision(
    make_lab: MakeLab, effects: Effects
) -> None:
    """XM6: ten requests get forty decisions by four people at once, by update and by signal, twice each, edited and
    with a quorum: every one that was answered as recorded stands in the log once, as it was given, and the log
    has nothing else that counted."""

    def rule(_context: Any, arguments: Any) -> Approval:
        return Approval(quorum=2) if arguments.target in ("t0", "t1", "t2") else Approval(on_edit="ask_again")

    asked = Reply(*(call("wipe", {"target": f"t{number}"}, f"c{number}") for number in range(10)))
    lab = await make_lab([wiper(effects, rule)], script=[asked, DONE])
    run = await lab.start("desk")
    requests = await lab.open_requests(run, 10)
    handle = lab.client.get_workflow_handle(run.id)

    async def decide(number: int, who: int) -> Receipt | None:
        request, decision_id = requests[number], f"d-{number}-{who}"
        verdict = Reject(reason="no") if (number + who) % 4 == 0 else Approve()
        if number == 5 and who == 1:
            verdict = Approve(arguments={"target": "edited"})
        if who == 3:
            said = {"id": request.id, "verdict": verdict.to_wire(), "decided_by": "p3", "decision_id": decision_id}
            await handle.signal("decide", said)
            await handle.signal("decide", said)
            return None
        try:
            given = await run.decide(request, verdict, decided_by=f"p{who}", decision_id=decision_id)
            again = await run.decide(request, verdict, decided_by=f"p{who}", decision_id=decision_id)
            assert again.model_copy(update={"duplicate": False}) == given
        except RefusalError:
            return None
        return given

    receipts = await asyncio.gather(*(decide(number, who) for number in range(10) for who in range(4)))
    for request in await run.pending():
        receipts.append(await run.reject(request, decided_by="p9", decision_id=f"end-{request.id}"))
    await run.result()
    events = await events_of(lab, run)
    log = [step for event in events for step in await steps(event, lab.client.data_converter)]
    counted = [(step.decision_id, step.request, step.verdict, step.by) for step in log if step.what in COUNTED]
    assert len({each[0] for each in counted}) == len(counted)
    answered = {(each.decision_id, each.id, each.verdict, each.decided_by) for each in receipts if each is not None}
    by_signal = {each for each in counted if each[3] == "p3"}
    assert set(counted) - by_signal == answered
    for decision_id, *_ in by_signal:
        assert (await run.decision(str(decision_id))).state == "recorded"
    accepted = sum(event.HasField("workflow_execution_update_completed_event_attributes") for event in events)
    assert accepted >= len(answered)
    assert await failed_tasks(lab, run) == 0


async def steps(event: HistoryEvent, converter: Any) -> list[Transition]:
    """What one event of the history says of the ledger."""
    return (await ledger_changes(event, converter))[2]
