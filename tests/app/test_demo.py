"""`make demo` and `make demo-crash`, as processes: what they print can be checked, and nothing of them stays."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import select
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from demonstration.model import scripted
from demonstration.person import read_answer
from handfast.testing import Fail, ResponsesServer
from support.desk_process import WAIT_S, clean_environment, demo, demo_command, left_behind

REJECTION = "winsxs_cache is needed to uninstall updates; leave it alone."
ROW = re.compile(r"^  run_cleanup\(older_than_days=0, target=\"(\w+)\"\) +(\w+) +files (\d+ -> \d+) +(.*)$", re.M)
REFUND = re.compile(r"^  refund\(amount=180\.0, order=4711\) +(\w+) +([\d.]+) paid back +(.*)$", re.M)
EXCLUDED = "refused (exclude_requester)"
SPARED = "home may hold people's own files."
HOME = ("home", "never", "0 -> 0", f'rejected by reviewer:caretaker: "{SPARED}"')
"""What the reviewer rejects; nobody is asked."""
DONE = "Every approved call took effect exactly once, every rejected one never."
STORY = [
    "triage asks: Which order never came?",
    "prepared answer: It is order 4711.",
    "triage has handed the ticket over: it_support goes on.",
    "prepared answer: yes, with older_than_days=7",
    'reviewer:caretaker leaves run_cleanup(older_than_days=0, target="winsxs_cache") to people: ',
    f"prepared answer: no: {REJECTION}",
    'it_support wants to run run_cleanup(older_than_days=0, target="home")',
    f"reviewer:caretaker says reject: {SPARED}",
    "it_support has handed the ticket over: billing goes on.",
    "billing has asked the auditor, an agent of its own, which used ",
    "billing wants to run refund(amount=180.0, order=4711)",
    "It pays back more than 100 euros.",
    "Refused by a rule: ana asked for this call or changed its arguments, and ",
    "lee, who is of finance, is asked instead.",
    "The answer, by billing",
    'auditor(4711, 180.0): {"sound": true',
    f"Left open: run_cleanup(winsxs_cache, 0): {REJECTION}",
    "Checked again after the work: temp_files holds 4 files",
    'answered by ana: "It is order 4711."',
]
"""What the demo says, in this order."""


def test_the_demo_runs_what_was_approved_and_nothing_else(tmp_path: Path) -> None:
    """Without a terminal: a cleanup with a change, one rejected, a refund by a second person; the counts say so."""
    done = demo(tmp_path)
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines()[0].startswith("The model is a script, because OPENAI_API_KEY is not set")
    assert ROW.findall(done.stdout) == [
        ("temp_files", "once", "12 -> 4", "approved by ana with older_than_days=7"),
        ("winsxs_cache", "never", "8 -> 8", f'rejected by ana: "{REJECTION}"'),
        HOME,
    ]
    assert REFUND.findall(done.stdout) == [("once", "180.00", f"ana {EXCLUDED}; approved by lee")]
    assert re.search(r"^  run_diagnostic +two calls +none needed$", done.stdout, re.M)
    assert re.search(
        r"^  Temporal  http://127\.0\.0\.1:\d+/namespaces/default/workflows/ticket-\w{8} ", done.stdout, re.M
    )
    assert DONE in done.stdout
    assert "Traceback" not in done.stdout
    assert left_behind(tmp_path) == []
    at = 0
    for line in STORY:
        assert line in done.stdout[at:], f"{line!r} does not follow:\n{done.stdout}"
        at = done.stdout.index(line, at)


def test_two_kills_change_no_count(tmp_path: Path) -> None:
    """The worker dies while requests wait and again inside the approved tool; each effect still happens once."""
    done = demo(tmp_path, "--crash")
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("kill -9 ") == 2
    assert "With no worker alive the server still lists 2 open requests." in done.stdout
    assert "effects.log has 1 line(s) of this call, 4 files are left" in done.stdout
    assert ROW.findall(done.stdout) == [
        ("temp_files", "once", "12 -> 4", 'approved by ana with older_than_days=7; in doubt: "it ran"'),
        ("winsxs_cache", "never", "8 -> 8", f'rejected by ana: "{REJECTION}"'),
        HOME,
    ]
    assert REFUND.findall(done.stdout) == [("once", "180.00", f"ana {EXCLUDED}; approved by lee")]
    assert DONE in done.stdout
    assert "Traceback" not in done.stdout
    assert left_behind(tmp_path) == []


def test_a_refund_whose_worker_dies_after_it_paid_is_paid_once(tmp_path: Path) -> None:
    """With the cleanups rejected the second kill hits the refund: tried again by itself, it is in the ledger once."""
    done = demo(tmp_path, "--crash", "--answers", "no", "no", "yes")
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("kill -9 ") == 2
    assert "In doubt" not in done.stdout
    assert REFUND.findall(done.stdout) == [("once", "180.00", f"ana {EXCLUDED}; approved by lee")]
    assert DONE in done.stdout


def test_who_changes_the_amount_does_not_approve_it(tmp_path: Path) -> None:
    """A changed refund is asked about again, and takes a third person; what is paid is the changed amount."""
    done = demo(tmp_path, "--answers", "no", "no", 'edit: {"amount": 150}', "yes")
    assert done.returncode == 0, done.stdout
    assert "lee may not approve what lee changed: it is asked about again." in done.stdout
    decision = f"ana {EXCLUDED}; changed by lee with amount=150; ana {EXCLUDED}; lee {EXCLUDED}; approved by kim"
    assert REFUND.findall(done.stdout) == [("once", "150.00", decision)]


def test_answers_come_from_the_flag_and_a_busy_port_is_no_obstacle(tmp_path: Path) -> None:
    """Prepared answers are used in order, questions apart from approvals; a taken port is said and another one used."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        answers = ["no: not on a Friday", "yes", "say: I have no idea"]
        done = demo(tmp_path, "--port", str(port), "--answers", *answers)
    assert done.returncode == 0, done.stdout
    assert f"Port {port} belongs to another program" in done.stdout
    assert ROW.findall(done.stdout) == [
        ("temp_files", "never", "12 -> 12", 'rejected by ana: "not on a Friday"'),
        ("winsxs_cache", "once", "8 -> 0", "approved by ana"),
        HOME,
    ]
    assert "Left open: The refund: it is not known for which order." in done.stdout
    assert REFUND.findall(done.stdout) == []


