"""`init`: an application that asks and acts at once, from nothing. These run against the built wheel as well."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path

import pytest

from handfast.cli import exits
from handfast.cli.init import TEMPLATES
from support.commands import DEADLINE_S, Cli, MakeCli, finish, said
from support.warm_commands import Process


@pytest.fixture
async def desk(make_cli: MakeCli) -> Cli:
    """A command line in a new application called desk."""
    cli = make_cli(None)
    made = await cli("init", "desk")
    assert (made.code, made.err) == (exits.OK, "")
    return cli.in_("desk")


async def waiting_id(dev: Process) -> str:
    """The beginning of the id that `dev` says to approve, once something waits."""
    await said(dev, "first-run waits for a person")
    return (await said(dev, "handfast approve")).split()[-1]


async def stop(dev: Process) -> None:
    """Press Ctrl-C, and see it leave in order."""
    dev.send_signal(signal.SIGINT)
    finished = await finish(dev)
    assert (finished.code, finished.err) == (exits.OK, "")


def refunds(cli: Cli) -> list[object]:
    """What took effect."""
    book = cli.directory / "refunds.jsonl"
    return [json.loads(line)["order"] for line in book.read_text().splitlines()] if book.exists() else []


async def test_a_new_application_shows_a_waiting_approval(desk: Cli) -> None:
    """After `init desk`, `dev` shows what waits and how to decide it; approved, it takes effect once."""
    dev = await desk.start("dev", "--port", "0")
    assert dev.stdout is not None
    first = (await dev.stdout.readline()).decode()
    assert first == "The model is a script (script.json), because OPENAI_API_KEY is not set; everything else is real.\n"
    request = await waiting_id(dev)
    [listed] = (await desk("approvals", "--json")).document
    assert (listed["run"], listed["request"]["tool"]) == ("first-run", "refund")
    assert listed["request"]["arguments"] == {"order": 7, "amount": 12.5}
    assert refunds(desk) == []
    assert (await desk("approve", request)).code == exits.OK
    assert "12.50 euros were refunded" in await said(dev, "first-run is done")
    assert refunds(desk) == [7]
    await stop(dev)


async def test_the_first_run_is_started_once(desk: Cli) -> None:
    """A later `dev` shows the same request again, and nothing of a first run that has ended."""
    dev = await desk.start("dev", "--port", "0")
    request = await waiting_id(dev)
    await stop(dev)
    dev = await desk.start("dev", "--port", "0")
    assert await waiting_id(dev) == request
    assert (await desk("reject", request, "--reason", "It was not broken.")).code == exits.OK
    assert "a person said no" in await said(dev, "first-run is done")
    await stop(dev)
    dev = await desk.start("dev", "--port", "0")
    await said(dev, "first-run has ended")
    assert [run["id"] for run in (await desk("runs", "--json")).document] == ["first-run"]
    assert (await desk("approvals", "--json")).document == []
    await stop(dev)
    assert refunds(desk) == []


async def test_its_own_tests_pass(desk: Cli) -> None:
    """The tests that come with it pass as they are."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "pytest", "-q", "-p", "no:cacheprovider"),
        cwd=desk.directory,
        env={name: value for name, value in desk.environment.items() if not name.startswith("PYTEST_")},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(DEADLINE_S):
        said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
    assert " passed" in said.decode()


async def test_programs_get_the_list_of_files(make_cli: MakeCli) -> None:
    """With --json it writes where the application is and every file of it, an empty folder being no obstacle."""
    cli = make_cli(None)
    (cli.directory / "my-desk").mkdir()
    made = await cli("init", "my-desk", "--json")
    assert made.code == exits.OK
    assert (made.document["application"], made.document["folder"]) == ("my-desk", str(cli.directory / "my-desk"))
    there = [path for path in (cli.directory / "my-desk").rglob("*") if path.is_file()]
    assert sorted(made.document["files"]) == sorted(path.relative_to(cli.directory).as_posix() for path in there)
    assert len(there) == len(TEMPLATES)
    assert {"my-desk/my_desk.py", "my-desk/tests/test_my_desk.py", "my-desk/.gitignore"} <= set(made.document["files"])


async def test_it_says_what_comes_next(make_cli: MakeCli) -> None:
    """People read how many files there are, and what to type."""
    made = await make_cli(None)("init", "shop")
    assert made.out.splitlines()[0] == f"shop: {len(TEMPLATES)} files written"
    assert "  cd shop\n  handfast dev\n" in made.out


@pytest.mark.parametrize(
    ("name", "words"),
    [
        pytest.param("Desk", "small letters", id="capital"),
        pytest.param("7up", "beginning with a letter", id="digit-first"),
        pytest.param("desk-", "ending", id="hyphen-last"),
        pytest.param("a/b", "small letters", id="path"),
        pytest.param("..", "small letters", id="parent"),
        pytest.param("", "small letters", id="empty"),
        pytest.param("d" * 41, "40", id="long"),
        pytest.param("dé", "small letters", id="other-letter"),
        pytest.param("desk\n", "small letters", id="line-break"),
        pytest.param("class", "Python's own", id="keyword"),
        pytest.param("json", "Python's own", id="standard-library"),
        pytest.param("worker", "a part of the application", id="own-part"),
        pytest.param("pydantic", "an installed package", id="installed"),
        pytest.param("handfast", "an installed package", id="handfast"),
    ],
)
async def test_a_bad_name_is_one_line(make_cli: MakeCli, name: str, words: str) -> None:
    """A name that gives no module, or one that would hide another, is refused and nothing is written."""
    cli = make_cli(None)
    before = sorted(cli.directory.iterdir())
    refused = await cli("init", name)
    assert (refused.code, refused.out) == (exits.BAD_INPUT, "")
    assert words in refused.line
    assert sorted(cli.directory.iterdir()) == before


def a_full_folder(path: Path) -> None:
    """Make a folder with a file in it."""
    path.mkdir()
    (path / "notes.txt").write_text("mine")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        pytest.param(a_full_folder, "exists already and is not empty", id="folder"),
        pytest.param(lambda path: path.write_text("mine"), "exists already and is not empty", id="file"),
        pytest.param(lambda path: path.symlink_to("nowhere"), "cannot be written", id="dead-link"),
    ],
)
async def test_what_is_there_is_left_alone(make_cli: MakeCli, make: object, words: str) -> None:
    """A folder with anything in it, and a file, are refused in one line and stay as they are."""
    cli = make_cli(None)
    assert callable(make)
    make(cli.directory / "desk")
    before = sorted(cli.directory.rglob("*"))
    refused = await cli("init", "desk", "--json")
    assert refused.code == exits.BAD_INPUT
    assert refused.document["error"]["exit"] == exits.BAD_INPUT
    assert words in refused.line
    assert sorted(cli.directory.rglob("*")) == before
