"""The desk's tools: readings are real, deletions are real and stay inside the workspace."""

from __future__ import annotations

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from activities.books import LEDGER, ORDERS, Order, OrderUnknownError, Refund, RefundRefusedError
from activities.case import Case
from activities.look_up_order import look_up_order
from activities.read_ledger import read_ledger
from activities.refund import once_per_order, over_100, refund
from activities.run_cleanup import run_cleanup
from activities.run_diagnostic import CHECKS, UnknownCheckError, run_diagnostic
from activities.workspace import JOURNAL, TargetRefusedError, Workspace
from handfast import Approval, ToolContext

OURS = Order(order=7, customer="c-1", item="a lamp", paid=250.0)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A workspace with one target of three files, one of them in a subfolder, and an order of each of two customers."""
    target = tmp_path / "workspace" / "temp_files"
    (target / "deep").mkdir(parents=True)
    for name in ("a", "b", "deep/c"):
        (target / name).write_bytes(b"x" * 100)
    orders = [OURS, Order(order=8, customer="c-2", item="a kettle", paid=35.0)]
    (tmp_path / "workspace" / ORDERS).write_text(json.dumps([order.model_dump() for order in orders]))
    return Workspace(tmp_path / "workspace")


@pytest.fixture
def ctx(workspace: Workspace) -> ToolContext[Case]:
    """What a tool is told about its call."""
    return ToolContext(
        context=Case(customer="c-1"),
        run_id="ticket-1",
        agent="it_support",
        agent_path=("it_support",),
        turn=1,
        labels={},
        requested_by=None,
        tool="run_cleanup",
        call_id="call_1",
        arguments={},
        resources=workspace,
        idempotency_key="key_1",
        attempt=1,
    )


def test_memory_and_load_are_this_machines(ctx: ToolContext) -> None:
    """Memory and load are what psutil reads here, not examples."""
    assert run_diagnostic(ctx, "memory")["total_bytes"] == psutil.virtual_memory().total
    assert run_diagnostic(ctx, "load")["cpu_count"] == psutil.cpu_count()


def test_disk_shows_what_the_targets_hold(ctx: ToolContext, workspace: Workspace) -> None:
    """The disk check counts the files of each target, so that a follow-up can see whether a cleanup helped."""
    assert run_diagnostic(ctx, "disk")["targets"] == {"temp_files": {"files": 3, "bytes": 300}}
    run_cleanup(ctx, "temp_files")
    assert run_diagnostic(ctx, "disk")["targets"] == {"temp_files": {"files": 0, "bytes": 0}}


def test_thermal_without_sensors_says_so(ctx: ToolContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without temperature sensors gets no temperature, but the sentence that none was read."""
    monkeypatch.setattr(psutil, "sensors_temperatures", dict, raising=False)
    reading = run_diagnostic(ctx, "thermal")
    assert reading["sensors"] is False
    assert "no temperature was read" in str(reading["note"])
    assert "celsius" not in reading


