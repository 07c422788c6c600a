"""The workflow `ServiceDesk`: agents composed into a process of the user's own, in Temporal's default sandbox."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from temporalio import workflow
from temporalio.client import WorkflowHandle

from activities.workspace import Workspace
from conftest import MakeLab
from demonstration.evidence import effects, prepare
from demonstration.model import TICKET, scripted
from desk import agents
from holdfast import Agent, Run
from holdfast.testing import Lab
from workflows import service_desk
from workflows.service_desk import Resolution, ServiceDesk, Ticket

Handle = WorkflowHandle[ServiceDesk, Resolution]


async def open_lab(make_lab: MakeLab, root: Path, cache: int = 1000) -> Lab:
    """A lab that serves the whole desk on a workspace with files."""
    workspace = prepare(root)

    @asynccontextmanager
    async def resources() -> AsyncIterator[object]:
        yield workspace

    return await make_lab(
        agents, script=scripted(), workflows=[ServiceDesk], resources=resources, max_cached_workflows=cache
    )


async def start(lab: Lab, follow_up_after_s: float = 0.1) -> tuple[Handle, Run]:
    """Start a ticket; its handle as Temporal has it, and as Holdfast has it."""
    handle = await lab.client.start_workflow(
        ServiceDesk.run,
        Ticket(TICKET, follow_up_after_s=follow_up_after_s, requested_by="someone"),
        id=f"ticket-{lab.task_queue}",
        task_queue=lab.task_queue,
    )
    return handle, lab.watch(lab.hf.run(handle.id))


async def timer_started(handle: Handle) -> None:
    """Wait for the follow-up's timer."""
    async for event in handle.fetch_history_events(wait_new_event=True):
        if event.user_metadata.summary.data == b'"until the follow-up"':
            return
    raise AssertionError("the ticket ended without a follow-up's timer")


async def decide_both(lab: Lab, run: Run) -> None:
    """Approve the first cleanup, reject the second."""
    first, second = await lab.open_requests(run, 2)
    await run.approve(first, decided_by="lead")
    await run.reject(second, decided_by="lead", reason="not today")


async def test_a_ticket_is_worked_on_and_followed_up(make_lab: MakeLab, tmp_path: Path, cache: int) -> None:
    """Two agents work one after the other inside the user's workflow, and its result is the user's own type."""
    lab = await open_lab(make_lab, tmp_path / "workspace", cache)
    handle, run = await start(lab)
    await decide_both(lab, run)
    resolution = await handle.result()
    assert isinstance(resolution, Resolution)
    assert "run_cleanup(winsxs_cache): not today" in resolution.answer
    assert "temp_files holds 0 files (0 bytes), winsxs_cache holds 8 files" in resolution.closing_note
    assert resolution.model_calls == 4


async def test_approved_cleanups_delete_and_rejected_ones_do_not(make_lab: MakeLab, tmp_path: Path) -> None:
    """What was approved is deleted once; what was rejected is all still there."""
    workspace = tmp_path / "workspace"
    lab = await open_lab(make_lab, workspace)
    handle, run = await start(lab)
    await decide_both(lab, run)
    await handle.result()
    assert list((workspace / "temp_files").iterdir()) == []
    assert len(list((workspace / "winsxs_cache").iterdir())) == 8
    assert effects(Workspace(workspace)) == {"temp_files": 1}


async def test_its_requests_are_listed_like_any_others(make_lab: MakeLab, tmp_path: Path) -> None:
    """The inbox shows the requests of a user's own workflow, with tool, arguments and the reason for asking."""
    lab = await open_lab(make_lab, tmp_path / "workspace")
    handle, run = await start(lab)
    await lab.open_requests(run, 2)
    assert [(each.tool, each.arguments) for each in await run.pending()] == [
        ("run_cleanup", {"target": "temp_files"}),
        ("run_cleanup", {"target": "winsxs_cache"}),
    ]
    async with asyncio.timeout(30):
        while len(listed := [each for each in await lab.hf.requests() if each.run == handle.id]) < 2:
            continue  # visibility follows within milliseconds; each look is a call to the server
    assert {each.request.requested_by for each in listed} == {"someone"}
    assert {each.request.reason for each in listed} == {"It deletes files for good."}
    assert (await run.status()).status == "waiting"
    await decide_both(lab, run)
    await handle.result()


async def test_the_follow_up_outlives_its_worker(make_lab: MakeLab, tmp_path: Path) -> None:
    """The worker is replaced while the follow-up's timer runs; the follow-up comes all the same."""
    lab = await open_lab(make_lab, tmp_path / "workspace")
    handle, run = await start(lab, follow_up_after_s=1.0)
    await decide_both(lab, run)
    async with asyncio.timeout(30):
        await timer_started(handle)
    await lab.replace_worker()
    assert (await handle.result()).closing_note.startswith("Checked again")


def test_the_workflow_is_sandboxed() -> None:
    """The workflow keeps Temporal's default sandbox: importing `AgentHost` there needs no pass-through."""
    definition = workflow._Definition.must_from_class(ServiceDesk)
    assert definition.sandboxed
    assert "imports_passed_through" not in inspect.getsource(service_desk)


@pytest.mark.parametrize("agent", agents, ids=lambda agent: agent.name)
def test_every_tool_is_described_to_the_model(agent: Agent) -> None:
    """Each tool of the desk has a description and a strict schema with a line for each parameter."""
    for tool in agent.tools:
        assert tool.description
        assert tool.strict
        assert all(each.get("description") for each in tool.parameters["properties"].values())
