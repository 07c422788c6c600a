"""`handfast doctor`: keys that are missing here, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from handfast import Handfast, Signer, TrustedKey
from handfast.cli.health.checks import CHECKS, examine
from handfast.cli.health.findings import Finding
from handfast.connection import connect
from handfast.encryption.keyring import Keyring
from handfast.server import RETENTION, EmbeddedServer
from handfast.temporal.namespace import ensure_namespace, register_search_attributes
from support.clear import ring
from support.lists import eventually
from support.signing import trusted, write_ring

NAMESPACE = "sealed"
LONELY: dict[str, Any] = {"task_queue": "nobody-polls-it"}


async def looked(check: str, hf: Handfast) -> list[Finding]:
    """What one check of the doctor's finds."""
    [named] = [each for each in CHECKS if each.name == check]
    return list(await examine(named, hf))


def told(findings: list[Finding]) -> list[tuple[str, str]]:
    """State and words."""
    return [(each.state, each.said) for each in findings]


async def test_keys_that_runs_need_and_this_client_lacks_are_named(server: EmbeddedServer) -> None:
    """Runs under a key that is not here, and those that are not encrypted where that is refused, are counted with the
    remedy, without a worker; a ring that fits is fine, and what it accepts for no run any more is noted."""

    async def handfast(keyring: Keyring | None) -> Handfast:
        return Handfast(await connect(server.address, namespace=NAMESPACE, encryption=keyring or False))

    bare = await handfast(None)
    await ensure_namespace(bare.client, NAMESPACE, RETENTION)
    await register_search_attributes(bare.client, NAMESPACE)
    assert await looked("encryption", bare) == []
    sealing = (await handfast(ring("k1"))).client
    for id, memo in (("asking", {"handfast.request.x": {"id": "x"}}), ("thinking", None)):
        await sealing.start_workflow("AgentRun", {"agent": "a", "input": "x"}, id=id, memo=memo, **LONELY)
    plain = await bare.client.start_workflow("AgentRun", {"agent": "a", "input": "x"}, id="plain", **LONELY)

    async def all_listed() -> bool:
        return len([each async for each in bare.client.list_workflows("ExecutionStatus = 'Running'")]) == 3

    await eventually(all_listed)
    [found] = await looked("encryption", bare)
    assert found.state == "wrong"
    assert found.said.startswith("2 runs that go on are encrypted with the key 'k1', which this client has not")
    assert "HANDFAST_ENCRYPTION_KEYS" in found.remedy
    assert [words for _, words in told(await looked("encryption", await handfast(ring("k2"))))] == [
        "2 runs that go on are encrypted with the key 'k1', which this key ring has not",
        "1 runs that go on are not encrypted, and this key ring reads nothing that is not",
    ]
    tolerant, strict = await handfast(ring("k1", accept_plaintext=True)), await handfast(ring("k1"))
    fits = "what goes on can be read here; the key 'k1' writes"
    assert told(await looked("encryption", tolerant)) == [("ok", fits)]
    await plain.terminate()

    async def forgotten() -> bool:
        return told(await looked("encryption", strict)) == [("ok", fits)]

    await eventually(forgotten)
    [noted] = await looked("encryption", tolerant)
    assert (noted.state, "accept_plaintext" in noted.remedy) == ("note", True)


async def test_a_signing_key_that_is_not_trusted_is_named(
    server: EmbeddedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the trusted keys are configured here too, a signing key that is missing among them, is retired or is not
    given at all is said with the remedy, and so are trusted keys that let nobody decide."""
    client = await connect(server.address, encryption=False)
    mine, other = Signer.generate(), Signer.generate()
    path = tmp_path / "trusted.json"
    monkeypatch.delenv("HANDFAST_TRUSTED_KEYS", raising=False)
    monkeypatch.delenv("HANDFAST_SIGNING_KEY", raising=False)

    async def found(signer: Signer | None, keys: Mapping[str, TrustedKey]) -> tuple[str, str, str]:
        write_ring(path, keys)
        [finding] = await looked("signing", Handfast(client, signer=signer))
        return finding.state, finding.said, finding.remedy

    assert await looked("signing", Handfast(client)) == []
    monkeypatch.setenv("HANDFAST_TRUSTED_KEYS", str(path))
    for signer, keys, state, said, remedy in (
        (mine, {mine.kid: trusted(mine)}, "ok", "which is trusted", ""),
        (mine, {other.kid: trusted(other)}, "wrong", "which is not trusted", f"sign with {other.kid}"),
        (
            mine,
            {mine.kid: trusted(mine, state="verify_only"), other.kid: trusted(other)},
            "wrong",
            "kept to verify alone",
            f"--public {mine.public}",
        ),
        (None, {mine.kid: trusted(mine)}, "note", "signs nothing", "HANDFAST_SIGNING_KEY"),
        (mine, {mine.kid: trusted(mine, state="verify_only")}, "wrong", "no trusted key is active", "keys trust"),
        (mine, {mine.kid: trusted(mine, ["reviewer:*"])}, "wrong", "no person can decide anything", "keys trust"),
        (
            mine,
            {mine.kid: trusted(mine, ["reviewer:judge"]), other.kid: trusted(other, ["ana"])},
            "wrong",
            "which is a reviewer's",
            f"sign with {other.kid}",
        ),
    ):
        of, words, way = await found(signer, keys)
        assert (of, said in words, remedy in way) == (state, True, True), (words, way)
    path.write_text("no JSON")
    [finding] = await looked("signing", Handfast(client))
    assert (finding.state, "HANDFAST_TRUSTED_KEYS" in finding.remedy) == ("wrong", True)
