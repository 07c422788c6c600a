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

from activities.books import Books
from activities.workspace import JOURNAL, Workspace
from demonstration.evidence import CUSTOMER, lines_of, prepare
from demonstration.model import QUESTION, TICKET, scripted
from desk import agents, auditor, billing, groups
from handfast import Agent, Request, Run
from handfast.errors import NotAnApproverError, RequesterExcludedError
from handfast.history.reader import history_of
from handfast.testing import Lab
from support.evidence import logged
from support.labs import MakeLab
from workflows import service_desk
from workflows.service_desk import Outcome, Resolution, ServiceDesk, Ticket

Handle = WorkflowHandle[ServiceDesk, Resolution]


async def open_lab(make_lab: MakeLab, root: Path) -> Lab:
    """A lab that serves the whole desk on a workspace with files and orders."""
    workspace = prepare(root)

    @asynccontextmanager
    async def resources() -> AsyncIterator[object]:
        yield workspace

    return await make_lab(
        agents,
        script=scripted(),
        workflows=[ServiceDesk],
        resources=resources,
        groups=groups,
    )


async def start(
    lab: Lab, follow_up_after_s: float = 0.1, customer: str = CUSTOMER, name: str = "ticket"
) -> tuple[Handle, Run]:
    """Start a ticket; its handle as Temporal has it, and as Handfast has it."""
    handle = await lab.client.start_workflow(
        ServiceDesk.run,
        Ticket(TICKET, follow_up_after_s, requested_by="someone", customer=customer),
        id=f"{name}-{lab.task_queue}",
        task_queue=lab.task_queue,
    )
    return handle, lab.watch(lab.hf.run(handle.id))


async def timer_started(handle: Handle) -> None:
    """Wait for the follow-up's timer."""
    async for event in history_of(handle, wait=True):
        if event.user_metadata.summary.data == b'"until the follow-up"':
            return
    raise AssertionError("the ticket ended without a follow-up's timer")


async def answer_question(lab: Lab, run: Run, answer: str = "It is order 4711.") -> None:
    """Tell triage what it asks."""
    request = await lab.next_request(run)
    assert (request.kind, request.agent) == ("question", "triage")
    await run.answer(request, answer, decided_by="someone")


async def decide_cleanups(lab: Lab, run: Run) -> None:
    """Approve the first cleanup, reject the second, once the caretaker has left both to people."""
    await logged(lab, run, "reviewed", 2)
    first, second = await lab.open_requests(run, 2)
    await run.approve(first, decided_by="lead")
    await run.reject(second, decided_by="lead", reason="not today")


async def until_refund(lab: Lab, run: Run) -> Request:
    """Answer and decide all that comes before the refund."""
    await answer_question(lab, run)
    await decide_cleanups(lab, run)
    return await refund_of(run)


async def refund_of(run: Run) -> Request:
    """Wait for the request of the refund; what comes before it the caretaker rejects."""
    async for request in run.requests():
        if request.tool == "refund":
            return request
    raise AssertionError("no refund was asked about")


async def decide_all(lab: Lab, run: Run) -> None:
    """Answer and decide all that a ticket asks."""
    await run.approve(await until_refund(lab, run), decided_by="lee")


@pytest.mark.quick
async def test_a_ticket_is_worked_on_and_followed_up(make_lab: MakeLab, tmp_path: Path) -> None:
    """Triage, IT support, billing and its auditor work in one run of the user's workflow, whose result is typed."""
    lab = await open_lab(make_lab, tmp_path / "workspace")
    handle, run = await start(lab)
    await decide_all(lab, run)
    resolution = await handle.result()
    assert isinstance(resolution.outcome, Outcome)
    assert resolution.outcome.left_open == [
        "run_cleanup(winsxs_cache, 0): not today",
        "run_cleanup(home, 0): home may hold people's own files.",
    ]
    assert 'auditor(4711, 180.0): {"sound": true' in resolution.outcome.report
    assert resolution.ended_by == "billing"
    assert "temp_files holds 0 files (0 bytes), winsxs_cache holds 8 files" in resolution.closing_note
    assert resolution.model_calls == len(lab.model.requests) == 16
    assert lab.model.violations == []


