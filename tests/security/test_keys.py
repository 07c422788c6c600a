"""Fault row XL2: keys are rotated while runs wait, and a key that is missing loses nothing."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client

from handfast import Agent, Handfast, tool
from handfast.encryption.codec import EncryptionCodec, encrypted
from handfast.encryption.converter import KEY, of_workflow, tolerant
from handfast.encryption.keyring import Keyring, key_file
from handfast.errors import DecisionInvalidError, HistoryUnreadableError
from handfast.history.reader import history_of
from handfast.payloads.notify import Notified
from handfast.server import EmbeddedServer
from handfast.testing import Lab, Reply, call, text
from support.clear import client_with, ring
from support.evidence import failed_tasks, logged, send_signal
from support.labs import Effects, MakeLab

WIPE = Reply(call("wipe", {"target": "t"}))
DONE = Reply(text("done"))


def desk(effects: Effects) -> Agent:
    """An agent with one gated tool."""

    @tool(approval=True)
    async def wipe(target: str) -> str:
        """Delete a target."""
        effects.append(target)
        return f"wiped {target}"

    return Agent("desk", instructions="Help.", model="m", tools=[wipe])


async def change_keys(lab: Lab, keyring: Keyring | None) -> None:
    """Replace the lab's worker, and its client, by ones with another key ring."""
    await lab.stop_worker()
    config = lab.client.config(active_config=True)
    config["data_converter"] = tolerant(None) if keyring is None else encrypted(None, keyring)
    lab.client = Client(**config)
    lab.hf = Handfast(lab.client, task_queue=lab.task_queue, artifacts=False)
    await lab.start_worker()


async def task_fails(lab: Lab, id: str) -> str:
    """Wait until a workflow task of the run fails; return the type of the error that the server shows."""
    async with asyncio.timeout(30):
        async for event in history_of(lab.client.get_workflow_handle(id), wait=True):
            if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_FAILED:
                return event.workflow_task_failed_event_attributes.failure.application_failure_info.type
    raise AssertionError(f"{id} ended without a failed task")


async def test_a_run_waits_through_a_rotation(make_lab: MakeLab, server: EmbeddedServer, effects: Effects) -> None:
    """XL2: the new key is given to all, made current, and the old one is kept for reading: a run that waits meanwhile
    never notices, and its history has both."""
    lab = await make_lab([desk(effects)], script=[WIPE, DONE], client=await client_with(server, ring("old")))
    run = await lab.start("desk")
    await lab.next_request(run)
    await change_keys(lab, ring("old", "new"))
    await change_keys(lab, ring("new", "old"))
    run = lab.hf.run(run.id)
    [request] = await run.pending()
    await run.approve(request, decided_by="lead")
    assert (await run.result()).output == "done"
    assert effects == ["t"]
    assert await failed_tasks(lab, run) == 0
    history = str((await lab.histories(run))[0].events)
    assert history.count(f'key: "{KEY}"') > history.count('value: "old"') > 0
    assert 'value: "new"' in history


@pytest.mark.parametrize(
    "without", [pytest.param(ring("other"), id="another key"), pytest.param(None, id="no encryption at all")]
)
async def test_a_missing_key_stops_a_run_and_loses_nothing(
    make_lab: MakeLab,
    server: EmbeddedServer,
    effects: Effects,
    caplog: pytest.LogCaptureFixture,
    without: Keyring | None,
) -> None:
    """XL2: a worker without the key fails the run's task with an error that says so, however far it is; an approval
    that came meanwhile counts once the key is back, and nothing is done twice."""
    lab = await make_lab([desk(effects)], script=[WIPE, DONE, DONE], client=await client_with(server, ring("k")))
    run = await lab.start("desk")
    request = await lab.next_request(run)
    with_key = lab.hf
    await change_keys(lab, without)
    fresh = await with_key.start("desk", "the first task is taken by a worker without the key")
    await with_key.client.get_workflow_handle(run.id).signal("approve", {"id": request.id, "decided_by": "lead"})
    assert await task_fails(lab, run.id) == "PayloadUnreadableError"
    assert await task_fails(lab, fresh.id) == "PayloadUnreadableError"
    with pytest.raises(HistoryUnreadableError, match="key"):
        await lab.hf.run(run.id).pending()
    assert caplog.text.count("the encryption key 'k' is not in this key ring") == (without is not None)
    assert effects == []
    await change_keys(lab, ring("k"))
    assert (await lab.hf.run(run.id).result()).output == "done"
    assert effects == ["t"]
    assert (await lab.hf.run(fresh.id).result()).output == "done"


