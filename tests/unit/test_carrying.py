"""What goes on in a fresh history, as data."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Final, TypeGuard

from hypothesis import given, strategies as st

import handfast.workflows
from handfast.payloads.messages import MessageReceipt
from handfast.payloads.notify import Notification
from handfast.payloads.remember import Remember
from handfast.payloads.requests import Approve, Decision, Reject
from handfast.payloads.usage import RequestUsage, Usage
from handfast.workflows.continuation.packs import loose_in, put_pack
from handfast.workflows.frame.frame import Frame, Queued
from handfast.workflows.frame.table import FrameTable
from handfast.workflows.ledger.ledger import Ledger, LedgerState
from handfast.workflows.state.deployment import Deployment
from handfast.workflows.state.mailbox import MailboxState
from handfast.workflows.state.notifications import NotifierState
from handfast.workflows.state.run_state import RunState
from handfast.workflows.state.segment import SegmentState
from handfast.workflows.state.session_state import SessionState
from handfast.workflows.state.transcript import TranscriptState
from handfast.workflows.tasks.intake import SignalTally
from support.requests import NOW, request

WORKFLOWS: Final = Path(handfast.workflows.__file__).parent
OF_ONE_HISTORY: Final = {
    # Tasks, activities, loops and handlers under way: the history is left when they have ended, or they begin anew.
    "AgentHost": {"_driven", "_idling", "_without_key"},
    "Checks": {"_allowance", "_lookups"},
    "Driver": {"_timer"},
    "Intake": {"_bytes", "_decisions", "_draining", "_handlers", "_held", "_open", "_read", "_task", "_waiting"},
    "Notifier": {"_batches", "_delivered", "_tasks", "_under_way"},
    "RequestBook": {"_held", "_looked_up", "unpublished"},
    "Reviews": {"_activities", "_tasks"},
    "TaskMarks": {"_looking", "_looks_in", "_made_in"},
    "Work": {"_children", "_handles", "_model", "_tasks", "ending"},
    # News that is published before the history is left.
    "Publisher": {"_flood", "_published"},
    "RequestLog": {"news", "steps"},
    # About this history itself, its tasks, and the way out of it.
    "Carrier": {"_archived", "_told"},
    "CommandBudget": {"_inlined", "_task"},
    "MessageGuard": {"_signals"},
    "Packer": {"_cannot_keep"},
    "Runs": {"_ended", "_publishing", "_told_in", "marks", "too_heavy", "version"},
    "Segment": {"_due_at", "_may_leave", "_outdated"},
    # Found again in what lasts.
    "Ledger": {"_answers_siblings"},
    "Transcript": {"_sizes"},
}
"""Attributes that parts of a run make for themselves, by class: a fresh history begins without them."""


@given(st.lists(st.booleans(), max_size=12), st.lists(st.booleans(), max_size=12), st.integers(0, 12))
def test_packs_leave_a_conversation_as_it_was(earlier: list[bool], blocks: list[bool], seen: int) -> None:
    """Whatever was put aside in between, every block stands once, in its order, alone or in one pack."""
    packs: dict[str, list[str]] = {}
    count = iter(range(100))

    def made(packed: bool) -> str:
        name = str(next(count))
        if packed:
            packs[name] = [f"{name}a", f"{name}b"]
        return name

    def whole(names: list[str]) -> list[str]:
        return [each for name in names for each in packs.get(name, [name])]

    frame = Frame(id="0", agent="desk", agent_path=["desk"])
    frame.earlier, frame.blocks = [made(each) for each in earlier], [made(each) for each in blocks]
    frame.cursor = min(seen, len(frame.blocks))
    frame.seen = frame.blocks[frame.cursor - 1] if frame.cursor else None
    before = whole(frame.earlier), whole(frame.blocks[: frame.cursor]), whole(frame.blocks[frame.cursor :])
    for part in (list(frame.earlier), frame.blocks[: frame.cursor]):
        for loose in loose_in(part, packs.__contains__):
            name = f"p{next(count)}"
            packs[name] = loose
            put_pack(frame, loose, name)
    assert (whole(frame.earlier), whole(frame.blocks[: frame.cursor]), whole(frame.blocks[frame.cursor :])) == before
    assert all(each in packs for each in [*frame.earlier, *frame.blocks[: frame.cursor]])
    assert frame.seen == (frame.blocks[frame.cursor - 1] if frame.cursor else None)


def test_a_remembered_decision_answers_requests_that_were_taken_along() -> None:
    """Where a run left its history right after it, the open requests are answered in the next one."""
    ledger = Ledger()
    for each in ("first", "second"):
        ledger.book.open(request(each))
    ledger.record(Decision(id="first", verdict=Approve(), decided_by="lead", remember=Remember(of="tool")), NOW)
    following = Ledger(LedgerState.model_validate_json(ledger.state.carried(()).model_dump_json()))
    following.answer_siblings(NOW)
    assert following.book.open_requests() == []


def test_a_check_that_is_under_way_is_waited_for_although_a_rejection_came_first() -> None:
    """A rejection closes a request whose edit is being checked; until that check is over nothing is quiet."""
    ledger = Ledger()
    ledger.book.open(request("one"))
    edit = Decision(id="one", verdict=Approve(arguments={"target": "other"}), decided_by="editor")
    ledger.book.hold(edit)
    ledger.record(Decision(id="one", verdict=Reject(), decided_by="lead"), NOW)
    assert ledger.book.busy
    ledger.release(edit)
    assert not ledger.book.busy


def test_all_that_lasts_of_a_run_goes_into_a_fresh_history() -> None:
    """A fresh history begins with every field of the state: one that is added, here too, is carried like the others."""
    ledger = Ledger()
    ledger.book.open(request("one"))
    ledger.book.open(request("two"))
    made = Decision(id="one", verdict=Approve(), decided_by="lead", decision_id="d1", remember=Remember(of="tool"))
    ledger.record(made, NOW)
    notification = {"id": "one:opened", "what": "opened", "at": NOW, "run": "r", "request": request("one")}
    usage = RequestUsage(agent="desk", agent_path=["desk"], turn=1, model="m", usage=Usage(requests=1))
    state = RunState(
        frames=FrameTable(all=[Frame(id="0", agent="desk", agent_path=["desk"], driven=True)], next_id=1),
        labels={"team": "ops"},
        stop_first="enough",
        ledger=ledger.state,
        transcript=TranscriptState(blocks={"b": [{"type": "message"}]}),
        mailbox=MailboxState(
            known={"m": ("digest", MessageReceipt(id="m", state="queued", at=NOW))},
            early=[Queued(id="m", block="b", size=1)],
        ),
        notifier=NotifierState(untold=[Notification.model_validate(notification)]),
        spending=[("0", usage)],
        deployment=Deployment(archives=True),
        segment=SegmentState(left_version="desk.1"),
        shown={"two": 1},
        signals=SignalTally(refused={"decide": 1}),
        session=SessionState(frame="0", answering=["m"]),
    )
    begun = RunState()
    assert [name for name in RunState.model_fields if getattr(state, name) == getattr(begun, name)] == []
    assert RunState.model_validate_json(state.model_dump_json()) == state


def test_a_part_of_a_run_makes_nothing_for_itself_that_has_to_last() -> None:
    """Whoever gives a part a fact of its own is asked whether it has to last: if so, its place is in the state."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for file in WORKFLOWS.rglob("*.py"):
        for part, attribute in made_by_parts(ast.parse(file.read_text())):
            found[part].add(attribute)
    assert found == OF_ONE_HISTORY, "a fact that has to last belongs in RunState; list any other one, with the reason"


def made_by_parts(module: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield classes with the attributes that their instances set, but for those that hold what `__init__` is given."""
    for part in module.body:
        if not isinstance(part, ast.ClassDef) or any("BaseModel" in ast.unparse(base) for base in part.bases):
            continue
        for method in part.body:
            if not isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            given_names = {node.arg for node in ast.walk(method.args) if isinstance(node, ast.arg)}
            for target, value in assignments(method):
                is_given = bool(given_names & {node.id for node in ast.walk(value) if isinstance(node, ast.Name)})
                for node in ast.walk(target):
                    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and is_given:
                        given_names.add(node.id)
                    if is_set_on_self(node) and not (is_given and method.name == "__init__"):
                        yield part.name, node.attr


def is_set_on_self(node: ast.AST) -> TypeGuard[ast.Attribute]:
    """Return whether *node* is `self.…` on the left of an assignment."""
    return (
        isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
    )


def assignments(method: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    """Yield the target and the value of each assignment."""
    for node in ast.walk(method):
        if isinstance(node, ast.Assign):
            yield from ((target, node.value) for target in node.targets)
        elif isinstance(node, ast.AugAssign) or (isinstance(node, ast.AnnAssign) and node.value is not None):
            assert node.value is not None
            yield node.target, node.value
