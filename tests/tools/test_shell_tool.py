"""The shell tool: one command line in a process group of its own, which never outlives its call."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from handfast import Agent, Match, Run, shell_tool
from handfast.errors import DefinitionError, RunCancelledError
from handfast.testing import Lab, Reply, call, text
from support.labs import MakeLab

DONE = Reply(text("done"))
SECOND = timedelta(seconds=1)
TREE = "sh -c 'sleep 600 & echo $$ $! > {fifo}; wait' & wait"
STUBBORN = "trap '' TERM; sh -c 'sleep 600 & echo $$ $! > {fifo}; wait' & wait"


def operator(**options: Any) -> Agent:
    """An agent that may run commands unasked."""
    return Agent("operator", model="m", tools=[shell_tool(**{"approval": False, **options})])


async def result_of(make_lab: MakeLab, command: str, **options: Any) -> dict[str, Any]:
    """What the model reads of one command."""
    lab = await make_lab([operator(**options)], script=[Reply(call("shell", {"command": command}, "c1")), DONE])
    run = await lab.start("operator")
    await run.result()
    read: dict[str, Any] = json.loads(lab.model.requests[1].tool_outputs["c1"])
    return read


class Processes:
    """Some processes, watched until each has ended."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._stack = ExitStack()
        self._ends: list[asyncio.Future[None]] = []
        loop = asyncio.get_running_loop()
        for pid in pids:
            ended = loop.create_future()
            descriptor = os.pidfd_open(pid)
            self._stack.callback(os.close, descriptor)
            loop.add_reader(descriptor, self._end, loop, descriptor, ended)
            self._ends.append(ended)

    @staticmethod
    def _end(loop: asyncio.AbstractEventLoop, descriptor: int, ended: asyncio.Future[None]) -> None:
        loop.remove_reader(descriptor)
        ended.set_result(None)

    @property
    def running(self) -> int:
        """How many have not ended."""
        return sum(not each.done() for each in self._ends)

    async def end(self) -> None:
        """Wait until all have ended."""
        await asyncio.wait_for(asyncio.gather(*self._ends), 20)
        self._stack.close()


async def begun(lab: Lab, tmp_path: Path) -> tuple[Run, Processes]:
    """Start a run whose command starts processes that start processes; return them while they run."""
    run = await lab.start("operator")
    pids = await asyncio.wait_for(asyncio.to_thread((tmp_path / "fifo").read_text), 20)
    processes = Processes([int(pid) for pid in pids.split()])
    assert processes.running == 2
    return run, processes


def scripted(tmp_path: Path, command: str) -> list[Reply]:
    """A model that runs *command*, which tells its processes through a pipe."""
    os.mkfifo(tmp_path / "fifo")
    return [Reply(call("shell", {"command": command.format(fifo=tmp_path / "fifo")}, "c1")), DONE]


async def test_a_command_runs_and_its_ending_is_read(make_lab: MakeLab, tmp_path: Path) -> None:
    """Exit code, both outputs, the working directory; there is nothing to read from standard input."""
    command = "pwd; cat; echo wrong >&2; exit 3"
    assert await result_of(make_lab, command, cwd=tmp_path) == {
        "exit_code": 3,
        "stdout": f"{tmp_path}\n",
        "stderr": "wrong\n",
        "truncated": False,
        "timed_out": False,
    }


