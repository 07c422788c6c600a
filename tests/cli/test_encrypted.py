"""Every command works on encrypted runs, with the key file that the environment names."""

from __future__ import annotations

import json
import stat
from pathlib import Path

from cli.conftest import Cli
from holdfast import Keyring
from holdfast.cli import exits


async def test_a_key_ring_is_made_and_rotated(cli: Cli, tmp_path: Path) -> None:
    """`rekey` makes a file for its owner alone, adds keys for reading first, and shows no key."""
    file = tmp_path / "keys.json"
    made = await cli("rekey", str(file), "--id", "one")
    assert (made.code, made.out) == (exits.OK, f"{file}: one; one writes\n")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    later = await cli("rekey", str(file), "--id", "two", "--later", "--json")
    assert later.document == {"file": str(file), "keys": ["one", "two"], "current": "one"}
    used = await cli("rekey", str(file), "--use", "two")
    assert used.out == f"{file}: one, two; two writes\n"
    assert Keyring.from_file(file).current == "two"
    keys = json.loads(file.read_text())["keys"].values()
    assert not any(key in each.out + each.err for key in keys for each in (made, later, used))
    again = await cli("rekey", str(file), "--id", "two")
    assert again.code == exits.BAD_INPUT
    assert "must not be replaced" in again.line
    assert (await cli("rekey", str(file), "--use", "three")).code == exits.BAD_INPUT