def test_thermal_reports_each_sensor(ctx: ToolContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are sensors, each one's reading is passed on as it is."""
    sensor = type("Sensor", (), {"label": "Package", "current": 41.5})
    monkeypatch.setattr(psutil, "sensors_temperatures", lambda: {"coretemp": [sensor]}, raising=False)
    assert run_diagnostic(ctx, "thermal")["celsius"] == {"coretemp Package": 41.5}


def test_an_unknown_check_names_those_that_exist(ctx: ToolContext) -> None:
    """A model that guesses a check learns which there are."""
    with pytest.raises(UnknownCheckError, match="there is no check 'gpu'; there are " + ", ".join(CHECKS)):
        run_diagnostic(ctx, "gpu")


def test_cleanup_deletes_and_writes_one_line(ctx: ToolContext, workspace: Workspace) -> None:
    """A cleanup deletes every file of its target, keeps the folder, and leaves one line that names the call."""
    done = run_cleanup(ctx, "temp_files")
    assert done == {"target": "temp_files", "deleted_files": 3, "freed_bytes": 300}
    assert list((workspace.root / "temp_files").iterdir()) == []
    [line] = (workspace.root / JOURNAL).read_text().splitlines()
    written = json.loads(line)
    assert (written["target"], written["files"], written["call"], written["key"]) == (
        "temp_files",
        3,
        "call_1",
        "key_1",
    )


@pytest.mark.parametrize(
    "target",
    ["", ".", "..", "../outside", "/etc", "temp_files/deep", "temp_files/../..", "a\\b", "a\0b", "link", "file", "no"],
)
def test_cleanup_refuses_what_is_no_target(ctx: ToolContext, workspace: Workspace, target: str) -> None:
    """Paths, links, files and unknown names are refused with the list of targets, and nothing is deleted."""
    outside = workspace.root.parent / "outside"
    outside.mkdir()
    (outside / "precious").write_text("keep")
    (workspace.root / "link").symlink_to(outside)
    (workspace.root / "file").write_text("keep")
    with pytest.raises(TargetRefusedError, match="targets: temp_files"):
        run_cleanup(ctx, target)
    assert (outside / "precious").read_text() == "keep"
    assert workspace.size_of("temp_files").files == 3
    assert not (workspace.root / JOURNAL).exists()


def test_cleanup_deletes_a_link_and_not_what_it_points_to(ctx: ToolContext, workspace: Workspace) -> None:
    """Links inside a target go; the files and folders outside that they point to stay."""
    outside = workspace.root.parent / "outside"
    outside.mkdir()
    (outside / "precious").write_text("keep")
    (workspace.root / "temp_files" / "to_folder").symlink_to(outside)
    (workspace.root / "temp_files" / "to_file").symlink_to(outside / "precious")
    assert run_cleanup(ctx, "temp_files")["deleted_files"] == 5
    assert (outside / "precious").read_text() == "keep"


def test_cleanup_spares_what_was_changed_lately(ctx: ToolContext, workspace: Workspace) -> None:
    """With a number of days only older files go, also in subfolders; a folder that still holds something stays."""
    target = workspace.root / "temp_files"
    for name, days in (("a", 10), ("deep/c", 10), ("b", 3)):
        changed = time.time() - days * 86400
        os.utime(target / name, (changed, changed))
    (target / "deep" / "young").write_text("keep")
    done = run_cleanup(ctx, "temp_files", 7)
    assert done == {"target": "temp_files", "deleted_files": 2, "freed_bytes": 200}
    assert sorted(str(path.relative_to(target)) for path in target.rglob("*")) == ["b", "deep", "deep/young"]


def test_orders_are_those_of_the_runs_own_customer(ctx: ToolContext[Case]) -> None:
    """A model that names another customer's order learns nothing of it, and pays nothing back for it."""
    assert look_up_order(ctx, 7) == OURS
    for number in (8, 9):
        with pytest.raises(OrderUnknownError, match=f"this customer has no order {number}"):
            look_up_order(ctx, number)
        with pytest.raises(OrderUnknownError):
            read_ledger(ctx, number)
        with pytest.raises(OrderUnknownError):
            refund(ctx, number, 10.0)
    ctx.context.customer = None
    with pytest.raises(OrderUnknownError):
        look_up_order(ctx, 7)


def test_a_refund_is_one_line_of_the_ledger(ctx: ToolContext[Case], workspace: Workspace) -> None:
    """What was paid back stands in the ledger with order, amount, run and call, and the auditor can read it."""
    paid = refund(ctx, 7, 120.5)
    assert (paid.order, paid.amount, paid.run, paid.call, paid.key) == (7, 120.5, "ticket-1", "call_1", "key_1")
    [line] = (workspace.root / LEDGER).read_text().splitlines()
    assert Refund.model_validate_json(line) == paid
    assert read_ledger(ctx, 7) == [paid]


def test_a_repeated_refund_pays_once(ctx: ToolContext[Case], workspace: Workspace) -> None:
    """A second attempt with the same key gets the first one's line; the same key for something else is refused."""
    assert refund(ctx, 7, 120.5) == refund(replace(ctx, attempt=2), 7, 120.5)
    with pytest.raises(RefundRefusedError, match=r"120\.50 was paid back already, for order 7"):
        refund(ctx, 7, 100.0)
    assert len(workspace.books.refunds()) == 1


def test_no_more_is_paid_back_than_was_paid(ctx: ToolContext[Case], workspace: Workspace) -> None:
    """A refund above the order's price is refused, and nothing is written."""
    with pytest.raises(RefundRefusedError, match=r"250\.00 was paid for order 7, less than 250\.01"):
        refund(ctx, 7, 250.01)
    assert workspace.books.refunds() == []


def test_many_at_once_pay_once(ctx: ToolContext[Case], workspace: Workspace) -> None:
    """Eight refunds with one key at the same time write one line, and all read that one."""
    with ThreadPoolExecutor(8) as threads:
        paid = list(threads.map(lambda _: refund(ctx, 7, 50.0), range(8)))
    assert len(workspace.books.refunds()) == 1
    assert all(each == paid[0] for each in paid)


@pytest.mark.parametrize(
    ("amount", "asks"), [pytest.param(100.0, False, id="100-is-free"), pytest.param(100.01, True, id="above-asks")]
)
def test_above_100_a_second_person_is_asked(ctx: ToolContext[Case], amount: float, asks: bool) -> None:
    """Up to 100 euros nobody is asked; above, finance without the one who asked, also about a changed amount."""
    rule = over_100(ctx, SimpleNamespace(order=7, amount=amount))
    assert (rule is not None) is asks
    if rule is not None:
        assert isinstance(rule, Approval)
        assert (rule.approvers, rule.exclude_requester, rule.asks_again) == (("group:finance",), True, True)


def test_the_ledgers_key_is_the_orders(ctx: ToolContext[Case]) -> None:
    """Whatever run or call it comes from, and whatever its amount, the refund of an order has one key."""
    assert once_per_order(ctx, SimpleNamespace(order=7, amount=1.0)) == "refund-7"
    assert once_per_order(replace(ctx, run_id="x"), SimpleNamespace(order=7, amount=2.0)) == "refund-7"