@pytest.mark.parametrize("change", ["edit:", "edit: 7", "edit: {}", "edit: {'older_than_days': 7}", "yes: but", "say:"])
def test_an_answer_with_something_amiss_is_refused(change: str) -> None:
    """A change takes a JSON object with at least one argument, a yes nothing more, and what is said is not empty."""
    with pytest.raises(ValueError, match=r"is no answer|is not JSON|names no argument"):
        read_answer(change)


def test_an_answer_that_is_none_is_refused_before_anything_starts(tmp_path: Path) -> None:
    """A mistyped answer ends the demo with the words that it takes; no server and no workspace are made."""
    done = demo(tmp_path, "--answers", "perhaps")
    assert done.returncode == 2
    assert "'perhaps' is no answer; write yes, no, 'no: a reason', " in done.stdout
    assert list(tmp_path.iterdir()) == []


async def test_with_a_key_the_same_demo_asks_a_real_model(tmp_path: Path) -> None:
    """With OPENAI_API_KEY set, the demo asks the model that --model names at the API's address."""
    async with ResponsesServer(scripted()) as api:
        done = await asyncio.to_thread(
            demo, tmp_path, "--model", "some-model", OPENAI_API_KEY="key", OPENAI_BASE_URL=api.base_url
        )
        assert done.returncode == 0, done.stdout
        assert done.stdout.splitlines()[0] == f"The model is some-model at {api.base_url}."
        assert {request.model for request in api.requests} == {"some-model"}
        assert {request.headers["authorization"] for request in api.requests} == {"Bearer key"}


async def test_a_refused_key_is_one_line(tmp_path: Path) -> None:
    """A key that the API refuses ends the demo with one line and exit code 1, and everything is put away."""
    async with ResponsesServer([Fail(401, message="Incorrect API key provided")]) as api:
        done = await asyncio.to_thread(demo, tmp_path, OPENAI_API_KEY="wrong", OPENAI_BASE_URL=api.base_url)
    assert done.returncode == 1
    last = done.stdout.splitlines()[-1]
    assert last.startswith("error: the ticket failed: ")
    assert "Incorrect API key provided" in last
    assert "Traceback" not in done.stdout
    assert left_behind(tmp_path) == []


class Terminal:
    """A person's terminal with the demo in it."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        self._master, slave = pty.openpty()
        self._screen = ""
        self._read = 0
        self.process = subprocess.Popen(
            demo_command(directory, *arguments), env=clean_environment(), stdin=slave, stdout=slave, stderr=slave
        )
        os.close(slave)

    def wait_for(self, text: str) -> str:
        """Wait until *text* is shown after what was waited for before; return what came with it."""
        while (found := self._screen.find(text, self._read)) < 0:
            assert select.select([self._master], [], [], WAIT_S)[0], f"{text!r} never came:\n{self._screen}"
            try:
                self._screen += os.read(self._master, 65536).decode(errors="replace").replace("\r\n", "\n")
            except OSError:  # the other side is closed
                raise AssertionError(f"the demo ended without {text!r}:\n{self._screen}") from None
        shown = self._screen[self._read : found + len(text)]
        self._read = found + len(text)
        return shown

    def type(self, text: str) -> None:
        """Type a line."""
        os.write(self._master, text.encode() + b"\n")

    def close(self) -> None:
        """Make sure that nothing stays."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(WAIT_S)
        os.close(self._master)