async def test_a_command_sees_only_the_variables_that_were_allowed(
    make_lab: MakeLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker's keys are not among them, unless they are named."""
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    monkeypatch.setenv("REGION", "north")
    show = 'echo "$OPENAI_API_KEY-$REGION"'
    assert (await result_of(make_lab, show))["stdout"] == "-\n"
    assert (await result_of(make_lab, show, environment=["REGION"]))["stdout"] == "-north\n"
    assert (await result_of(make_lab, show, environment={"REGION": "south"}))["stdout"] == "-south\n"


async def test_without_a_shell_the_line_is_words_alone(make_lab: MakeLab) -> None:
    """Nothing in the line is acted upon: no substitution, no second command."""
    read = await result_of(make_lab, "echo 'a b' $(id); echo c", shell=False)
    assert read["stdout"] == "a b $(id); echo c\n"


async def test_a_flood_of_output_is_bounded(make_lab: MakeLab) -> None:
    """The start and the end are kept, and the command is not held up."""
    read = await result_of(make_lab, "echo first; yes x | head -c 30000000; echo last", max_output_bytes=1000)
    assert read["exit_code"] == 0
    assert read["truncated"]
    assert read["stdout"].startswith("first\nx\n")
    assert read["stdout"].endswith("x\nlast\n")
    assert "bytes left out" in read["stdout"]
    assert len(read["stdout"]) < 1100


async def test_output_that_is_no_text_is_given_as_far_as_it_is(make_lab: MakeLab) -> None:
    """Bytes that are no UTF-8 become replacement characters; characters are never cut where nothing is left out."""
    read = await result_of(make_lab, r"printf '\377ok'; printf 'äöüäöü' >&2", max_output_bytes=13)
    assert read["stdout"] == "\ufffdok"
    assert read["stderr"] == "äöüäöü"


async def test_a_command_that_takes_too_long_is_ended_and_says_so(make_lab: MakeLab, tmp_path: Path) -> None:
    """Its group ends with it, and the model reads what it had printed: this is no doubt."""
    replies = scripted(tmp_path, "echo begun; " + TREE)
    lab = await make_lab([operator(timeout=SECOND)], script=replies)
    run, processes = await begun(lab, tmp_path)
    await run.result()
    await processes.end()
    read = json.loads(lab.model.requests[1].tool_outputs["c1"])
    assert (read["timed_out"], read["exit_code"], read["stdout"]) == (True, None, "begun\n")


@pytest.mark.parametrize("command", [pytest.param(TREE, id="obedient"), pytest.param(STUBBORN, id="stubborn")])
async def test_a_cancel_ends_the_whole_group(make_lab: MakeLab, tmp_path: Path, command: str) -> None:
    """Grandchildren too, by SIGTERM, and those that ignore it by SIGKILL after the grace."""
    lab = await make_lab([operator(grace=SECOND)], script=scripted(tmp_path, command))
    run, processes = await begun(lab, tmp_path)
    await run.cancel("enough")
    with pytest.raises(RunCancelledError):
        await asyncio.wait_for(run.result(), 30)
    await processes.end()


async def test_a_worker_that_stops_leaves_nothing_behind(make_lab: MakeLab, tmp_path: Path) -> None:
    """The group ends with the worker's grace; the call is in doubt, as its effect is unknown."""
    lab = await make_lab([operator()], script=scripted(tmp_path, TREE))
    run, processes = await begun(lab, tmp_path)
    await lab.stop_worker()
    await processes.end()
    await lab.start_worker()
    await run.result()
    assert lab.model.requests[1].tool_outputs["c1"].startswith("The outcome of this call is unknown")


async def test_what_a_command_leaves_in_the_background_ends_with_it(make_lab: MakeLab, tmp_path: Path) -> None:
    """The call does not wait for it, though it holds the output open."""
    lab = await make_lab([operator()], script=scripted(tmp_path, "sleep 600 & echo $$ $! > {fifo}; cat {fifo}.go"))
    os.mkfifo(tmp_path / "fifo.go")
    run, processes = await begun(lab, tmp_path)
    await asyncio.to_thread((tmp_path / "fifo.go").write_text, "end")
    await asyncio.wait_for(run.result(), 20)
    await processes.end()
    assert json.loads(lab.model.requests[1].tool_outputs["c1"])["stdout"] == "end"


async def test_a_remembered_pattern_lets_like_commands_run(make_lab: MakeLab) -> None:
    """It is asked about by default; a yes for a pattern answers later commands that fit, and no compound one."""
    lines = ["echo one", "echo two", "echo three; id"]
    replies = [Reply(call("shell", {"command": line}, f"c{n}")) for n, line in enumerate(lines)]
    lab = await make_lab([Agent("operator", model="m", tools=[shell_tool()])], script=[*replies, DONE])
    run = await lab.start("operator")
    await run.approve(await lab.next_request(run), decided_by="lead", remember=Match(command="echo *"))
    request = await lab.next_request(run)
    while request.arguments == {"command": "echo one"}:
        request = await lab.next_request(run)
    assert request.arguments == {"command": "echo three; id"}
    await run.reject(request, decided_by="lead")
    await run.result()
    assert json.loads(lab.model.requests[2].tool_outputs["c1"])["stdout"] == "two\n"


@pytest.mark.parametrize(
    ("command", "options", "problem"),
    [
        pytest.param("echo 'a", {"shell": False}, "Error: ValueError", id="quotes"),
        pytest.param("", {"shell": False}, "there is no command", id="nothing"),
        pytest.param("nosuchcommand", {"shell": False}, "Error: FileNotFoundError", id="program"),
        pytest.param("true", {"cwd": "/nowhere"}, "Error: FileNotFoundError", id="directory"),
    ],
)
async def test_a_command_that_cannot_start_is_explained(
    make_lab: MakeLab, command: str, options: dict[str, Any], problem: str
) -> None:
    """The model reads why, and the run goes on."""
    lab = await make_lab([operator(**options)], script=[Reply(call("shell", {"command": command}, "c1")), DONE])
    run = await lab.start("operator")
    await run.result()
    assert problem in lab.model.requests[1].tool_outputs["c1"]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        pytest.param({"cwd": 7}, "cwd", id="cwd"),
        pytest.param({"timeout": timedelta(0)}, "timeout", id="timeout"),
        pytest.param({"grace": 5}, "grace", id="grace"),
        pytest.param({"grace": timedelta(seconds=46)}, "grace must be at most 45 seconds", id="long-grace"),
        pytest.param({"environment": "PATH"}, "environment", id="environment"),
        pytest.param({"environment": {"A": 1}}, "environment", id="environment-value"),
        pytest.param({"max_output_bytes": 0}, "max_output_bytes", id="output"),
        pytest.param({"max_output_bytes": True}, "max_output_bytes", id="output-bool"),
        pytest.param({"name": "a b"}, "the name", id="name"),
    ],
)
def test_a_shell_tool_that_cannot_work_is_refused(options: dict[str, Any], problem: str) -> None:
    """It is said where it is written."""
    with pytest.raises(DefinitionError, match=problem):
        shell_tool(**options)


