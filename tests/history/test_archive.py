"""What a run leaves behind when the server has forgotten it: its archive, and how everything of it is erased."""

from __future__ import annotations

import asyncio
import gzip
from pathlib import Path
from typing import Any

import pytest
from temporalio import workflow
from temporalio.api.workflow.v1 import PendingActivityInfo
from temporalio.client import Client, WorkflowHandle
from temporalio.converter import DataConverter
from temporalio.worker import Replayer

from handfast import AgentHost, Handfast, HandfastPlugin, Run
from handfast.errors import (
    ArchiveDamagedError,
    ArchiveUnavailableError,
    HistoryExpiredError,
    OffsetUnknownError,
    RunCancelledError,
    RunFailedError,
    RunGoesOnError,
    RunNotFoundError,
)
from handfast.payloads.json_profile import JsonObject
from handfast.server import EmbeddedServer
from handfast.storage.archive import Archive
from handfast.storage.artifacts import FolderStore
from handfast.testing import Fail, Lab, Reply, call, text
from support.archives import archived, archiving, files, forget, known
from support.desk import DONE, desk
from support.labs import Effects, MakeLab
from support.large_outputs import MEGABYTES, stored
from support.long_runs import SHORT
from support.neighbour import MirrorCodec
from support.outputs import agent

WIPE = Reply(call("wipe", {"target": "t"}, "c1"))


async def attempts(handle: WorkflowHandle[Any, Any], least: int) -> PendingActivityInfo | None:
    """The activity under way, once it is at that attempt."""
    pending = (await handle.describe()).raw_description.pending_activities
    return next((each for each in pending if each.attempt >= least), None)


@pytest.mark.quick
async def test_the_archive_has_what_the_server_had(
    make_lab: MakeLab, effects: Effects, tmp_path: Path, cache: int
) -> None:
    """A finished run's archive holds its history, event by event to the last, and replays; its conversation can be
    read when server and workers are gone."""
    lab = await make_lab([desk(effects)], script=[WIPE, DONE], archive=tmp_path, max_cached_workflows=cache)
    run = await lab.hf.start("desk", "clean up")
    await run.approve(await lab.next_request(run), decided_by="lead")
    assert (await run.result()).output == "done"
    history = await archived(lab, run, tmp_path)
    assert (await (await archiving(lab, run)).describe()).workflow_type == "handfast.archive"
    on_server = await lab.client.get_workflow_handle(run.id).fetch_history()
    assert list(history.events) == list(on_server.events)
    await Replayer(workflows=[], plugins=[HandfastPlugin()]).replay_workflow(history)
    live = await Handfast(lab.client).run(run.id).transcript()
    assert [item["type"] for item in live] == ["message", "function_call", "function_call_output", "message"]
    await lab.stop_worker()
    assert await run.transcript() == live
    await forget(lab, run.id)
    assert await lab.hf.run(run.id).transcript() == live
    with pytest.raises(HistoryExpiredError, match="HANDFAST_ARCHIVE"):
        await Handfast(lab.client).run(run.id).transcript()
    with pytest.raises(RunNotFoundError, match="no run nobody"):
        await lab.hf.run("nobody").transcript()


@pytest.mark.parametrize("ending", ["cancelled", "failed"])
async def test_every_ending_is_archived(make_lab: MakeLab, effects: Effects, tmp_path: Path, ending: str) -> None:
    """A run that was cancelled or failed is archived like one that finished, and ends as it would have."""
    script = [WIPE] if ending == "cancelled" else [WIPE, Fail(400, "no")]
    lab = await make_lab([desk(effects)], script=script, archive=tmp_path)
    run = await lab.start("desk")
    request = await lab.next_request(run)
    if ending == "cancelled":
        await run.cancel("enough")
        with pytest.raises(RunCancelledError, match="enough"):
            await run.result()
    else:
        await run.approve(request, decided_by="lead")
        with pytest.raises(RunFailedError, match="ModelRefused"):
            await run.result()
    history = await archived(lab, run, tmp_path)
    assert list(history.events) == list((await lab.client.get_workflow_handle(run.id).fetch_history()).events)
    assert len(await run.transcript()) == 3


