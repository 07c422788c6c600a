"""The store of outputs that go by reference: what is written, who may write at once, and what a reader is told."""

from __future__ import annotations

import asyncio
import hashlib
import os
import stat
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from temporalio.testing import ActivityEnvironment

from handfast import Agent, HandfastPlugin, question, tool
from handfast.activities.runtime.references import (
    LARGEST_PIECE_BYTES,
    PREVIEW_BYTES,
    Artifacts,
    preview,
    read_output_tool,
)
from handfast.definitions.agents.registry import Registry
from handfast.errors import ArgumentsInvalidError, ArtifactError, DefinitionError
from handfast.payloads.cutting import cut, whole_characters
from handfast.payloads.transcript import Artifact
from handfast.storage.artifacts import (
    ArtifactStore,
    FolderStore,
    artifact_store,
    place_of_run,
    store_by_default,
    store_named,
)

DATA = b"0123456789" * 1000
SHA = hashlib.sha256(DATA).hexdigest()


def files(folder: Path) -> list[Path]:
    """All files below *folder*."""
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())


def test_content_is_found_by_its_digest_alone(tmp_path: Path) -> None:
    """What is kept lies under its digest, for its owner only, and a second writing changes nothing."""
    store = FolderStore(tmp_path / "a" / "b")
    store.write(SHA, DATA)
    path = store.folder / SHA
    before = path.stat()
    store.write(SHA, DATA)
    assert path.stat() == before
    assert path.stat().st_mode & 0o077 == 0
    assert files(store.folder) == [Path(SHA)]
    assert store.read(SHA) == DATA


def test_writers_at_the_same_moment_leave_one_whole_file(tmp_path: Path) -> None:
    """Many workers that keep the same output at once do not disturb each other, and leave nothing behind."""
    data = DATA * 200
    sha256 = hashlib.sha256(data).hexdigest()
    ready = Barrier(16)

    def write() -> bytes:
        ready.wait(30)
        store = FolderStore(tmp_path)
        store.write(sha256, data)
        return store.read(sha256)

    with ThreadPoolExecutor(16) as threads:
        read = [each.result(60) for each in [threads.submit(write) for _ in range(16)]]
    assert read == [data] * 16
    assert files(tmp_path) == [Path(sha256)]


def test_a_writing_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk in the middle of a file leaves neither the file nor a part of it."""

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        FolderStore(tmp_path).write(SHA, DATA)
    assert files(tmp_path) == []


def test_a_damaged_file_is_written_anew(tmp_path: Path) -> None:
    """Whoever keeps the same output again heals a file that something has cut or changed."""
    store = FolderStore(tmp_path)
    store.write(SHA, DATA)
    (store.folder / SHA).write_bytes(b"x" * len(DATA))
    store.write(SHA, DATA)
    assert store.read(SHA) == DATA


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/passwd", "", "..", ".part", SHA.upper(), f"{SHA}\n", "a" * 129]
)
def test_a_name_is_no_path(tmp_path: Path, name: str) -> None:
    """A name that leads elsewhere is not there, whatever lies in the file system under it."""
    for attempt in (FolderStore(tmp_path).read, FolderStore(tmp_path).below):
        with pytest.raises(FileNotFoundError):
            attempt(name)


@pytest.mark.parametrize("url", ["{folder}", "memory://places/y", "file://{folder}"])
def test_a_run_is_erased_alone(tmp_path: Path, url: str) -> None:
    """What one run kept is listed and erased with what a killed writer left; another run's is untouched, and a second
    erasure finds nothing."""
    store = artifact_store(url.format(folder=tmp_path))
    mine, other = (place_of_run(store, "default", each) for each in ("mine", "other"))
    assert (mine.names(), mine.erase()) == ([], [])
    for each in (mine, other):
        each.write("b", DATA)
        each.write("a", DATA)
    for path in tmp_path.rglob("a"):
        (path.parent / ".part").write_bytes(b"left by a killed writer")
    assert mine.names() == ["a", "b"]
    assert mine.erase() == ["a", "b"]
    assert (mine.names(), mine.erase()) == ([], [])
    assert other.names() == ["a", "b"]
    assert len(files(tmp_path)) == (0 if url.startswith("memory") else 3)


@pytest.mark.parametrize("location", ["", 5, b"/tmp"])
def test_a_place_that_is_none_is_refused(location: object) -> None:
    """What is no path and no URL is refused where the plugin is made."""
    with pytest.raises(DefinitionError, match="path of a folder, or a URL"):
        artifact_store(location)  # type: ignore[arg-type] # refused


def test_a_url_without_fsspec_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where fsspec is not installed, the plugin says what to install; what the URL holds is not repeated."""
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(DefinitionError, match=r"install 'handfast\[artifacts\]'") as refused:
        HandfastPlugin(artifacts="s3://key:secret@bucket/outputs")
    assert "secret" not in str(refused.value)


