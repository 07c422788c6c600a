"""Taking runs out, and erasing them, from the command line."""

from __future__ import annotations

import json
import os
from pathlib import Path

from handfast.cli import exits
from support.command_desk import DESK, DONE
from support.commands import Cli
from support.labs import MakeLab


async def test_a_run_is_exported_then_erased(make_lab: MakeLab, cli: Cli, tmp_path: Path) -> None:
    """`export` writes a file of JSON lines, whole or not at all; `erase` wants a yes, and finds nothing again."""
    lab = await make_lab([DESK], script=[DONE], archive=tmp_path / "archive")
    run = await lab.hf.start("desk", "hello")
    await run.result()
    place = ("--archive", str(tmp_path / "archive"))
    file = tmp_path / "run.jsonl"
    written = await cli("export", run.id, *place, "-o", str(file))
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert written.out == f"{run.id}: {len(lines)} lines written to {file}\n"
    assert [lines[0]["kind"], lines[-1]["kind"]] == ["run", "item"]
    unasked = await cli("erase", run.id, *place)
    assert (unasked.code, "--yes" in unasked.err) == (exits.BAD_INPUT, True)
    erased = await cli("erase", run.id, *place, "--yes", "--json")
    assert erased.code == exits.OK
    assert len(json.loads(erased.out)["histories"]) == 1
    again = await cli("erase", run.id, "--yes")
    assert again.out == f"{run.id}: nothing of it is left\n"
    assert "--archive" in again.err
    gone = await cli("export", run.id, *place, "-o", str(tmp_path / "gone.jsonl"))
    assert gone.code == exits.NOT_FOUND
    assert [name for name in os.listdir(tmp_path) if name.endswith(".jsonl") or name.startswith(".")] == ["run.jsonl"]
