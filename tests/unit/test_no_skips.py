"""With HANDFAST_NO_SKIPS=1 a run in which some test did not run is red, in one process and in several."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
SUITES = {
    "test_one.py": """
import pytest

def test_passes(): pass

@pytest.mark.skip(reason="not today")
def test_skipped(): pass

@pytest.mark.xfail(reason="known", strict=True)
def test_expected(): raise ValueError
""",
    "test_two.py": """
def test_passes_too(): pass
""",
    "test_three.py": """
import pytest

pytest.skip("nothing here", allow_module_level=True)
""",
}


def run_pytest(folder: Path, *arguments: str, value: str) -> subprocess.CompletedProcess[str]:
    """Run pytest on *folder* as a process of its own, with our plugin and without this run's settings."""
    inherited = {name: each for name, each in os.environ.items() if not name.startswith("PYTEST_")}
    line = [sys.executable, "-m", "pytest", "-p", "xdist", "-p", "support.no_skips", "-c", "/dev/null", *arguments]
    ours = {"HANDFAST_NO_SKIPS": value, "PYTHONPATH": str(TESTS), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run(
        [*line, "--rootdir", str(folder), str(folder)],
        cwd=folder,
        env={**inherited, **ours},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    """A folder with a skipped test, a skipped module, an expected failure and tests that pass."""
    for name, source in SUITES.items():
        (tmp_path / name).write_text(source)
    return tmp_path


@pytest.mark.parametrize("processes", ["0", "2"])
def test_what_did_not_run_is_named(suite: Path, processes: str) -> None:
    """Skipped tests, skipped modules and tests that an option left out turn a run red, named once each."""
    done = run_pytest(suite, "-n", processes, "-k", "not too", value="1")
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout
    _, heading, named = done.stdout.partition("HANDFAST_NO_SKIPS: 3 not run")
    assert heading, done.stdout
    for left_out in ("test_one.py::test_skipped", "test_two.py::test_passes_too", "test_three.py"):
        assert named.count(f"{left_out}\n") == 1
    assert "test_expected" not in named


@pytest.mark.parametrize("processes", ["0", "2"])
def test_a_whole_run_stays_green(suite: Path, processes: str) -> None:
    """Where everything ran the run is green, an expected failure included."""
    (suite / "test_three.py").unlink()
    (suite / "test_one.py").write_text(SUITES["test_one.py"].replace("@pytest.mark.skip", "@pytest.mark.xfail"))
    assert run_pytest(suite, "-n", processes, value="1").returncode == pytest.ExitCode.OK


def test_nobody_is_held_to_it_who_did_not_ask(suite: Path) -> None:
    """Without the variable a skipped test is just skipped."""
    assert run_pytest(suite, value="").returncode == pytest.ExitCode.OK
