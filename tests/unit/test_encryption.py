"""The key ring, what it seals, and the store that it seals."""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st
from temporalio.api.common.v1 import Payload
from temporalio.converter import DataConverter, WorkflowSerializationContext

from handfast import Keyring
from handfast.encryption.codec import EncryptionCodec, encrypted
from handfast.encryption.converter import KEY, WORKFLOW, tolerant
from handfast.encryption.keyring import keyring_named
from handfast.errors import DefinitionError, KeyMissingError, PayloadUnreadableError, SealBrokenError
from handfast.payloads.base import Undecodable
from handfast.storage.artifacts import FolderStore
from handfast.storage.sealed_store import SealedStore
from support.clear import ring
from support.encryption import SealingCodec

HERE = WorkflowSerializationContext(namespace="default", workflow_id="w1")
THERE = WorkflowSerializationContext(namespace="default", workflow_id="w2")


def converter(keyring: Keyring, context: WorkflowSerializationContext | None = HERE) -> DataConverter:
    """A converter that encrypts for one workflow."""
    made = encrypted(None, keyring)
    return made if context is None else made.with_context(context)


async def test_a_payload_is_read_by_its_own_workflow_alone() -> None:
    """The bound workflow reads it, and whoever has no context, as the codec endpoint; every other workflow does not."""
    keys = ring("k1")
    [payload] = await converter(keys).encode([{"secret": "Smith"}])
    assert b"Smith" not in payload.SerializeToString()
    assert await converter(keys).decode([payload]) == [{"secret": "Smith"}]
    assert await converter(keys, None).decode([payload]) == [{"secret": "Smith"}]
    [refused] = await converter(keys, THERE).decode([payload])
    assert refused == Undecodable("it was encrypted for another workflow", True)
    [moved] = await converter(keys, THERE).decode(
        [Payload(metadata={**payload.metadata, WORKFLOW: b"w2"}, data=payload.data)]
    )
    assert moved == Undecodable("it was changed after it was encrypted", True)
    with pytest.raises(PayloadUnreadableError):
        await converter(keys, THERE).decode([payload], [dict])


async def test_equal_payloads_never_look_equal() -> None:
    """Each has a nonce of its own."""
    seen = {bytes((await converter(ring("k1")).encode(["x"]))[0].data) for _ in range(50)}
    assert len(seen) == 50


