"""Lists across runs come from visibility: they need no worker, and say what is missing where they cannot be made."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import Client

from handfast import Handfast, RunInfo
from handfast.errors import RunExistsError, SearchAttributesMissingError, ServerUnavailableError
from handfast.server import EmbeddedServer
from handfast.temporal.namespace import ensure_namespace
from handfast.testing import Reply, text
from support.desk import DONE, desk
from support.labs import Effects, MakeLab
from support.lists import WIPE, eventually


@pytest.mark.quick
async def test_runs_are_found_by_status_agent_and_label(make_lab: MakeLab, effects: Effects) -> None:
    """Runs are listed by status, agent and label; what waits is listed with its run, with every worker down."""
    lab = await make_lab([desk(effects)], script=[WIPE, Reply(text("at once")), DONE])
    mark = f"lab={lab.task_queue}"
    labels = {"lab": lab.task_queue, "team": "it's"}
    waiting = await lab.start("desk", labels=labels)
    request = await lab.next_request(waiting)
    finished = await lab.start("desk", labels=labels)
    await finished.result()
    await lab.stop_worker()

    async def listed(**filters: Any) -> list[str]:
        return [info.id for info in await lab.hf.runs(label=mark, **filters)]

    async def both() -> list[RunInfo]:
        infos = await lab.hf.runs(label=mark, agent="desk")
        return infos if {info.status for info in infos} == {"waiting", "completed"} else []

    infos = {info.status: info for info in await eventually(both)}
    assert infos["waiting"].id == waiting.id
    assert infos["waiting"].pending == 1
    assert infos["waiting"].labels == (mark, "team=it's")
    assert infos["completed"].id == finished.id
    assert await listed(status="waiting") == [waiting.id]
    assert await listed(status="completed") == [finished.id]
    assert await listed(status="failed") == []
    assert await listed(agent="nobody") == []
    assert [info.id for info in await lab.hf.runs(label="team=it's", status="waiting")] == [waiting.id]
    across = [item for item in await lab.hf.requests(agent="desk") if item.run == waiting.id]
    assert [item.request.id for item in across] == [request.id]
    assert across[0].request.digest == request.digest
    await lab.start_worker()
    await waiting.reject(request, decided_by="lead")
    await waiting.result()


async def test_a_run_that_was_terminated_is_found_among_the_failed(make_lab: MakeLab, effects: Effects) -> None:
    """A run that an operator terminated is shown as failed, so whoever asks for failed runs gets it."""
    lab = await make_lab([desk(effects)], script=[WIPE])
    run = await lab.start("desk", labels={"lab": lab.task_queue})
    await lab.next_request(run)
    await lab.client.get_workflow_handle(run.id).terminate("by an operator")

    async def failed() -> list[RunInfo]:
        return await lab.hf.runs(label=f"lab={lab.task_queue}", status="failed")

    [info] = await eventually(failed)
    assert (info.id, info.status) == (run.id, "failed")


async def test_without_search_attributes_runs_work_and_lists_say_the_remedy(
    make_lab: MakeLab, effects: Effects, server: EmbeddedServer, caplog: pytest.LogCaptureFixture
) -> None:
    """On a cluster without our search attributes runs work, with one warning; lists answer with the remedy."""
    plain = await Client.connect(server.address)
    await ensure_namespace(plain, "bare", timedelta(days=1))
    client = await Client.connect(server.address, namespace="bare")
    lab = await make_lab([desk(effects)], script=[WIPE, WIPE, DONE, DONE], client=client)
    with caplog.at_level(logging.WARNING, logger="handfast"):
        runs = [await lab.start("desk", labels={"team": "it"}) for _ in range(2)]
        for run in runs:
            request = await lab.next_request(run)
            await run.approve(request, decided_by="lead")
        for run in runs:
            assert (await run.result()).output == "done"
    assert effects == ["wipe t", "wipe t"]
    warnings = [record for record in caplog.records if record.name == "handfast.client.start"]
    assert len(warnings) == 1
    for listing in (lab.hf.runs(), lab.hf.runs(agent="desk"), lab.hf.requests()):
        with pytest.raises(SearchAttributesMissingError, match="handfast setup --print"):
            await listing


async def test_one_id_is_one_run_at_a_time(make_lab: MakeLab, effects: Effects) -> None:
    """The same run id started twice attaches or is refused, by choice; there are never two."""
    lab = await make_lab([desk(effects)], script=[WIPE, DONE])
    run = await lab.start("desk", id=f"one-{lab.task_queue}")
    with pytest.raises(RunExistsError, match="is going on; attach with if_exists='attach'"):
        await lab.hf.start("desk", "again", id=run.id)
    attached = await lab.hf.start("desk", "again", id=run.id, if_exists="attach")
    request = await lab.next_request(attached)
    await run.reject(request, decided_by="lead")
    assert (await attached.result()).output == "done"
    assert len(lab.model.requests) == 2


async def test_a_decision_without_a_worker_is_stored_and_counts_later(
    make_lab: MakeLab, effects: Effects, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With every worker down a decision is stored, not lost; it takes effect once when a worker returns."""
    monkeypatch.setattr("handfast.client.handle.ANSWER_WITHIN", timedelta(seconds=1))
    lab = await make_lab([desk(effects)], script=[WIPE, DONE])
    run = await lab.start("desk")
    request = await lab.next_request(run)
    await lab.stop_worker()
    receipt = await run.approve(request, decided_by="lead", decision_id="first")
    assert (receipt.state, receipt.decision_id) == ("stored", "first")
    again = await run.approve(request, decided_by="lead", decision_id="first")
    assert again.state == "stored"
    assert [each.id for each in await run.pending()] == [request.id]
    await lab.start_worker()
    assert (await run.result()).output == "done"
    outcome = await run.decision("first")
    assert outcome.state == "recorded"
    assert effects == ["wipe t"]


async def test_a_client_of_an_absent_server_says_so_in_a_line() -> None:
    """Without a server a client gets one line with the remedy."""
    with pytest.raises(ServerUnavailableError, match="handfast dev") as refused:
        await Handfast.connect("127.0.0.1:1")
    assert "\n" not in str(refused.value)