async def test_approved_cleanups_delete_and_rejected_ones_do_not(make_lab: MakeLab, tmp_path: Path) -> None:
    """What was approved is deleted once; what was rejected is all still there."""
    workspace = tmp_path / "workspace"
    lab = await open_lab(make_lab, workspace)
    handle, run = await start(lab)
    await decide_all(lab, run)
    await handle.result()
    assert list((workspace / "temp_files").iterdir()) == []
    assert len(list((workspace / "winsxs_cache").iterdir())) == 8
    assert [line["target"] for line in lines_of(Workspace(workspace), JOURNAL)] == ["temp_files"]


async def test_an_edited_cleanup_deletes_what_the_person_said(make_lab: MakeLab, tmp_path: Path) -> None:
    """Approved with other arguments, the cleanup runs with these, and the model reads that a person changed them."""
    workspace = tmp_path / "workspace"
    lab = await open_lab(make_lab, workspace)
    handle, run = await start(lab)
    await answer_question(lab, run)
    first, second = await lab.open_requests(run, 2)
    await run.approve(first, decided_by="lead", arguments={"target": "temp_files", "older_than_days": 7})
    await run.reject(second, decided_by="lead")
    await run.approve(await refund_of(run), decided_by="lee")
    resolution = await handle.result()
    assert "A person changed the arguments before this ran" in resolution.outcome.report
    assert '"deleted_files": 8' in resolution.outcome.report
    assert len(list((workspace / "temp_files").iterdir())) == 4


async def test_a_refund_above_100_takes_a_second_person(make_lab: MakeLab, tmp_path: Path) -> None:
    """Neither who wrote the ticket nor someone outside of finance can approve it; finance can, and then it is paid."""
    lab = await open_lab(make_lab, tmp_path / "workspace")
    handle, run = await start(lab)
    request = await until_refund(lab, run)
    assert (request.approvers, request.exclude_requester) == (["group:finance"], True)
    with pytest.raises(RequesterExcludedError, match=r"to be decided by somebody else \(exclude_requester\)"):
        await run.approve(request, decided_by="someone")
    with pytest.raises(NotAnApproverError, match="its approvers are group:finance"):
        await run.approve(request, decided_by="mallory")
    books = Books(tmp_path / "workspace")
    assert books.refunds() == []
    await run.approve(request, decided_by="lee")
    await handle.result()
    [paid] = books.refunds()
    assert (paid.order, paid.amount, paid.run) == (4711, 180.0, handle.id)


async def test_a_changed_amount_is_asked_about_again(make_lab: MakeLab, tmp_path: Path) -> None:
    """Who changes the amount does not approve it too: another one of finance is asked, and the new amount is paid."""
    lab = await open_lab(make_lab, tmp_path / "workspace")
    handle, run = await start(lab)
    request = await until_refund(lab, run)
    receipt = await run.approve(request, decided_by="lee", arguments={"order": 4711, "amount": 150.0})
    assert receipt.asked_again is not None
    with pytest.raises(RequesterExcludedError, match="lee asked for this call or changed its arguments"):
        await run.approve(receipt.asked_again, decided_by="lee")
    await run.approve(receipt.asked_again, decided_by="kim")
    await handle.result()
    assert [paid.amount for paid in Books(tmp_path / "workspace").refunds()] == [150.0]


async def test_a_rejected_refund_is_not_paid(make_lab: MakeLab, tmp_path: Path) -> None:
    """What finance rejects is not paid, and stands with its reason among what was left open."""
    lab = await open_lab(make_lab, tmp_path / "workspace")
    handle, run = await start(lab)
    await run.reject(await until_refund(lab, run), decided_by="kim", reason="The parcel is on its way.")
    assert "refund(4711, 180.0): The parcel is on its way." in (await handle.result()).outcome.left_open
    assert Books(tmp_path / "workspace").refunds() == []


async def test_the_auditor_reads_its_task_and_nothing_else(make_lab: MakeLab, tmp_path: Path) -> None:
    """The auditor is told customer, order and amount: no word of the ticket that it is to judge reaches it."""
    lab = await open_lab(make_lab, tmp_path / "workspace")
    handle, run = await start(lab)
    await decide_all(lab, run)
    await handle.result()
    asked = [request for request in lab.model.requests if request.instructions == auditor.instructions]
    assert len(asked) == 2
    assert asked[0].text == "Customer c-17 is to get back 180.00 euros for order 4711."
    assert all(part not in request.text for request in asked for part in (TICKET, QUESTION, "temp_files"))


