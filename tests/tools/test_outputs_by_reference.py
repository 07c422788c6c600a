"""Scenario row J6: outputs that are too large for the history are kept outside it, and the model reads on in them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from handfast import Agent, Replace, ToolContext, tool
from handfast.errors import DefinitionError
from handfast.payloads.tool_call import RESULT_BYTES
from handfast.storage.artifacts import FolderStore, artifact_store, place_of_run
from handfast.testing import Lab, Reply, call, text
from support.desk import outputs
from support.evidence import history_bytes
from support.labs import Effects, MakeLab
from support.large_outputs import MEGABYTES, stored
from support.outputs import DONE, PAUSE, agent, paused_in_the_middle, returning, tool_outcomes

WHOLE = MEGABYTES.encode()
SHA = hashlib.sha256(WHOLE).hexdigest()


def reading(sha256: str, offset: int, call_id: str, length: int = 20_000) -> Any:
    """The model reads a piece."""
    return call("read_output", {"id": sha256, "offset": offset, "length": length}, call_id)


def offered(lab: Lab) -> list[bool]:
    """Whether the model was offered to read on, request by request."""
    return [any(each.get("name") == "read_output" for each in request.body["tools"]) for request in lab.model.requests]


@pytest.mark.parametrize("scheme", ["", "file://"], ids=["folder", "url"])
async def test_a_large_output_goes_by_reference(make_lab: MakeLab, tmp_path: Path, cache: int, scheme: str) -> None:
    """J6: of 5 MB the model reads the start, and from there on what it asks for, over a replacement of the worker; the
    history stays small, and replays."""
    assert len(WHOLE) > 5_000_000
    script = [
        Reply(call("big", {}, "c1"), PAUSE),
        Reply(reading(SHA, 3_000_000, "r1"), reading(SHA, len(WHOLE) - 900, "r2")),
        DONE,
    ]
    lab = await make_lab(
        [agent(big=MEGABYTES)], script=script, artifacts=f"{scheme}{tmp_path}", max_cached_workflows=cache
    )
    run = await paused_in_the_middle(lab, 1)
    assert stored(tmp_path) == {SHA: WHOLE}
    read = dict(outputs(lab))
    start, _, note = read["c1"].rpartition("\n")
    assert MEGABYTES.startswith(start)
    assert 16_000 < len(start.encode()) < 17_000
    assert f"of {len(WHOLE):,} bytes, sha256 {SHA}. read_output(id=" in note
    read = dict(outputs(lab, 3))
    assert read["r1"].partition("\n")[2].encode() in WHOLE[2_999_990:3_020_010]
    assert len(read["r1"].encode()) > 20_000
    assert read["r2"].partition("\n")[2].encode() == WHOLE[-900:]
    assert "this is its end" in read["r2"]
    assert offered(lab) == [False, True, True]
    assert lab.model.violations == []
    [kept] = [outcome for outcome in await tool_outcomes(lab, run) if outcome.artifact is not None]
    assert kept.artifact is not None
    assert (kept.artifact.sha256, kept.artifact.bytes, kept.bytes, kept.form) == (SHA, len(WHOLE), len(WHOLE), None)
    assert await history_bytes(lab, run) < 200_000


async def test_a_large_structure_is_kept_as_json(make_lab: MakeLab, tmp_path: Path) -> None:
    """J6: a structured output is kept as its JSON text, whole."""
    value = {"z": ["ü" * RESULT_BYTES], "a": None}
    lab = await make_lab([agent(big=value)], script=[Reply(call("big", {}, "c1")), DONE], artifacts=tmp_path)
    await (await lab.start("desk")).result()
    [whole] = stored(tmp_path).values()
    assert whole.decode() == json.dumps(value, ensure_ascii=False)


async def test_requests_are_equal_over_a_restart(make_lab: MakeLab, tmp_path: Path) -> None:
    """J6: the model is sent the same bytes, tools included, whether the worker was replaced or not."""
    script = [Reply(call("big", {}, "c1"), PAUSE), Reply(reading(SHA, 16_384, "r1")), DONE]
    quiet = await make_lab([agent(big=MEGABYTES)], script=script, artifacts=tmp_path)
    run = await quiet.start("desk")
    await run.approve(await quiet.next_request(run), decided_by="lead")
    await run.result()
    replaced = await make_lab([agent(big=MEGABYTES)], script=script, artifacts=tmp_path, max_cached_workflows=0)
    await paused_in_the_middle(replaced, 1)
    assert [each.content for each in replaced.model.requests] == [each.content for each in quiet.model.requests]


async def test_a_store_that_cannot_be_written_costs_nothing_else(
    make_lab: MakeLab, effects: Effects, tmp_path: Path
) -> None:
    """J6: where the store fails the output is cut, and says why; the tool ran once, and the run goes on."""
    (tmp_path / "no-folder").write_text("in the way")

    @tool
    def dump() -> str:
        """Dump a database, once."""
        effects.append("dumped")
        return MEGABYTES

    lab = await make_lab(
        [Agent("desk", model="m", tools=[dump])],
        script=[Reply(call("dump", {}, "c1")), DONE],
        artifacts=tmp_path / "no-folder",
    )
    run = await lab.start("desk")
    assert (await run.result()).output == "done"
    read = dict(outputs(lab))["c1"]
    assert len(read.encode()) <= RESULT_BYTES
    assert f"sha256 {SHA}; the whole could not be kept: the store failed (" in read
    assert str(tmp_path) not in read
    assert effects == ["dumped"]
    assert offered(lab) == [False, False]


async def test_what_the_store_lost_is_said_so(make_lab: MakeLab, tmp_path: Path) -> None:
    """J6: where an output is not in the store of this worker, the model reads that, and the run goes on."""
    script = [Reply(call("big", {}, "c1")), Reply(call("lose", {}, "c2")), Reply(reading(SHA, 0, "r1")), DONE]

    @tool
    def lose() -> str:
        """Lose what is kept."""
        next(tmp_path.rglob(SHA)).unlink()
        return "lost"

    lab = await make_lab(
        [Agent("desk", model="m", tools=[returning("big", MEGABYTES), lose])], script=script, artifacts=tmp_path
    )
    await (await lab.start("desk")).result()
    read = dict(outputs(lab, 4))["r1"]
    assert read.startswith("Error: ArtifactError: ")
    assert "it is not in this worker's store" in read


async def test_only_outputs_of_the_conversation_can_be_read(make_lab: MakeLab, tmp_path: Path) -> None:
    """J6: what another run has kept in the same store, and what lies beside it, is not read for this one's model."""
    other = ("secret " * RESULT_BYTES).encode()
    sha256 = hashlib.sha256(other).hexdigest()
    place_of_run(FolderStore(tmp_path), "default", "another run").write(sha256, other)
    script = [
        Reply(reading(sha256, 0, "r0"), call("big", {}, "c1")),
        Reply(reading(sha256, 0, "r1"), reading("../../etc/passwd", 0, "r2"), reading(SHA, 0, "r3")),
        DONE,
    ]
    lab = await make_lab([agent(big=MEGABYTES)], script=script, artifacts=tmp_path)
    await (await lab.start("desk")).result()
    read = dict(outputs(lab, 3))
    assert read["r0"].startswith("Error: there is no tool 'read_output'")
    assert read["r1"] == read["r2"]
    assert read["r1"].startswith("Error: no output of this conversation has this id")
    assert read["r3"].startswith("[Bytes 0 to ")
    assert "secret" not in json.dumps(lab.model.requests[2].body)


