"""Compiles and runs TypeScript against the packages of Temporal's own SDK for it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

from support.pages import ROOT

PACKAGES: Final = {"@temporalio/client": "1.24.0", "@types/node": "20.19.0", "typescript": "5.9.3"}
KEPT: Final = ROOT / ".venv" / "typescript"
INSTALL_S: Final = 240
RUN_S: Final = 90


def installed() -> Path:
    """A folder with the packages: installed once, and kept with the virtual environment.

    Where there is no npm, or it cannot install, the test that asks is skipped.
    """
    stamp = KEPT / "installed.json"
    if stamp.exists() and json.loads(stamp.read_text()) == PACKAGES:
        return KEPT
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("no node and npm here: what the page shows in TypeScript is not run")
    shutil.rmtree(KEPT, ignore_errors=True)
    KEPT.mkdir(parents=True)
    (KEPT / "package.json").write_text(json.dumps({"private": True, "type": "module", "dependencies": PACKAGES}))
    ran = subprocess.run(
        [npm, "install", "--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error"],
        cwd=KEPT,
        capture_output=True,
        text=True,
        timeout=INSTALL_S,
        check=False,
    )
    if ran.returncode != 0:
        pytest.skip(f"npm cannot install {', '.join(PACKAGES)}: {ran.stderr[-500:]}")
    stamp.write_text(json.dumps(PACKAGES))
    return KEPT


def run_typescript(name: str, source: str, environment: Mapping[str, str]) -> str:
    """Check *source* strictly, run it, and return what it prints."""
    home = installed()
    (home / name).write_text(source)
    options = ["--strict", "--target", "es2022", "--module", "nodenext", "--types", "node", "--skipLibCheck"]
    _run([str(home / "node_modules/.bin/tsc"), *options, name], home, {})
    return _run(["node", str(Path(name).with_suffix(".js"))], home, environment)


def _run(command: list[str], folder: Path, environment: Mapping[str, str]) -> str:
    ran = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=RUN_S,
        check=False,
    )
    assert ran.returncode == 0, f"{' '.join(command)}\n{ran.stdout}\n{ran.stderr}"
    return ran.stdout
