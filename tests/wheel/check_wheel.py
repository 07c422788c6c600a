"""Builds the wheel, looks into it and at its package page, and runs tests against it where the source tree is not.

The environment of those tests also holds a package by Handfast's former name, which on the index is somebody else's.

Usage: check_wheel.py TEST_PATH...   (paths as pytest takes them, below tests/)
"""

from __future__ import annotations

import base64
import email
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import venv
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from trove_classifiers import classifiers

ROOT: Final = Path(__file__).resolve().parents[2]
CONSTRAINTS: Final = ROOT / "constraints.txt"
TEST_TOOLS: Final = ("pytest", "pytest-asyncio", "pytest-timeout", "pytest-xdist", "hypothesis", "psutil", "anthropic")
STRANGER: Final = "handfast".replace("and", "old")  # the name itself stands in the changelog alone

LINK: Final = re.compile(r'\]\(\s*([^)\s]+)|^\[[^\]]+\]:\s*(\S+)|(?:href|src)="([^"]*)"', re.MULTILINE)
PROJECT_URLS: Final = {"Documentation", "Source", "Issues", "Changelog"}


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


def check_page(wheel: Path) -> None:
    """Refuse a package page with a link that leads nowhere there, an unknown classifier, or without its addresses."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = email.message_from_bytes(archive.read(name))
    urls = dict(line.split(", ", 1) for line in metadata.get_all("Project-URL", []))
    if missing := PROJECT_URLS - set(urls):
        sys.exit(f"the package page lacks the address of: {', '.join(sorted(missing))}")
    if unknown := set(metadata.get_all("Classifier", [])) - set(classifiers):
        sys.exit(f"no such classifier: {', '.join(sorted(unknown))}")
    if metadata["Description-Content-Type"] != "text/markdown":
        sys.exit(f"the package page is shown as {metadata['Description-Content-Type']}")
    page = metadata.get_payload(decode=True)
    assert isinstance(page, bytes)
    targets = [*urls.values(), *("".join(found.groups("")) for found in LINK.finditer(page.decode()))]
    if dead := sorted({target for target in targets if not _leads_somewhere(target, urls["Source"])}):
        sys.exit(f"links of the package page that lead nowhere: {', '.join(dead)}")


def _leads_somewhere(target: str, source: str) -> bool:
    """Say whether a link works on a page that has no files beside it; one into the source has to name a file of it."""
    within = re.match(rf"{re.escape(source)}/(?:blob|raw|tree)/main/([^#]+)", target)
    if within is not None:
        return (ROOT / within[1]).exists()
    return target.startswith(("https://", "http://", "mailto:", "#"))


def build_stranger(into: Path) -> Path:
    """Build a wheel with the former name, and a module and a command of that name."""
    files = {
        f"{STRANGER}/__init__.py": "def main() -> None:\n    print('a stranger')\n",
        f"{STRANGER}-9.9.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {STRANGER}\nVersion: 9.9\n",
        f"{STRANGER}-9.9.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{STRANGER}-9.9.dist-info/entry_points.txt": f"[console_scripts]\n{STRANGER} = {STRANGER}:main\n",
    }
    record = f"{STRANGER}-9.9.dist-info/RECORD"
    lines = [f"{name},sha256={_digest(text)},{len(text)}" for name, text in files.items()]
    wheel = into / f"{STRANGER}-9.9-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in {**files, record: "\n".join([*lines, f"{record},,"])}.items():
            archive.writestr(name, text)
    return wheel


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


def check_neighbours(python: Path, workplace: Path) -> None:
    """Import both packages, and run both commands."""
    run([str(python), "-c", f"import handfast, {STRANGER}; handfast.Agent; {STRANGER}.main"], cwd=workplace)
    for command in ("handfast", STRANGER):
        run([str(python.with_name(command)), "--help"], cwd=workplace, quiet=True)


def install(wheels: Sequence[Path], environment: Path) -> Path:
    """Install the wheels and the test tools into a fresh environment; return its Python."""
    wheel, *others = wheels
    python = environment / "bin" / "python"
    wanted = [f"handfast[server,cli,artifacts,signing,any-llm] @ {wheel.as_uri()}", *map(str, others), *TEST_TOOLS]
    constraints = ["--constraint", str(CONSTRAINTS)]
    uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if uv is not None and os.environ.get("HANDFAST_PIP") != "1":
        venv.create(environment)
        line = [uv, "pip", "install", "--quiet", "--python", str(python), *constraints, *wanted]
        if subprocess.run(line, check=False, capture_output=True).returncode == 0:
            return python
    venv.create(environment, with_pip=True, clear=True)
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
    """Build, look, install beside a stranger, test."""
    if not paths:
        sys.exit("usage: check_wheel.py TEST_PATH...")
    with tempfile.TemporaryDirectory(prefix="handfast-wheel-") as folder:
        scratch = Path(folder)
        wheel = build(scratch / "dist")
        check_contents(wheel)
        check_page(wheel)
        workplace = scratch / "work"
        workplace.mkdir()
        python = install([wheel, build_stranger(scratch)], scratch / "venv")
        check_neighbours(python, workplace)
        run_tests(python, workplace, paths)


if __name__ == "__main__":
    main(sys.argv[1:])