async def test_an_order_is_refunded_once_whatever_the_tickets(make_lab: MakeLab, tmp_path: Path) -> None:
    """A second ticket about the same order: the auditor sees the first refund, and finance is not even asked."""
    lab = await open_lab(make_lab, tmp_path / "workspace")
    handle, run = await start(lab)
    await decide_all(lab, run)
    await handle.result()
    again, second = await start(lab, name="again")
    await answer_question(lab, second)
    await decide_cleanups(lab, second)
    resolution = await again.result()
    assert '{"sound": false' in resolution.outcome.report
    assert len(Books(tmp_path / "workspace").refunds()) == 1


async def test_another_customers_order_is_not_found(make_lab: MakeLab, tmp_path: Path) -> None:
    """Whose orders are seen is said by who starts the ticket, and no answer to a question changes it."""
    lab = await open_lab(make_lab, tmp_path / "workspace")
    handle, run = await start(lab, customer="c-18")
    await answer_question(lab, run)
    await decide_cleanups(lab, run)
    resolution = await handle.result()
    assert "this customer has no order 4711" in resolution.outcome.left_open[-1]
    assert all("espresso" not in request.text for request in lab.model.requests)
    assert Books(tmp_path / "workspace").refunds() == []


async def test_its_requests_are_listed_like_any_others(make_lab: MakeLab, tmp_path: Path) -> None:
    """The inbox shows the requests of a user's own workflow, with tool, arguments and the reason for asking."""
    lab = await open_lab(make_lab, tmp_path / "workspace")
    handle, run = await start(lab)
    await answer_question(lab, run)
    await lab.open_requests(run, 2)
    assert [(each.tool, each.arguments) for each in await run.pending()] == [
        ("run_cleanup", {"target": "temp_files", "older_than_days": 0}),
        ("run_cleanup", {"target": "winsxs_cache", "older_than_days": 0}),
    ]
    async with asyncio.timeout(30):
        while {each.request.tool for each in await lab.hf.requests() if each.run == handle.id} != {"run_cleanup"}:
            continue  # visibility follows within milliseconds; each look is a call to the server
    listed = [each for each in await lab.hf.requests() if each.run == handle.id]
    assert len(listed) == 2
    assert {each.request.requested_by for each in listed} == {"someone"}
    assert {each.request.reason for each in listed} == {"It deletes files for good."}
    assert (await run.status()).status == "waiting"
    await decide_cleanups(lab, run)
    await run.approve(await refund_of(run), decided_by="lee")
    await handle.result()


async def test_every_wait_outlives_its_worker(make_lab: MakeLab, tmp_path: Path) -> None:
    """The worker is replaced at each question and approval, and while the timer runs; each effect happens once."""
    lab = await open_lab(make_lab, tmp_path / "workspace")
    handle, run = await start(lab, follow_up_after_s=1.0)
    await lab.next_request(run)
    await lab.replace_worker()
    await answer_question(lab, run)
    await lab.open_requests(run, 2)
    await lab.replace_worker()
    await decide_cleanups(lab, run)
    request = await refund_of(run)
    await lab.replace_worker()
    await run.approve(request, decided_by="lee")
    async with asyncio.timeout(30):
        await timer_started(handle)
    await lab.replace_worker()
    assert (await handle.result()).closing_note.startswith("Checked again")
    assert len(lines_of(Workspace(tmp_path / "workspace"), JOURNAL)) == 1
    assert len(Books(tmp_path / "workspace").refunds()) == 1


def test_the_workflow_is_sandboxed() -> None:
    """The workflow keeps Temporal's default sandbox: importing `AgentHost` there needs no pass-through."""
    definition = workflow._Definition.must_from_class(ServiceDesk)
    assert definition.sandboxed
    assert "imports_passed_through" not in inspect.getsource(service_desk)


@pytest.mark.parametrize("agent", agents, ids=lambda agent: agent.name)
def test_every_tool_is_described_to_the_model(agent: Agent) -> None:
    """Each tool and handoff of the desk has a description and a strict schema with a line for each parameter."""
    for offered in agent.offered.values():
        assert offered.description
        assert offered.strict
        assert all(each.get("description") for each in offered.parameters["properties"].values())


def test_nobody_who_reads_an_audit_pays_and_nobody_who_pays_audits() -> None:
    """The auditor has nothing that changes anything, and only billing has the refund."""
    assert {tool.name for tool in auditor.tools} == {"look_up_order", "read_ledger"}
    assert [agent.name for agent in agents if "refund" in agent.offered] == [billing.name]