def test_the_environment_names_the_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """HANDFAST_ARTIFACTS is looked at where the plugin says nothing."""
    monkeypatch.setenv("HANDFAST_ARTIFACTS", "nowhere-known://x")
    with pytest.raises(DefinitionError, match="nowhere-known"):
        HandfastPlugin()
    assert HandfastPlugin(artifacts=tmp_path) is not None


@pytest.mark.parametrize(
    ("address", "here"),
    [
        *[("localhost:7233", True), ("127.0.0.1:50123", True), ("http://127.0.1.1:7233", True), ("[::1]:7233", True)],
        *[("temporal:7233", False), ("eu.api.temporal.io:7233", False)],
    ],
)
def test_a_folder_is_the_default_beside_a_server_on_this_machine(
    address: str, here: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Elsewhere a run may go on another machine, which would not find it; who says where, or nowhere, is heard."""
    monkeypatch.delenv("HANDFAST_ARTIFACTS", raising=False)
    monkeypatch.chdir(tmp_path)
    store = store_by_default(store_named(None), address)
    assert isinstance(store, FolderStore) is here
    if isinstance(store, FolderStore):
        assert store.folder == tmp_path / ".handfast" / "artifacts"
    assert store_by_default(store_named(False), address) is None
    named = store_by_default(store_named(tmp_path / "mine"), address)
    assert isinstance(named, FolderStore)
    assert named.folder == tmp_path / "mine"
    monkeypatch.setenv("HANDFAST_ARTIFACTS", "none")
    assert store_by_default(store_named(None), address) is None


def by_function() -> Agent:
    """An agent whose tool takes our name."""

    @tool(effect="read_only")
    def read_output(id: str) -> str:
        """Take the name."""
        return id

    return Agent("desk", model="m", tools=[read_output])


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(by_function, id="function"),
        pytest.param(lambda: Agent("desk", tools=[question(name="read_output")]), id="question"),
        pytest.param(lambda: Agent("desk", tools=[Agent("other").as_tool("read_output")]), id="agent"),
    ],
)
def test_the_name_of_the_reading_tool_is_ours(make: Callable[[], Agent]) -> None:
    """A tool of the user's with that name is refused when the registry is built."""
    with pytest.raises(DefinitionError, match="no tool may be named 'read_output'"):
        Registry([make()])


def test_a_tool_of_a_worker_without_agents_is_refused_too() -> None:
    """Likewise one that is given without an agent."""
    [taken] = by_function().tools
    with pytest.raises(DefinitionError, match="no tool may be named 'read_output'"):
        Registry([], [taken])  # type: ignore[list-item] # a Tool, as its agent holds it


class Broken:
    """A store whose medium fails with words that are nobody's business."""

    def write(self, name: str, data: bytes) -> None:
        """Fail."""
        raise PermissionError(13, "https://user:password@store.example", name)

    def read(self, name: str) -> bytes:
        """Fail likewise."""
        raise PermissionError(13, "https://user:password@store.example", name)

    def names(self) -> list[str]:
        """Fail likewise."""
        raise PermissionError(13, "https://user:password@store.example")

    def erase(self) -> list[str]:
        """Fail likewise."""
        raise PermissionError(13, "https://user:password@store.example")

    def below(self, name: str) -> Broken:
        """Lead on to the same."""
        return self


def place(store: FolderStore, run: str = "test") -> FolderStore:
    """The place of a run; the SDK's environment for activities says that it is called *test*."""
    found = place_of_run(store, "default", run)
    assert isinstance(found, FolderStore)
    return found


async def read(store: ArtifactStore | None, sha256: str, offset: int = 0, length: int = 16384) -> str:
    """Call the model's tool."""
    artifacts = Artifacts(store)
    try:
        asking: Awaitable[str] = ActivityEnvironment().run(read_output_tool(artifacts).function, sha256, offset, length)
        return await asking
    finally:
        artifacts.close()


async def test_an_output_that_is_missing_or_damaged_is_said_so(tmp_path: Path) -> None:
    """The model reads what is wrong with an output, and none of what the store says of itself."""
    store = FolderStore(tmp_path)
    with pytest.raises(ArtifactError, match="it is not in this worker's store"):
        await read(store, SHA)
    place(store, "another").write(SHA, DATA)
    with pytest.raises(ArtifactError, match="it is not in this worker's store"):
        await read(store, SHA)
    kept = place(store)
    kept.write(SHA, DATA)
    (kept.folder / SHA).write_bytes(DATA[:-1])
    with pytest.raises(ArtifactError, match="has another one: it was damaged"):
        await read(store, SHA)
    with pytest.raises(ArtifactError, match=r"the store failed \(PermissionError\)") as failed:
        await read(Broken(), SHA)
    assert "password" not in str(failed.value)
    with pytest.raises(ArtifactError, match="give its HandfastPlugin artifacts="):
        await read(None, SHA)


async def test_a_store_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A store that does not answer costs a bounded time, and the model reads why."""
    going_on = Barrier(2)

    class Hanging(FolderStore):
        def write(self, name: str, data: bytes) -> None:
            going_on.wait(30)

        def below(self, name: str) -> Hanging:
            return self

    monkeypatch.setattr("handfast.activities.runtime.references.STORE_S", 0.05)
    artifacts = Artifacts(Hanging(tmp_path))
    with pytest.raises(ArtifactError, match="longer than"):
        await ActivityEnvironment().run(artifacts.keep, DATA)
    await asyncio.to_thread(going_on.wait, 30)
    artifacts.close()


async def test_pieces_put_together_are_the_whole(tmp_path: Path) -> None:
    """Read on from where the last piece ended, an output comes whole, characters of several bytes included."""
    whole = "aß€𝄞" * 700
    data = whole.encode()
    sha256 = hashlib.sha256(data).hexdigest()
    place(FolderStore(tmp_path)).write(sha256, data)
    found, offset = "", 0
    while True:
        said = await read(FolderStore(tmp_path), sha256, offset, 1001)
        if said.startswith("[The output ends"):
            break
        head, _, piece = said.partition("\n")
        assert head.startswith(f"[Bytes {offset:,} to ")
        found += piece
        offset += len(piece.encode())
        assert (f"offset={offset} reads on" in head) is (offset < len(data))
    assert found == whole
    assert (await read(FolderStore(tmp_path), sha256, 10**12)).startswith(f"[The output ends at byte {len(data):,}")


def test_a_preview_is_short_and_leads_on() -> None:
    """What the model reads at once is the start, the size, the digest, and how to read on at a whole character."""
    data = ("€" * PREVIEW_BYTES).encode()
    shown = preview(data, Artifact(sha256=SHA, bytes=len(data)))
    start, _, note = shown.rpartition("\n")
    assert data.decode().startswith(start)
    assert PREVIEW_BYTES <= len(start.encode()) < PREVIEW_BYTES + 4
    assert f"{len(data):,} bytes, sha256 {SHA}" in note
    assert f'read_output(id="{SHA}", offset={len(start.encode())})' in note


def test_a_cut_with_a_remark_stays_within_its_limit() -> None:
    """What is said of a store that failed does not make a cut output longer."""
    text, size = cut("ü" * 1000, 400, "; the whole could not be kept: the störe failed")
    assert len(text.encode()) <= 400
    assert size == 2000
    assert text.endswith("the störe failed]")


def test_positions_are_whole_characters() -> None:
    """Every position within a character leads to the next one."""
    assert [whole_characters("a€b".encode(), place) for place in range(8)] == [0, 1, 4, 4, 4, 5, 5, 5]


def test_the_reading_tool_is_bounded() -> None:
    """Its schema takes no negative offset and no piece that would fill the history."""
    tool = read_output_tool(Artifacts(None))
    tool.validate({"id": SHA, "offset": 0, "length": LARGEST_PIECE_BYTES})
    for wrong in ({"offset": -1}, {"length": LARGEST_PIECE_BYTES + 1}, {"length": 0}):
        with pytest.raises(ArgumentsInvalidError):
            tool.validate({"id": SHA, **wrong})


def test_a_store_makes_its_folders_for_one_account_alone(tmp_path: Path) -> None:
    """Whatever the umask; a folder that is there keeps its mode."""
    tmp_path.chmod(0o755)
    before = os.umask(0)
    try:
        FolderStore(tmp_path / ".handfast" / "artifacts").below("ab").write("name", b"a prompt")
    finally:
        os.umask(before)
    made = [tmp_path / ".handfast", *(tmp_path / ".handfast").rglob("*")]
    assert {stat.S_IMODE(path.stat().st_mode) for path in made if path.is_dir()} == {0o700}
    assert {stat.S_IMODE(path.stat().st_mode) for path in made if path.is_file()} == {0o600}
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755
