"""What pytest finds where Handfast is installed: labs on one server for all tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from handfast import Agent
from handfast.testing import Reply, Usage, text
from support.labs import MakeLab

OF_A_USER = '''
import pytest
from handfast import Agent, tool
from handfast.testing import Reply, Usage, call, text


@tool(approval=True)
def refund(order: int) -> str:
    """Pay an order back."""
    return f"refunded {order}"


DESK = Agent("desk", model="m", tools=[refund])
addresses = []


@pytest.mark.parametrize("order", [7, 8])
async def test_a_refund_waits(lab, order):
    script = [Reply(call("refund", {"order": order})), Reply(text("done"), usage=Usage(5, 2))]
    async with lab([DESK], script=script) as desk_lab:
        run = await desk_lab.start("desk", "Refund it")
        request = await desk_lab.next_request(run)
        assert request.arguments == {"order": order}
        await run.approve(request, decided_by="lead")
        assert (await run.result()).usage.output_tokens >= 2
        addresses.append(desk_lab.client.service_client.config.target_host)


async def test_a_conversation(lab):
    async with lab([DESK], script=[Reply(text("hello"))]) as desk_lab:
        assert await (await desk_lab.session("desk").send("hi")).output() == "hello"
        desk_lab.session("desk")  # nobody says anything in it


def test_all_labs_share_a_server(handfast_server):
    assert addresses == [handfast_server.address] * 2
'''


def pytest_in(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the tests of a folder as a user does."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize("scope", ["function", "session"])
def test_tests_find_a_lab(tmp_path: Path, scope: str) -> None:
    """The fixture `lab` is there without an import, for tests with an event loop each and for tests that share one."""
    (tmp_path / "test_refunds.py").write_text(OF_A_USER)
    loops = ("-o", "asyncio_mode=auto", "-o", f"asyncio_default_test_loop_scope={scope}")
    done = pytest_in(tmp_path, *loops, "-o", f"asyncio_default_fixture_loop_scope={scope}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 passed" in done.stdout


def test_other_projects_notice_nothing(tmp_path: Path) -> None:
    """A project whose tests use no lab loads neither Temporal nor the client of a model for it."""
    (tmp_path / "test_plain.py").write_text(
        "import sys\n\n\ndef test_nothing_is_loaded():\n"
        "    assert not {'temporalio', 'openai', 'pydantic'} & set(sys.modules)\n"
    )
    done = pytest_in(tmp_path, "-o", "asyncio_default_fixture_loop_scope=function")
    assert done.returncode == 0, done.stdout + done.stderr


async def test_a_lab_names_conversations(make_lab: MakeLab) -> None:
    """A lab names sessions as it starts runs, and replays those to which something was said."""
    agent = Agent("desk", model="m")
    lab = await make_lab([agent], script=[Reply(text("one"), usage=Usage(5, 2))])
    session = lab.session(agent, labels={"team": "north"})
    assert (await (await session.send("hi")).result()).usage.total_tokens == 7
    assert lab.session("desk", "never-begun").id == "never-begun"
