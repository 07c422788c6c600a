"""Builds the wheel, looks into it, and runs tests against it in an environment where the source tree is not.

Usage: check_wheel.py TEST_PATH...   (paths as pytest takes them, below tests/)
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import venv
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
CONSTRAINTS: Final = ROOT / "constraints.txt"
TEST_TOOLS: Final = ("pytest", "pytest-asyncio", "pytest-timeout", "pytest-xdist", "hypothesis", "psutil")


def build(into: Path) -> Path:
    """Build the wheel with the pinned backend of this environment."""
    run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(into), str(ROOT)],
        quiet=True,
    )
    (wheel,) = into.glob("*.whl")
    return wheel


def check_contents(wheel: Path) -> None:
    """Refuse a wheel with any top-level name but ours, or without marker for type checkers and templates."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    metadata = f"{'-'.join(wheel.name.split('-')[:2])}.dist-info"
    strangers = {name.split("/")[0] for name in names} - {"handfast", metadata}
    if strangers:
        sys.exit(f"{wheel.name} holds more than the library: {', '.join(sorted(strangers))}")
    source = ROOT / "src"
    templates = (path for path in (source / "handfast/cli/template").rglob("*") if path.is_file())
    wanted = {"handfast/py.typed", *(path.relative_to(source).as_posix() for path in templates)}
    if missing := wanted - set(names):
        sys.exit(f"{wheel.name} lacks {', '.join(sorted(missing))}")


def install(wheel: Path, environment: Path) -> Path:
    """Install the wheel and the test tools into a fresh environment; return its Python."""
    venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    wanted = [f"handfast[server,cli,artifacts,signing] @ {wheel.as_uri()}", *TEST_TOOLS]
    constraints = ["--constraint", str(CONSTRAINTS)]
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if uv is not None and os.environ.get("HANDFAST_PIP") != "1":
        line = [uv, "pip", "install", "--quiet", "--python", str(python), *constraints, *wanted]
        if subprocess.run(line, check=False, capture_output=True).returncode == 0:
            return python
    run([str(python), "-m", "pip", "--disable-pip-version-check", "install", "-q", *constraints, *wanted])
    return python


def run_tests(python: Path, workplace: Path, paths: Sequence[str]) -> None:
    """Run *paths* from a copy of the tests; the repository is on no import path there."""
    shutil.copytree(ROOT / "tests", workplace / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", workplace)  # pytest's settings
    where = [str(python), "-c", "import handfast; print(handfast.__file__)"]
    origin = subprocess.run(where, cwd=workplace, env=clean_environment(), check=True, capture_output=True, text=True)
    if ROOT / "src" in Path(origin.stdout.strip()).parents:
        sys.exit(f"the tests would see the source tree: {origin.stdout.strip()}")
    run([str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", *paths], cwd=workplace)


def run(line: Sequence[str], *, cwd: Path | None = None, quiet: bool = False) -> None:
    """Run a command; show its output only if it fails when *quiet*; end with its code if it fails."""
    done = subprocess.run(
        line,
        cwd=cwd,
        env=clean_environment(),
        check=False,
        stdout=subprocess.PIPE if quiet else None,
        stderr=subprocess.STDOUT if quiet else None,
    )
    if done.returncode != 0:
        if done.stdout:
            sys.stderr.buffer.write(done.stdout)
        sys.exit(done.returncode)


def clean_environment() -> dict[str, str]:
    """This process's environment without what would lead Python to other code."""
    return {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}


def main(paths: Sequence[str]) -> None:
    """Build, look, install, test."""
    if not paths:
        sys.exit("usage: check_wheel.py TEST_PATH...")
    with tempfile.TemporaryDirectory(prefix="handfast-wheel-") as folder:
        scratch = Path(folder)
        wheel = build(scratch / "dist")
        check_contents(wheel)
        workplace = scratch / "work"
        workplace.mkdir()
        run_tests(install(wheel, scratch / "venv"), workplace, paths)


if __name__ == "__main__":
    main(sys.argv[1:])
