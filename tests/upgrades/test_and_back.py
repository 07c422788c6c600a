"""XG3: a release is rolled out, and back, under runs that wait."""

from __future__ import annotations

import importlib
import shutil
import sys
from pathlib import Path

import pytest

import handfast
from handfast.testing import Reply, call
from support.desk import DONE
from support.labs import MakeLab

OFFICE = '''
from pathlib import Path

import handfast
from handfast import Agent, tool

RELEASE = "the next release" if "next" in Path(handfast.__file__).parts else "this release"
EFFECTS = Path(__file__).parent / "effects"


@tool(approval=True)
async def wipe(target: str) -> str:
    """Delete a target."""
    with EFFECTS.open("a") as effects:
        effects.write(f"{target} by {RELEASE}\\n")
    return "wiped"


desk = Agent("desk", model="m", tools=[wipe])
'''
STEP = "        self._runs.marks.note_input()\n        for call in frame.calls:\n"
CHANGED = f'        if workflow.patched("next-release"):\n            await asyncio.sleep(1)\n{STEP}'


def next_release(folder: Path) -> Path:
    """A copy of the package with a further step in its workflows, kept from runs that began without it."""
    package = Path(handfast.__file__).parent
    shutil.copytree(package, folder / "handfast")
    driver = folder / "handfast" / "workflows" / "driver" / "driver.py"
    source = driver.read_text()
    assert source.count(STEP) == 1
    driver.write_text(source.replace(STEP, CHANGED))
    return folder


async def test_runs_that_wait_survive_a_release_and_its_rollback(
    make_lab: MakeLab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """XG3: a run begins under this release; the workers are replaced by those of the next one, and by this one again:
    each release executes what is approved under it, once, and the run finishes."""
    (tmp_path / "office_agents.py").write_text(OFFICE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "office_agents", raising=False)  # of this test in a process that has run it before
    office = importlib.import_module("office_agents")
    script = [*(Reply(call("wipe", {"target": each}, each)) for each in ("a", "b")), DONE]
    lab = await make_lab([office.desk], script=script, directory=tmp_path)
    run = await lab.start("desk")
    first = await lab.next_request(run)
    await lab.stop_worker()
    await lab.spawn_worker("office_agents", {"PYTHONPATH": str(next_release(tmp_path / "next"))})
    await run.approve(first, decided_by="lead")
    await lab.model.wait_for_request(2)
    second = await lab.next_request(run)
    assert second.arguments == {"target": "b"}
    await lab.stop_worker()
    await lab.start_worker()
    await run.approve(second, decided_by="lead")
    assert (await run.result()).output == "done"
    assert (tmp_path / "effects").read_text() == "a by the next release\nb by this release\n"
