"""Signing from the command line: keys made, trusted, rotated, and every deciding command signed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from handfast import Signer
from handfast.cli import exits, keys
from handfast.errors import DefinitionError
from support.command_desk import ASKS, DESK, DONE
from support.commands import Cli
from support.labs import MakeLab


async def test_a_key_of_ones_own_decides_from_the_command_line(make_lab: MakeLab, cli: Cli) -> None:
    """XH5: a person's key on the command line decides for that person alone, and `watch` says so."""
    made = await cli("keys", "new", "ana.pem", "--json")
    assert made.code == exits.OK
    kid = made.document["id"]
    assert (await cli("keys", "new", "ana.pem")).code == exits.BAD_INPUT
    assert (await cli("keys", "trust", "trusted.json", "--key", "ana.pem", "--for", "ana")).code == exits.OK
    lab = await make_lab([DESK], script=[ASKS, DONE], trusted_keys=cli.directory / "trusted.json")
    run = await lab.start("desk", id="cli-signed")
    request = await lab.next_request(run)
    line = ["approve", request.id, "--run", run.id]
    unsigned = await cli(*line, "--by", "ana")
    assert (unsigned.code, "HANDFAST_SIGNING_KEY" in unsigned.line) == (exits.REFUSED, True)
    key = {"HANDFAST_SIGNING_KEY": "ana.pem"}
    assert (await cli(*line, "--by", "lea", **key)).code == exits.REFUSED
    approved = await cli(*line, "--by", "ana", "--json", **key)
    assert approved.document["receipt"]["signed_by"] == {"kid": kid, "method": "cli"}
    assert (await run.result()).output == "all done"
    assert f"by ana [verified: {kid}, cli]" in (await cli("watch", run.id)).out


async def test_keys_are_rotated_from_the_command_line(cli: Cli) -> None:
    """`trust`, `retire` and `remove` write the file of trusted keys, in which nobody is retired twice."""
    old = (await cli("keys", "new", "old.pem", "--json")).document
    new = (await cli("keys", "new", "new.pem", "--json")).document
    await cli("keys", "trust", "trusted.json", "--key", "old.pem", "--for", "*")
    both = await cli(
        "keys", "trust", "trusted.json", "--public", new["public"], "--for", "ana", "--for", "bob", "--json"
    )
    assert both.document["keys"][new["id"]] == {"public": new["public"], "state": "active", "signs_for": ["ana", "bob"]}
    retired = await cli("keys", "retire", "trusted.json", "--id", old["id"])
    assert f"{old['id']} verify_only signs for whomever it names" in retired.out
    removed = await cli("keys", "remove", "trusted.json", "--id", old["id"], "--json")
    assert list(removed.document["keys"]) == [new["id"]]
    assert (await cli("keys", "retire", "trusted.json", "--id", old["id"])).code == exits.BAD_INPUT
    assert (await cli("keys", "show", "new.pem", "--json")).document == new
    mixed = ["--public", old["public"], "--for", "ana", "--for", "reviewer:judge"]
    refused = await cli("keys", "trust", "trusted.json", *mixed)
    assert (refused.code, "people or for reviewers" in refused.line) == (exits.BAD_INPUT, True)


def test_what_cannot_be_done_with_keys(tmp_path: Path) -> None:
    """A key or a person that is missing, or a file that is none, is refused, and nothing is written."""
    key, ring = tmp_path / "key.pem", tmp_path / "trusted.json"
    signer = Signer.generate()
    signer.save(key)
    attempts: tuple[Callable[[], int], ...] = (
        lambda: keys.trust(ring, None, None, ["ana"], as_json=True),
        lambda: keys.trust(ring, key, signer.public, ["ana"], as_json=True),
        lambda: keys.trust(ring, key, None, [], as_json=True),
        lambda: keys.trust(ring, key, None, ["*", "ana"], as_json=True),
        lambda: keys.trust(ring, None, "AAAA", ["ana"], as_json=True),
        lambda: keys.end(ring, signer.kid, remove=True, as_json=True),
        lambda: keys.show(ring, as_json=True),
        lambda: keys.new(key, as_json=True),
        lambda: keys.new(tmp_path / "no" / "key.pem", as_json=True),
    )
    for refused in attempts:
        with pytest.raises((exits.InputError, DefinitionError)):
            refused()
    assert [each.name for each in tmp_path.iterdir()] == ["key.pem"]