async def test_an_archive_that_cannot_be_written_holds_up_nothing(
    make_lab: MakeLab, effects: Effects, tmp_path: Path
) -> None:
    """Where the archive cannot be written the run ends as it would have; the writing is tried again, by whichever
    worker is there, until it succeeds."""
    place = tmp_path / "archive"
    place.write_text("in the way")
    lab = await make_lab([desk(effects)], script=[DONE], archive=place)
    run = await lab.start("desk")
    assert (await run.result()).output == "done"
    child = await archiving(lab, run)
    async with asyncio.timeout(30):
        while not (tried := await attempts(child, 2)):  # noqa: ASYNC110 - an attempt has no event before its last
            await asyncio.sleep(0)
    assert tried.last_failure.application_failure_info.type == "ArchiveUnwritable"
    assert str(tmp_path) not in tried.last_failure.message
    await lab.replace_worker()
    place.unlink()
    history = await archived(lab, run, place)
    assert list(history.events) == list((await lab.client.get_workflow_handle(run.id).fetch_history()).events)


@workflow.defn(sandboxed=False)
class TwoRuns:
    """A workflow of a user's own, with two runs of an agent and a wait after them."""

    @workflow.init
    def __init__(self) -> None:
        """Make the host."""
        self.agents = AgentHost()
        self.over = False

    @workflow.run
    async def run(self) -> None:
        """Run twice, then wait."""
        for _ in range(2):
            await self.agents.run("desk", "go")
        await workflow.wait_condition(lambda: self.over)

    @workflow.signal
    def end(self) -> None:
        """Let it end."""
        self.over = True


