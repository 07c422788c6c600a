"""Fault row XM6, without a gateway: the run's own log of decisions."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.api.history.v1 import History, HistoryEvent

from handfast import Approval, Approve, Receipt, Reject
from handfast.errors import ArchiveDamagedError, HistoryUnreadableError, RefusalError
from handfast.history.reader import ledger_changes
from handfast.payloads.events import RequestDecided
from handfast.payloads.requests import MEMO_LOG, Transition
from handfast.server import EmbeddedServer
from handfast.testing import Reply, call
from support.archives import archived, files, forget
from support.clear import client_with, ring
from support.evidence import events_of, failed_tasks
from support.labs import Effects, MakeLab
from support.waits import DONE, wiper

COUNTED = ("decided", "voted", "edited")


async def test_each_decision_that_was_taken_has_one_row_and_each_row_a_decision(
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


async def test_a_row_that_was_changed_or_taken_out_of_the_archive_is_found(
    make_lab: MakeLab, server: EmbeddedServer, effects: Effects, tmp_path: Path
) -> None:
    """XM6: in the archive of an encrypted run a decision's row cannot be changed, replaced by another run's, or taken
    out without being found, once the server has forgotten the run."""
    client = await client_with(server, ring("k1"))
    asked = [Reply(call("wipe", {"target": "t"})), DONE] * 2
    lab = await make_lab([wiper(effects)], script=asked, client=client, archive=tmp_path)
    paths: list[Path] = []
    for _ in range(2):
        run = await lab.hf.start("desk", "go")
        await run.approve(await lab.next_request(run), decided_by="lead")
        await run.result()
        await archived(lab, run, tmp_path)
        paths += files(tmp_path, run, "history-*")
    await forget(lab, run.id)
    other, path = paths
    whole = path.read_bytes()

    def rows(data: bytes) -> tuple[History, HistoryEvent, Payload]:
        """A history, its last event that logs a decision, and what that says."""
        history = History.FromString(gzip.decompress(data))
        logging = [each for each in history.events if MEMO_LOG in of_memo(each)]
        return history, logging[-1], of_memo(logging[-1])[MEMO_LOG]

    def put(history: History) -> None:
        path.write_bytes(gzip.compress(history.SerializeToString()))

    async def decided() -> list[str]:
        return [each.by or "" async for each in run.events() if isinstance(each, RequestDecided)]

    assert await decided() == ["lead"]
    history, _, row = rows(whole)
    row.data = row.data[:-1] + bytes([row.data[-1] ^ 1])
    put(history)
    with pytest.raises(HistoryUnreadableError, match="changed"):
        await decided()
    history, _, row = rows(whole)
    row.CopyFrom(rows(other.read_bytes())[2])
    put(history)
    with pytest.raises(HistoryUnreadableError, match="another workflow"):
        await decided()
    history, event, _ = rows(whole)
    history.events.remove(event)
    put(history)
    with pytest.raises(ArchiveDamagedError, match=path.name):
        await decided()
    path.write_bytes(whole)
    assert await decided() == ["lead"]


def of_memo(event: HistoryEvent) -> Mapping[str, Payload]:
    """What an event writes into the memo."""
    return event.workflow_properties_modified_event_attributes.upserted_memo.fields


async def steps(event: HistoryEvent, converter: Any) -> list[Transition]:
    """What one event of the history says of the ledger."""
    return (await ledger_changes(event, converter))[2]
