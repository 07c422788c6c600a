"""A pytest plugin for `.ci/run`: with HOLDFAST_NO_SKIPS=1 a skipped or deselected test fails the run.

Tests that are expected to fail (`xfail`) do run, and are not counted.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final

import pytest

VARIABLE: Final = "HOLDFAST_NO_SKIPS"


class NoSkips:
    """Remembers what did not run, and turns a green result red when there was any."""

    def __init__(self) -> None:
        self._left_out: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a test that was skipped in its setup or its body."""
        if report.skipped and not hasattr(report, "wasxfail"):
            self._left_out.append(report.nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Note a module that was skipped as a whole."""
        if report.skipped:
            self._left_out.append(report.nodeid)

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        """Note tests that an option left out."""
        self._left_out += [item.nodeid for item in items]

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail the run, unless it failed already."""
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
        config.pluginmanager.register(NoSkips(), "holdfast-no-skips")