async def test_a_nested_agent_reads_its_own(make_lab: MakeLab, tmp_path: Path) -> None:
    """J6: an output of a nested agent's conversation is offered there, and not in the one around it."""
    nested = Agent("auditor", model="m", tools=[returning("big", MEGABYTES)])
    script = [
        Reply(call("auditor", {"input": "look"}, "o1")),
        Reply(call("big", {}, "c1")),
        Reply(reading(SHA, 20_000, "r1")),
        Reply(text("fine")),
        DONE,
    ]
    lab = await make_lab([Agent("desk", model="m", tools=[nested.as_tool()])], script=script, artifacts=tmp_path)
    await (await lab.start("desk")).result()
    assert offered(lab) == [False, False, True, True, False]


@pytest.mark.parametrize("verdict", ["replace", "raise"])
async def test_a_guardrail_says_what_is_kept(make_lab: MakeLab, tmp_path: Path, verdict: str) -> None:
    """J6: an output that a guardrail replaced or kept from the model is not in the store; what it put there is."""
    clean = "clean " * RESULT_BYTES

    def guard(_context: ToolContext, _output: object) -> Replace:
        if verdict == "raise":
            raise ValueError("no verdict")
        return Replace(clean)

    @tool(effect="read_only", output_guardrails=[guard])
    def big() -> str:
        """Return something large."""
        return MEGABYTES

    lab = await make_lab(
        [Agent("desk", model="m", tools=[big])], script=[Reply(call("big", {}, "c1")), DONE], artifacts=tmp_path
    )
    await (await lab.start("desk")).result()
    assert list(stored(tmp_path).values()) == ([clean.encode()] if verdict == "replace" else [])
    assert offered(lab) == [False, verdict == "replace"]