async def test_a_host_archives_after_each_of_its_runs(
    make_lab: MakeLab, effects: Effects, tmp_path: Path, cache: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a workflow of the user's own each run of an agent ends with what there is by then in the archive, and the
    conversations can be read there when the workflow has ended and no worker is left."""
    monkeypatch.setattr("handfast.activities.archiving.MAY_CLOSE_WITHIN_S", 0.2)
    lab = await make_lab(
        [desk(effects)],
        script=[DONE, Reply(text("again"))],
        archive=tmp_path,
        workflows=[TwoRuns],
        max_cached_workflows=cache,
    )
    handle = await lab.client.start_workflow(TwoRuns.run, id=f"own-{lab.task_queue}", task_queue=lab.task_queue)
    run = lab.watch(lab.hf.run(handle.id))
    archive = Archive(FolderStore(tmp_path))
    run_id = handle.result_run_id or ""
    async with asyncio.timeout(30):
        while await archive.transcript("default", run.id, run_id, "1") is None:  # noqa: ASYNC110 - a file has no event
            await asyncio.sleep(0)
    assert [len(await run.transcript(frame=frame)) for frame in ("0", "1")] == [2, 2]
    await handle.signal(TwoRuns.end)
    await handle.result()
    await lab.stop_worker()
    assert [item["role"] for item in await run.transcript(frame="1")] == ["user", "assistant"]
    assert await archive.history("default", run.id, run_id)


async def test_a_codec_protects_the_archive(
    make_lab: MakeLab, effects: Effects, tmp_path: Path, server: EmbeddedServer
) -> None:
    """What a codec encodes for the server is encoded in the archive too, and read there with the same codec."""
    client = await Client.connect(server.address, data_converter=DataConverter(payload_codec=MirrorCodec()))
    lab = await make_lab([desk(effects)], script=[DONE], archive=tmp_path, client=client)
    run = await lab.start("desk", "my secret plan")
    await run.result()
    history = await archived(lab, run, tmp_path)
    [transcript] = [gzip.decompress(data) for name, data in stored(tmp_path).items() if name.startswith("transcript-")]
    for written in (transcript, *(event.SerializeToString() for event in history.events)):
        assert b"secret plan" not in written
    await lab.stop_worker()
    assert "my secret plan" in str(await run.transcript())


async def test_everything_of_a_run_is_erased(make_lab: MakeLab, tmp_path: Path) -> None:
    """Erased are history, outputs and archive of one run alone, and the ids that the archiving left; a run that goes on
    is refused unless it is to be ended; erasing again finds nothing."""
    folders = {"archive": tmp_path / "archive", "artifacts": tmp_path / "artifacts"}
    script = [Reply(call("big", {}, "c1")), DONE] * 2 + [Reply(call("sign", {}, "c1"))]
    lab = await make_lab([agent(big=MEGABYTES)], script=script, **folders)
    kept = await lab.start("desk")
    await kept.result()
    run = await lab.hf.start("desk", "go")
    await run.result()
    child = await archiving(lab, run)
    for each in (kept, run):
        await archived(lab, each, folders["archive"])
    before = stored(tmp_path)
    erased = await lab.hf.erase(run.id)
    assert (len(erased.histories), len(erased.artifacts), len(erased.archived)) == (1, 1, 2)
    assert not erased.nothing
    assert not await known(lab.client, run.id)
    assert not await known(lab.client, child.id)
    assert len(before) - len(stored(tmp_path)) == 2  # of the equal outputs, one is there for the other run
    assert (await lab.hf.erase(run.id)).nothing
    assert len(await kept.transcript()) == 4
    waiting = await lab.hf.start("desk", "go")
    await lab.next_request(waiting)
    with pytest.raises(RunGoesOnError, match="terminate=True"):
        await lab.hf.erase(waiting.id)
    assert len((await lab.hf.erase(waiting.id, terminate=True)).histories) == 1
    assert not await known(lab.client, waiting.id)


async def seen(run: Run, after: str | None = None) -> list[JsonObject]:
    """The run's events as they go over the wire."""
    return [event.to_wire() async for event in run.events(after=after, wait=False)]


async def test_events_go_on_from_the_archive(make_lab: MakeLab, effects: Effects, tmp_path: Path, cache: int) -> None:
    """Of a run over several continue-as-news every event is the same, with the same offset, whether the server has all
    histories, lacks the oldest, or has none; from any offset on. Without the archive that is said."""
    turns = [Reply(call("look", {"check": f"w{turn}"}, f"c{turn}")) for turn in range(12)]
    lab = await make_lab([desk(effects)], script=[*turns, DONE], archive=tmp_path, max_cached_workflows=cache)
    run = await lab.hf.start("desk", "look", segment_events=SHORT)
    assert (await run.result()).output == "done"
    archive = Archive(FolderStore(tmp_path))
    histories = await lab.histories(run)
    assert len(histories) > 2
    for history in histories:
        async with asyncio.timeout(30):
            await lab.client.get_workflow_handle(f"handfast-archive-{history.run_id}").result()
        assert await archive.history("default", run.id, history.run_id) == list(history.events)
    assert [each.run_id for each in await archive.segments("default", run.id)] == [each.run_id for each in histories]
    live = await seen(Handfast(lab.client).run(run.id))
    items = await lab.hf.run(run.id).transcript()
    offsets = [str(event["offset"]) for event in live]
    bare = Handfast(lab.client).run(run.id)
    for gone in (histories[:1], histories[1:]):
        for history in gone:
            await forget(lab, run.id, history.run_id)
        with pytest.raises(RunNotFoundError):
            await seen(bare)
        assert await seen(lab.hf.run(run.id)) == live
        for place in (0, len(live) // 2, len(live) - 1):
            assert await seen(run, offsets[place]) == live[place + 1 :]
    assert await lab.hf.run(run.id).transcript() == items
    assert len(items) == 26
    for wrong in (offsets[-1].replace(":", "x:"), offsets[-1].partition(":")[0] + ":9999.0"):
        with pytest.raises(OffsetUnknownError):
            await seen(run, wrong)


async def test_a_run_is_taken_out_as_lines(make_lab: MakeLab, tmp_path: Path) -> None:
    """An export has every event, every item of the conversation and the names of large outputs, the same from the
    server and from the archive; where the conversation was not archived it says so."""
    folders = {"archive": tmp_path / "archive", "artifacts": tmp_path / "artifacts"}
    script = [Reply(call("big", {}, "c1")), DONE]
    lab = await make_lab([agent(big=MEGABYTES)], script=script, **folders)
    run = await lab.hf.start("desk", "go")
    await run.result()
    await archived(lab, run, folders["archive"])
    events, items = await seen(run), await run.transcript()

    async def exported() -> list[JsonObject]:
        return [line async for line in lab.hf.export(run.id)]

    lines = await exported()
    assert lines[0] == {"kind": "run", "format": 1, "run": run.id, "namespace": "default"}
    assert [line["event"] for line in lines if line["kind"] == "event"] == events
    assert [line["item"] for line in lines if line["kind"] == "item"] == items
    assert [line["name"] for line in lines if line["kind"] == "artifact"] == list(stored(folders["artifacts"]))
    await forget(lab, run.id)
    assert await exported() == lines
    for name in stored(folders["archive"]):
        if name.startswith("transcript-"):
            next(folders["archive"].rglob(name)).unlink()
    [missing] = [line for line in await exported() if line["kind"] not in ("run", "event", "artifact")]
    assert (missing["kind"], missing["what"]) == ("missing", "transcript")
    with pytest.raises(RunNotFoundError):
        _ = [line async for line in lab.hf.export("nobody")]


async def test_a_session_is_archived_with_its_last_words(make_lab: MakeLab, effects: Effects, tmp_path: Path) -> None:
    """A session that was closed is archived too: its conversation outlives the server's memory of it, until it is
    erased."""
    lab = await make_lab([desk(effects)], script=[DONE, Reply(text("again"))], archive=tmp_path)
    session = lab.hf.session(f"talk-{lab.task_queue}", agent="desk")
    for said in ("one", "two"):
        await (await session.send(said)).output()
    await session.close()
    await session.result()
    await archived(lab, lab.hf.run(session.id), tmp_path)
    await forget(lab, session.id)
    items = await lab.hf.run(session.id).transcript()
    assert [item["role"] for item in items] == ["user", "assistant"] * 2
    assert (await lab.hf.erase(session.id)).archived
    with pytest.raises(RunNotFoundError):
        await lab.hf.run(session.id).transcript()


async def test_a_damaged_archive_says_so(make_lab: MakeLab, effects: Effects, tmp_path: Path) -> None:
    """A file that is no longer what was written there is one typed error that names it, never another run's events; the
    conversation, if it is whole, is there all the same, and files of other names do not matter."""
    lab = await make_lab([desk(effects)], script=[DONE, DONE], archive=tmp_path)
    runs = [await lab.hf.start("desk", "go") for _ in range(2)]
    for run in runs:
        await run.result()
        await archived(lab, run, tmp_path)
    run, other = runs
    path, others = [path for each in runs for path in files(tmp_path, each, "history-*")]
    (path.parent / "history-of-mine.txt").write_text("a note")
    events = await seen(run)
    await forget(lab, run.id)
    assert await seen(lab.hf.run(run.id)) == events
    whole = path.read_bytes()
    for spoilt in (whole[:-20], gzip.compress(b""), others.read_bytes(), b"nonsense"):
        path.write_bytes(spoilt)
        with pytest.raises(ArchiveDamagedError, match=path.name):
            await seen(lab.hf.run(run.id))
    assert len(await lab.hf.run(run.id).transcript()) == 2
    path.write_bytes(whole)
    assert await seen(lab.hf.run(run.id)) == events
    [transcript] = files(tmp_path, run, "transcript-*")
    transcript.write_bytes(transcript.read_bytes()[:-20])
    [kept] = files(tmp_path, other, "transcript-*")
    kept.write_bytes(b"nonsense")
    assert len(await other.transcript()) == 2  # the server has it: the run is asked
    [missing] = [line async for line in lab.hf.export(run.id) if line["kind"] == "missing"]
    assert transcript.name in str(missing["why"])
    assert len(await seen(other)) == len(events)


async def test_an_archive_that_is_away_is_one_error(make_lab: MakeLab, effects: Effects, tmp_path: Path) -> None:
    """What the server has is read as ever; what it has not, and an erasure, say that the archive cannot be reached."""
    lab = await make_lab([desk(effects)], script=[DONE])
    run = await lab.start("desk")
    await run.result()
    (tmp_path / "away").write_text("a file where a folder was")
    hf = Handfast(lab.client, archive=tmp_path / "away")
    assert len(await hf.run(run.id).transcript()) == 2
    assert await seen(hf.run(run.id)) == await seen(run)
    for reading in (hf.run("nobody").transcript(), seen(hf.run("nobody")), hf.erase("nobody")):
        with pytest.raises(ArchiveUnavailableError, match="cannot be reached"):
            await reading


async def test_every_history_of_a_run_that_goes_on_is_erased(
    make_lab: MakeLab, effects: Effects, tmp_path: Path
) -> None:
    """One that has gone on in fresh histories leaves none of them behind when it is ended and erased, on the server or
    in the archive."""
    turns = [Reply(call("look", {"check": f"w{turn}"}, f"c{turn}")) for turn in range(8)]
    lab = await make_lab([desk(effects)], script=[*turns, WIPE], archive=tmp_path)
    run = await lab.hf.start("desk", "look", segment_events=SHORT)
    await lab.next_request(run)
    histories = [history.run_id for history in await lab.histories(run)]
    assert len(histories) > 1
    erased = await lab.hf.erase(run.id, terminate=True)
    assert set(erased.histories) == set(histories)
    for run_id in histories:
        assert not await known(lab.client, run.id, run_id)
        assert not await known(lab.client, f"handfast-archive-{run_id}")
    assert stored(tmp_path) == {}


async def test_a_run_whose_id_is_used_again_is_told_apart(make_lab: MakeLab, effects: Effects, tmp_path: Path) -> None:
    """Of two archived runs of one id each handle reads its own events and conversation, the id alone the newer one; an
    offset of the one is no place in the other."""
    lab = await make_lab([desk(effects)], script=[Reply(text("first")), Reply(text("second"))], archive=tmp_path)
    runs, told = [], []
    for said in ("one", "two"):
        run = await lab.hf.start("desk", said, id=f"again-{lab.task_queue}")
        await run.result()
        child = lab.client.get_workflow_handle(f"handfast-archive-{await newest(lab, run)}")
        async with asyncio.timeout(30):
            await child.result()
        runs.append(run)
        told.append((await seen(run), await run.transcript()))
        await forget(lab, run.id, await newest(lab, run))
    for run, (events, items) in zip(runs, told, strict=True):
        assert await seen(run) == events
        assert await run.transcript() == items
    assert (await seen(lab.hf.run(runs[0].id)), await lab.hf.run(runs[0].id).transcript()) == told[1]
    with pytest.raises(OffsetUnknownError):
        await seen(runs[1], str(told[0][0][0]["offset"]))
    with pytest.raises(RunNotFoundError):
        await Run(lab.client, runs[0].id, "no-such-run", lab.hf.stores).transcript()


async def newest(lab: Lab, run: Run) -> str:
    """Temporal's run id of what bears a run's id now."""
    return (await lab.client.get_workflow_handle(run.id).describe()).run_id
