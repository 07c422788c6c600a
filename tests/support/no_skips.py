"""A pytest plugin for `.ci/run`: with HANDFAST_NO_SKIPS=1 a skipped or deselected test fails the run.

Tests that are expected to fail (`xfail`) do run, and are not counted. Where tests run in several processes, what a
process deselected is known to that process alone: it hands its list over when it ends.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Final

import pytest

VARIABLE: Final = "HANDFAST_NO_SKIPS"
HANDED_OVER: Final = "handfast_left_out"


class NoSkips:
    """Remembers what did not run, and turns a green result red when there was any."""

    def __init__(self) -> None:
        self._left_out: dict[str, None] = {}  # in order, once each: every process collects all of the tests

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a test that was skipped in its setup or its body."""
        if report.skipped and not hasattr(report, "wasxfail"):
            self._left_out[report.nodeid] = None

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Note a module that was skipped as a whole."""
        if report.skipped:
            self._left_out[report.nodeid] = None

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        """Note tests that an option left out."""
        self._left_out |= {item.nodeid: None for item in items}

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take over what one of several processes left out (a hook of pytest-xdist)."""
        handed_over = getattr(node, "workeroutput", {})  # none from a process that died; that is a failure anyway
        self._left_out |= dict.fromkeys(handed_over.get(HANDED_OVER, ()))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail the run, unless it failed already."""
        if (to_hand_over := getattr(session.config, "workeroutput", None)) is not None:
            to_hand_over[HANDED_OVER] = list(self._left_out)
            return
        if self._left_out and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Name them."""
        if self._left_out:
            terminalreporter.section(f"{VARIABLE}: {len(self._left_out)} not run", red=True)
            for nodeid in self._left_out:
                terminalreporter.line(nodeid)


def pytest_configure(config: pytest.Config) -> None:
    """Switch on where the variable is set."""
    if os.environ.get(VARIABLE) == "1":
        config.pluginmanager.register(NoSkips(), "handfast-no-skips")