async def test_a_run_that_ends_with_it_returns_start_and_name(make_lab: MakeLab, tmp_path: Path) -> None:
    """J6: where a tool's output ends the run, the result is what the model would have read: start, size and digest."""
    lab = await make_lab(
        [Agent("desk", model="m", tools=[returning("big", MEGABYTES)], after_tools="stop_on_first")],
        script=[Reply(call("big", {}, "c1"))],
        artifacts=tmp_path,
    )
    output = (await (await lab.start("desk")).result()).output
    assert isinstance(output, str)
    assert output.startswith(MEGABYTES[:10_000])
    assert SHA in output


@pytest.mark.parametrize("url", ["memory://outputs/x", "file://{folder}/deep/er"])
def test_a_url_is_a_store_like_a_folder(tmp_path: Path, url: str) -> None:
    """J6: what fsspec reaches keeps outputs by digest, again and again, heals them, and leaves no parts behind."""
    store = artifact_store(url.format(folder=tmp_path))
    with pytest.raises(FileNotFoundError):
        store.read(SHA)
    for _ in range(2):
        store.write(SHA, WHOLE)
        assert store.read(SHA) == WHOLE
    with pytest.raises(FileNotFoundError):
        store.read("../secret")
    if url.startswith("file"):
        [path] = [path for path in tmp_path.rglob("*") if path.is_file()]
        path.write_bytes(b"damaged")
        store.write(SHA, WHOLE)
        assert stored(tmp_path) == {SHA: WHOLE}


def test_a_url_that_nothing_knows_is_refused() -> None:
    """A scheme without a file system is refused where the plugin is made, without repeating what the URL holds."""
    with pytest.raises(DefinitionError, match=r"nowhere://… cannot be opened by fsspec") as refused:
        artifact_store("nowhere://user:secret@host/x")
    assert "secret" not in str(refused.value)


async def test_beside_a_server_on_this_machine_a_folder_is_the_default(
    make_lab: MakeLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """J6: nobody names a place: a large output lies in the worker's own folder, the log says where, and the model may
    read on."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HANDFAST_ARTIFACTS", raising=False)
    caplog.set_level("INFO", logger="handfast.plugin")
    lab = await make_lab([agent(big=MEGABYTES)], script=[Reply(call("big", {}, "c1")), DONE], artifacts=None)
    await (await lab.start("desk")).result()
    [(name, data)] = stored(tmp_path / ".handfast" / "artifacts").items()
    assert hashlib.sha256(data).hexdigest() == name
    assert offered(lab) == [False, True]
    assert str(tmp_path / ".handfast" / "artifacts") in caplog.text
