"""The documentation is run: every Python block, every command line, every payload."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import AsyncIterator
from functools import cache
from pathlib import Path

import pytest
import pytest_asyncio
import typer

from handfast.cli.app import app
from handfast.client.client import Handfast
from handfast.client.run import Run
from handfast.errors import REFUSALS
from handfast.payloads import messages, requests, review, runs, sessions
from handfast.payloads.base import Payload
from handfast.server import EmbeddedServer, find_binary
from handfast.temporal.search_attributes import SEARCH_ATTRIBUTES
from handfast.workflows.loop import verdicts
from support.pages import PAGES, ROOT, TUTORIAL, Block, Reader, all_blocks, blocks


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def reader(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Reader]:
    """Somebody who types in what the pages show, on a server of their own."""
    async with await EmbeddedServer.start(persistent=False, port=0, ui=False) as own:
        reading = Reader(own, tmp_path_factory.mktemp("pages"))
        try:
            yield reading
        finally:
            await reading.close()


RUN = [block for path in PAGES if path != TUTORIAL for block in blocks(path) if block.is_run]


@pytest.mark.parametrize("block", RUN, ids=str)
async def test_python_in_the_documentation_runs(reader: Reader, block: Block) -> None:
    """What a page shows can be typed in as it stands, from the top of the page, and works."""
    await reader.run(block)


def test_rules_are_typed_as_the_documentation_types_them(tmp_path: Path) -> None:
    """Each program of the pages that has a function of a call's arguments passes `mypy --strict` as it stands."""
    blocks = all_blocks("python")
    assert not [str(block) for block in blocks if re.search(r"def \w+\(.*\barguments\)", block.source)], "untyped"
    programs = [block for block in blocks if block.file and "arguments: ToolArguments" in block.source]
    assert programs
    for number, block in enumerate(programs):
        folder = tmp_path / f"page_{number}"
        folder.mkdir()
        (folder / str(block.file)).write_text(block.source)
    options = ("--config-file", "", "--cache-dir", str(ROOT / ".mypy_cache"), "--explicit-package-bases")
    command = [sys.executable, "-m", "mypy", "--strict", *options, "."]
    checked = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def command_lines(program: str) -> list[object]:
    """Every line of the pages' bash blocks that calls *program*, continuation lines joined."""
    return [
        pytest.param(shlex.split(line, comments=True)[1:], id=f"{block}-{line[:40]}")
        for block in all_blocks("bash")
        for line in block.source.replace("\\\n", " ").split("\n")
        if line.startswith(f"{program} ")
    ]


@pytest.mark.parametrize("line", command_lines("handfast"))
def test_command_lines_of_ours_are_valid(line: list[str]) -> None:
    """Each `handfast` line names a command that exists, with options and values that it takes."""
    group = typer.main.get_command(app)
    with group.make_context("handfast", line, resilient_parsing=True):
        command = group.commands[line[0]]  # type: ignore[attr-defined] # typer's own subclass of click's group
        with command.make_context(line[0], line[1:]):
            pass


@cache
def temporal_help(*command: str) -> str:
    """What `temporal … --help` says."""
    binary = find_binary()
    assert binary is not None
    return subprocess.run([binary, *command, "--help"], check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("line", command_lines("temporal"))
def test_command_lines_of_temporal_are_valid(line: list[str]) -> None:
    """Each `temporal` line names a command of the stock binary, with options that it has."""
    words = 0
    while words < len(line) and not line[words].startswith("-"):
        words += 1
    command = line[:words]
    text = temporal_help(*command)
    assert f"temporal {' '.join(command)} [flags]" in text
    for option in [word for word in line if word.startswith("-")]:
        assert re.search(rf"(^|\s){re.escape(option.partition('=')[0])}[\s,]", text), option


@pytest.mark.parametrize("block", all_blocks("json"), ids=str)
def test_json_in_the_documentation_is_what_it_claims_to_be(block: Block) -> None:
    """Each JSON example is read by the model behind it, without a field that it does not know."""
    value = json.loads(block.source)
    if block.note is None:
        return
    assert block.note[0] == "payload"
    homes = (requests, runs, messages, sessions, review)
    kind = next(getattr(home, block.note[1]) for home in homes if hasattr(home, block.note[1]))
    assert issubclass(kind, Payload)
    for each in value if isinstance(value, list) else [value]:
        assert each.keys() <= kind.model_fields.keys()
        kind.from_wire(each)


def test_the_readme_is_a_page() -> None:
    """Whoever comes anew reads 120 lines at most, and finds every page of the documentation from there or its index."""
    page = (ROOT / "README.md").read_text()
    assert len(page.splitlines()) <= 120
    named = page + (ROOT / "docs/README.md").read_text()
    assert [each.name for each in PAGES if each.name != "README.md" and f"{each.name})" not in named] == []


def test_the_page_of_tools_quotes_what_the_model_reads() -> None:
    """The texts that the page gives are those that the model gets."""
    page = (ROOT / "docs/tools.md").read_text()
    for text in (requests.DEFAULT_REJECTION, verdicts.OUTCOME_UNKNOWN, verdicts.NOT_RUN, verdicts.CANCELLED):
        assert text in page


def test_the_page_of_runs_names_every_method_of_the_client() -> None:
    """No method of `Handfast` and `Run` is left out of the page."""
    page = (ROOT / "docs/runs.md").read_text()
    missing = [
        f"{kind.__name__}.{name}"
        for kind in (Handfast, Run)
        for name in dir(kind)
        if not name.startswith("_") and callable(getattr(kind, name)) and f"{name}(" not in page
    ]
    assert missing == []


def test_the_wire_page_names_what_travels() -> None:
    """Every refusal, search attribute and memo key stands on the page about the wire."""
    page = (ROOT / "docs/wire.md").read_text()
    names = [*REFUSALS, *SEARCH_ATTRIBUTES, requests.MEMO_REQUEST, requests.MEMO_LOG]
    assert [name for name in names if name not in page] == []