async def test_nothing_unpacks_beyond_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a key holder packed too tightly is refused before it fills the memory; what is too large is not packed."""
    monkeypatch.setattr("handfast.encryption.codec.LARGEST_BYTES", 10_000)
    keys = ring("k1")
    large = await converter(keys).encode(["x" * 20_000])
    assert await converter(keys).decode(large) == ["x" * 20_000]
    key, sealed = keys.seal(b"\1" + zlib.compress(bytes(1_000_000)), _bound(large[0]))
    bomb = Payload(metadata={**large[0].metadata, KEY: key.encode()}, data=sealed)
    assert await converter(keys).decode([bomb]) == [Undecodable("it was changed after it was encrypted", True)]


def _bound(payload: Payload) -> bytes:
    return json.dumps(["binary/handfast-encrypted", "default", payload.metadata[WORKFLOW].decode()]).encode()


@given(
    st.dictionaries(
        st.sampled_from(["encoding", "handfast-key", "handfast-workflow", "handfast-namespace", "problem", "ours"]),
        st.one_of(st.binary(max_size=20), st.just(b"binary/handfast-encrypted"), st.just(b"k1"), st.just(b"w1")),
    ),
    st.binary(max_size=200),
)
async def test_decoding_never_raises(metadata: dict[str, bytes], data: bytes) -> None:
    """XC1: whatever somebody sends becomes a sentinel that no handler takes for an argument, and never an error that
    would stop a workflow."""
    payload = Payload(metadata=metadata, data=data)
    [found] = await converter(ring("k1")).decode([payload])
    assert isinstance(found, Undecodable)
    assert found.encrypted


async def test_a_sentinel_that_somebody_sends_is_none() -> None:
    """Where plaintext is accepted, nobody can send what would make a run wait for a key."""
    forged = Payload(metadata={"encoding": b"binary/null", "problem": b"x", "key": b"k9", "ours": b"0" * 16})
    assert await converter(ring("k1", accept_plaintext=True)).decode([forged]) == [None]


async def test_a_sentinel_is_nothing_for_whoever_does_not_know_it() -> None:
    """Interceptors read headers with Temporal's default converter: what cannot be read is None there, and no error,
    which would stop a workflow for good."""
    [sentinel] = await EncryptionCodec(ring("k1")).decode([Payload(metadata={"encoding": b"json/plain"}, data=b"5")])
    assert DataConverter.default.payload_converter.from_payloads([sentinel]) == [None]


async def test_a_codec_of_the_users_stays_inside() -> None:
    """It encodes first; where it fails, that is a sentinel too."""
    own = tolerant(DataConverter(payload_codec=SealingCodec(b"1" * 32)))
    both = encrypted(own, ring("k1")).with_context(HERE)
    payloads = await both.encode([{"a": 1}, {"b": 2}])
    assert await both.decode(payloads) == [{"a": 1}, {"b": 2}]
    other = encrypted(tolerant(DataConverter(payload_codec=SealingCodec(b"2" * 32))), ring("k1")).with_context(HERE)
    assert {type(each) for each in await other.decode(payloads)} == {Undecodable}
    assert isinstance(both.payload_codec, EncryptionCodec)
    assert encrypted(both, ring("k2")) is both


@pytest.mark.parametrize(
    ("keys", "current", "problem"),
    [
        pytest.param({"a": b"short"}, "a", "32 bytes", id="short"),
        pytest.param({"a b": bytes(32)}, "a b", "id has", id="id"),
        pytest.param({"a": bytes(32)}, "b", "not among", id="current"),
    ],
)
def test_a_key_ring_is_checked(keys: dict[str, bytes], current: str, problem: str) -> None:
    """What cannot work is said at once, without any key in the text."""
    with pytest.raises(DefinitionError, match=problem):
        Keyring(keys, current=current)


@pytest.mark.parametrize(
    "held", ["", "[]", '{"current": "a"}', '{"current": "a", "keys": {"a": 5}}', '{"current": "a", "keys": {"a": "?"}}']
)
def test_a_file_that_holds_no_key_ring_is_refused(tmp_path: Path, held: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the file's name and the form that was expected; also where the environment names it."""
    path = tmp_path / "keys.json"
    path.write_text(held)
    monkeypatch.setenv("HANDFAST_ENCRYPTION_KEYS", str(path))
    with pytest.raises(DefinitionError, match=r"keys\.json"):
        keyring_named(None)
    assert keyring_named(False) is None
    wrong: Any = 5
    with pytest.raises(DefinitionError, match="Keyring"):
        keyring_named(wrong)


def test_a_sealed_store_gives_nothing_away(tmp_path: Path) -> None:
    """Content and names of artifacts are unreadable; a file in another place or with other bytes is refused."""
    keys, folder = ring("new", "old"), FolderStore(tmp_path)
    SealedStore(folder, ring("old")).below("run").write("5e884898", b"the old password")
    store = SealedStore(folder, keys)
    store.below("run").write("abc", b"the password")
    store.below("run").write("abc", b"the password")
    assert store.below("run").read("abc") == b"the password"
    assert store.below("run").read("5e884898") == b"the old password"
    files = [tmp_path / "run" / name for name in store.below("run").names()]
    assert len(files) == 2
    assert all(b"password" not in file.read_bytes() and "5e88" not in file.name for file in files)
    with pytest.raises(FileNotFoundError):
        store.below("elsewhere").read("abc")
    hidden = tmp_path / "run" / keys.names_of("abc", "/run")["new"]
    hidden.write_bytes(hidden.read_bytes()[:-1] + b"x")
    with pytest.raises(SealBrokenError):
        store.below("run").read("abc")
    store.below("run").write("abc", b"the password")
    assert store.below("run").read("abc") == b"the password"
    assert len(store.below("run").erase()) == 2
    with pytest.raises(KeyMissingError):
        ring("other").open("new", os.urandom(40), b"")


def test_what_was_kept_before_there_were_keys_is_read_where_that_is_said(tmp_path: Path) -> None:
    """A ring that accepts plaintext finds old files under their own names."""
    FolderStore(tmp_path).write("abc", b"plain")
    assert SealedStore(FolderStore(tmp_path), ring("k", accept_plaintext=True)).read("abc") == b"plain"
    with pytest.raises(FileNotFoundError):
        SealedStore(FolderStore(tmp_path), ring("k")).read("abc")