ASKED = "Let it run? [y/n/e] "


def test_a_terminal_is_asked_with_tool_and_arguments(tmp_path: Path) -> None:
    """In a terminal each request is shown with its arguments and answered y, n or e; a no asks why, an e for what."""
    terminal = Terminal(tmp_path)
    try:
        terminal.wait_for("triage asks: Which order never came?")
        terminal.wait_for('Your answer (Enter for "It is order 4711."): ')
        terminal.type("")
        terminal.wait_for('it_support wants to run run_cleanup(older_than_days=0, target="temp_files")')
        terminal.wait_for(ASKED)
        terminal.type("what?")
        terminal.wait_for(ASKED)
        terminal.type("n")
        terminal.wait_for("Why not?")
        terminal.type("I need those")
        terminal.wait_for('it_support wants to run run_cleanup(older_than_days=0, target="winsxs_cache")')
        terminal.wait_for(ASKED)
        terminal.type("e")
        terminal.wait_for("What is to be changed, as JSON?")
        terminal.type("seven days")
        terminal.wait_for("'seven days' is not JSON")
        terminal.type('{"older_than_days": -1}')
        terminal.wait_for("Refused: invalid arguments for run_cleanup: older_than_days")
        terminal.wait_for(ASKED)
        terminal.type("e")
        terminal.wait_for("What is to be changed, as JSON?")
        terminal.type('{"older_than_days": 7}')
        terminal.wait_for("billing wants to run refund(amount=180.0, order=4711)")
        terminal.wait_for(ASKED)
        terminal.type("y")
        terminal.wait_for("Refused by a rule: tester asked for this call")
        terminal.wait_for("As lee: let it run? [y/n/e]")
        terminal.type("n")
        terminal.wait_for("Why not?")
        terminal.type("it was delivered")
        shown = terminal.wait_for("Press Enter to stop the server")
        assert ROW.findall(shown) == [
            ("temp_files", "never", "12 -> 12", 'rejected by tester: "I need those"'),
            ("winsxs_cache", "once", "8 -> 0", "approved by tester with older_than_days=7"),
            HOME,
        ]
        assert REFUND.findall(shown) == [("never", "0.00", f'tester {EXCLUDED}; rejected by lee: "it was delivered"')]
        terminal.type("")
        assert terminal.process.wait(WAIT_S) == 0
    finally:
        terminal.close()
    assert left_behind(tmp_path) == []


def test_a_terminal_is_asked_what_became_of_an_interrupted_call(tmp_path: Path) -> None:
    """A worker killed before the effect: the person sees the untouched folder, says no, and the call runs, once."""
    terminal = Terminal(tmp_path, "--crash", "--crash-at", "before")
    try:
        terminal.wait_for("Your answer")
        terminal.type("I do not know")
        terminal.wait_for(ASKED)
        terminal.type("y")
        terminal.wait_for(ASKED)
        terminal.type("n")
        terminal.wait_for("Why not?")
        terminal.type("")
        terminal.wait_for("effects.log has 0 line(s) of this call, 12 files are left")
        terminal.wait_for("Did it take effect? [y/N]")
        terminal.type("")
        shown = terminal.wait_for("Press Enter to stop the server")
        assert ROW.findall(shown) == [
            ("temp_files", "once", "12 -> 0", 'approved by tester; in doubt: "run it again"'),
            ("winsxs_cache", "never", "8 -> 8", "rejected by tester, no reason given"),
            HOME,
        ]
        terminal.type("")
        assert terminal.process.wait(WAIT_S) == 0
    finally:
        terminal.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
def test_leaving_in_the_middle_leaves_nothing_running(tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C or SIGTERM at a question ends worker, ticket and server, without a traceback."""
    terminal = Terminal(tmp_path)
    try:
        terminal.wait_for("Your answer")
        terminal.process.send_signal(number)
        shown = terminal.wait_for("Stopped: the worker and the ticket have been ended.")
        assert "Traceback" not in shown
        assert terminal.process.wait(WAIT_S) == 130
    finally:
        terminal.close()
    assert left_behind(tmp_path) == []