READS = """
import asyncio, ctypes, os, sys
from handfast import shell_tool

async def main() -> None:
    options = eval(sys.argv[2])
    tool = shell_tool(**{"environment": ["PATH"], **options})
    result = await tool.function(sys.argv[1])
    getenv = ctypes.CDLL(None).getenv
    getenv.restype = ctypes.c_char_p
    assert os.environ["WORKERS_KEY"].encode() == getenv(b"WORKERS_KEY") == b"hush-hush"
    print(result.stdout, result.stderr)

asyncio.run(main())
"""


async def read_by_a_command(command: str, **options: Any) -> str:
    """What a command prints in a process of its own that has a secret in its environment."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", READS, command, repr(options)),
        env={"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path), "WORKERS_KEY": "hush-hush"},
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0
    return out.decode()


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")
async def test_a_command_cannot_read_the_workers_environment() -> None:
    """A command, of root too, finds nothing under /proc of the worker that holds its variables."""
    told = await read_by_a_command("tr '\\0' '\\n' < /proc/$PPID/environ; echo looked")
    assert "looked" in told
    assert "hush-hush" not in told
    assert "WORKERS_KEY" not in told


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may run commands as another user")
async def test_a_command_may_run_as_another_user() -> None:
    """`user=` runs commands with that user's rights, groups and home, which is a boundary of the system's own."""
    told = await read_by_a_command(
        "id -un; id -Gn; echo $HOME; cat /proc/$PPID/environ", user="nobody", environment=None
    )
    assert told.splitlines()[:3] == ["nobody", "nogroup", pwd.getpwnam("nobody").pw_dir]
    assert "Permission denied" in told
    assert (await read_by_a_command("id -u; id -G", user=54321)).split() == ["54321", "54321"]


@pytest.mark.parametrize("user", ["", True, -1, 1.5])
def test_a_user_is_a_name_or_a_number(user: Any) -> None:
    """A `user` that is none is refused where the tool is made."""
    with pytest.raises(DefinitionError, match="user must be the name or the number of a user"):
        shell_tool(user=user)