async def test_a_signal_under_an_unknown_key_says_the_same_for_ever(
    make_lab: MakeLab, server: EmbeddedServer, effects: Effects
) -> None:
    """XL2: a decision under a key that the worker lacks is refused, visibly; when the worker has the key later, no
    replay takes it after all. An update is refused at once."""
    lab = await make_lab([desk(effects)], script=[WIPE, DONE], client=await client_with(server, ring("k")))
    run = await lab.start("desk")
    request = await lab.next_request(run)
    early = Handfast(await client_with(server, ring("next", "k")))
    with pytest.raises(DecisionInvalidError, match="key 'next', which is not in this key ring"):
        await early.run(run.id).approve(request, decided_by="lead")
    approval = await of_workflow(early.client, run.id).encode([{"id": request.id, "decided_by": "lead"}])
    await send_signal(lab, run, "approve", approval)
    await logged(lab, run, "refused", 1)
    await change_keys(lab, ring("k", "next"))
    run = lab.hf.run(run.id)
    assert (await run.status()).pending == 1
    assert effects == []
    await run.approve(request, decided_by="lead")
    assert (await run.result()).output == "done"
    assert await failed_tasks(lab, run) == 0


async def test_what_was_not_encrypted_is_read_where_that_is_said(
    make_lab: MakeLab, server: EmbeddedServer, effects: Effects
) -> None:
    """XL2: runs that began without encryption go on under a key ring that accepts plaintext, and write no more of it; a
    ring that does not leaves them waiting."""
    lab = await make_lab([desk(effects)], script=[WIPE, DONE], client=await client_with(server, None))
    run = await lab.start("desk")
    request = await lab.next_request(run)
    await change_keys(lab, ring("k"))
    await lab.client.get_workflow_handle(run.id).signal("approve", {"id": request.id, "decided_by": "lead"})
    assert await task_fails(lab, run.id) == "PayloadUnreadableError"
    assert effects == []
    await change_keys(lab, ring("k", accept_plaintext=True))
    assert (await lab.hf.run(run.id).result()).output == "done"
    assert effects == ["t"]


def test_a_key_file_is_read_again_when_a_key_is_missed(tmp_path: Path) -> None:
    """XL2: whoever adds the missing key to the file need not restart anything."""
    path = tmp_path / "keys.json"
    path.write_text(json.dumps(key_file(path, "first", current=True)))
    mine, theirs = Keyring.from_file(path), Keyring.from_file(path)
    path.write_text(json.dumps(key_file(path, "second", current=True)))
    theirs = Keyring.from_file(path)
    key, sealed = theirs.seal(b"x", b"here")
    assert (key, mine.current) == ("second", "first")
    assert mine.open(key, sealed, b"here") == b"x"
    assert mine.current == "second"
    assert "keys" not in repr(mine)
    assert json.loads(path.read_text())["keys"]["first"] not in repr(mine)


class KeyToCome(EncryptionCodec):
    """Encrypts whether people could be told under a key that nobody has yet."""

    def _sealed(self, payload: Payload) -> Payload:
        usual = self.keyring
        if b'"failed"' in payload.data:
            self.keyring = ring("later")
        sealed = super()._sealed(payload)
        self.keyring = usual
        return sealed


async def test_whether_people_could_be_told_waits_for_no_key(
    make_lab: MakeLab, server: EmbeddedServer, effects: Effects, monkeypatch: pytest.MonkeyPatch
) -> None:
    """XL2: a worker that cannot read whether people were told says so in the run's log, and the run goes on; when it
    has the key later, a replay says the same."""
    monkeypatch.setattr(Notified, "to_wire", lambda _: {"failed": {}})
    config = (await client_with(server, ring("k"))).config(active_config=True)
    config["data_converter"] = replace(config["data_converter"], payload_codec=KeyToCome(ring("k")))
    told: list[str] = []
    lab = await make_lab(
        [desk(effects)], script=[WIPE, DONE], client=Client(**config), notify=lambda notification: told.append("it")
    )
    run = await lab.start("desk")
    request = await lab.next_request(run)
    [failed] = await logged(lab, run, "notify_failed", 1)
    assert (failed.why or "").startswith(f"{request.id}:opened: PayloadUnreadable: ")
    await change_keys(lab, ring("k", "later"))
    await lab.hf.run(run.id).approve(request, decided_by="lead")
    assert (await lab.hf.run(run.id).result()).output == "done"
    assert (effects, told) == (["t"], ["it", "it"])
    assert await failed_tasks(lab, run) == 0
