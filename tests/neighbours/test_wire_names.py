"""The names and shapes on the wire: what other languages, the `temporal` command and old histories depend on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.client import Client

from handfast import Agent, Approve, Decision, Receipt, Request, RunResult, Usage, tool
from handfast.payloads.base import Payload
from handfast.payloads.binding import Bound
from handfast.payloads.requests import MEMO_LOG, MEMO_REQUEST, Answer, GiveUp, Grant, Ran, Reject, RunAgain, Transition
from handfast.payloads.runs import RunInput
from handfast.server import EmbeddedServer
from handfast.temporal.search_attributes import SEARCH_ATTRIBUTES
from handfast.testing import Lab, Reply, call, text
from support.evidence import events_of, logged
from support.labs import Effects, MakeLab
from support.neighbour import CONVERTER, Order, Shipping, notify

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SIGNALS = {"approve", "reject", "decide", "send", "stop"}
UPDATES = {"cancel_call", "decide", "raise_limits", "send"}
QUERIES = {"decision", "pending_approvals", "pending_requests", "status", "transcript"}


def desk(effects: Effects) -> Agent:
    """An agent with one gated tool that words its rejections."""

    @tool(approval=True)
    async def wipe(target: str) -> str:
        """Delete a target."""
        effects.append(target)
        return "wiped"

    return Agent("desk", instructions="Help.", model="m", tools=[wipe], rejection_text=lambda context, rejection: "no")


async def names_of(lab: Lab, workflow_id: str) -> tuple[str, set[str], set[str], set[str]]:
    """What a workflow says of itself: its type, signals, updates and queries."""
    handle = lab.client.get_workflow_handle(workflow_id)
    metadata = await handle.query("__temporal_workflow_metadata", result_type=WorkflowMetadata)
    definition = metadata.definition
    return (
        definition.type,
        {each.name for each in definition.signal_definitions if each.name},
        {each.name for each in definition.update_definitions},
        {each.name for each in definition.query_definitions if not each.name.startswith("__")},
    )


async def test_the_names_of_a_run_are_pinned(make_lab: MakeLab, effects: Effects) -> None:
    """WIRE: workflow, activities, signals, updates, queries, search attributes and memo keys keep their names."""
    script = [Reply(call("wipe", {"target": "a"}), call("wipe", {"target": "b"})), Reply(text("done"))]
    lab = await make_lab([desk(effects)], script=script)
    run = await lab.start("desk", labels={"team": "it"})
    first, second = await lab.open_requests(run, 2)
    assert await names_of(lab, run.id) == ("AgentRun", SIGNALS, UPDATES, QUERIES)
    await run.reject(first, decided_by="lead")
    await run.approve(second, decided_by="lead")
    await run.result()
    events = await events_of(lab, run)
    activities = {
        event.activity_task_scheduled_event_attributes.activity_type.name
        for event in events
        if event.HasField("activity_task_scheduled_event_attributes")
    }
    assert activities == {"handfast.call_model", "handfast.evaluate", "handfast.tool.wipe"}
    memo = {key for event in events for key in event.workflow_properties_modified_event_attributes.upserted_memo.fields}
    assert memo == {"handfast.log", f"handfast.request.{first.id}", f"handfast.request.{second.id}"}
    assert (MEMO_LOG, MEMO_REQUEST) == ("handfast.log", "handfast.request.")
    attributes = (await lab.client.get_workflow_handle(run.id).describe()).typed_search_attributes
    assert {pair.key.name: pair.value for pair in attributes if pair.key.name.startswith("Handfast")} == {
        "HandfastStatus": "completed",
        "HandfastAgent": "desk",
        "HandfastPending": 0,
        "HandfastLabels": ["team=it"],
    }


async def test_the_names_of_a_session_are_pinned(make_lab: MakeLab, effects: Effects) -> None:
    """WIRE: a session has the handlers of a run, and its own beside them."""
    lab = await make_lab([desk(effects)], script=[Reply(text("done"))])
    session = lab.watch(lab.hf.session(f"talk-{lab.task_queue}", agent="desk"))
    turn = await session.send("hello")
    updates = UPDATES | {"take_back"}
    assert await names_of(lab, session.id) == ("AgentSession", SIGNALS | {"close"}, updates, QUERIES | {"turn"})
    await turn.output()
    log = [(await logged(lab, session, what, 1))[0] for what in ("sent", "placed", "answered")]
    assert [step.message for step in log] == [turn.id] * 3
    assert set(log[2].to_wire()) == {"what", "at", "message", "frame", "block"}


async def test_the_names_of_a_host_have_a_prefix(make_lab: MakeLab, server: EmbeddedServer, effects: Effects) -> None:
    """WIRE: a host inside a user's workflow has the same handlers under ``handfast.``, beside the user's own."""
    lab = await make_lab(
        [desk(effects)],
        script=[Reply(call("wipe", {"target": "a"}))],
        client=await Client.connect(server.address, data_converter=CONVERTER),
        workflows=[Shipping],
        activities=[notify],
    )
    order = Order(number=1, text="go").model_dump()
    own = await lab.client.start_workflow("Shipping", order, id=f"own-{lab.task_queue}", task_queue=lab.task_queue)
    await lab.next_request(lab.watch(lab.hf.run(own.id)))
    prefixed: Sequence[set[str]] = [{f"handfast.{name}" for name in each} for each in (SIGNALS, UPDATES, QUERIES)]
    assert await names_of(lab, own.id) == (
        "Shipping",
        prefixed[0] | {"approve"},
        prefixed[1],
        prefixed[2] | {"status"},
    )


def test_the_search_attributes_are_pinned() -> None:
    """WIRE: the search attributes keep their names and types."""
    assert dict(SEARCH_ATTRIBUTES) == {
        "HandfastStatus": "Keyword",
        "HandfastAgent": "Keyword",
        "HandfastPending": "Int",
        "HandfastApprovers": "KeywordList",
        "HandfastLabels": "KeywordList",
        "HandfastDue": "Datetime",
    }


REQUEST = Request(
    id="r1",
    kind="approval",
    agent="auditor",
    agent_path=["desk", "auditor"],
    tool="wipe",
    call_id="c1",
    arguments={"target": "temp", "times": 2},
    digest="v1:00",
    bound=Bound(namespace="default", workflow="ticket-7", run="01a2"),
    frame="0",
    turn=3,
    position=1,
    requested_at=AT,
    requested_by="requester",
    deadline=AT,
    on_deadline="reject",
    reason="it deletes",
    verdicts=["approve", "reject", "answer"],
)
GOLDEN: dict[str, tuple[Payload, dict[str, Any]]] = {
    "Request": (
        REQUEST,
        {
            "id": "r1",
            "kind": "approval",
            "agent": "auditor",
            "agent_path": ["desk", "auditor"],
            "tool": "wipe",
            "call_id": "c1",
            "arguments": {"target": "temp", "times": 2},
            "digest": "v1:00",
            "bound": {"namespace": "default", "workflow": "ticket-7", "run": "01a2"},
            "frame": "0",
            "turn": 3,
            "position": 1,
            "requested_at": "2026-01-02T03:04:05Z",
            "requested_by": "requester",
            "deadline": "2026-01-02T03:04:05Z",
            "on_deadline": "reject",
            "reason": "it deletes",
            "verdicts": ["approve", "reject", "answer"],
        },
    ),
    "Decision": (
        Decision(
            id="r1",
            verdict=Approve(arguments={"target": "logs"}),
            decided_by="lead",
            digest="v1:00",
            decision_id="d1",
            note="go ahead",
        ),
        {
            "id": "r1",
            "verdict": {"kind": "approve", "arguments": {"target": "logs"}},
            "decided_by": "lead",
            "digest": "v1:00",
            "decision_id": "d1",
            "note": "go ahead",
        },
    ),
    "Receipt": (
        Receipt(id="r1", verdict="approve", decided_by="lead", decision_id="d1", at=AT),
        {
            "id": "r1",
            "verdict": "approve",
            "decided_by": "lead",
            "decision_id": "d1",
            "state": "recorded",
            "duplicate": False,
            "at": "2026-01-02T03:04:05Z",
        },
    ),
    "RunInput": (
        RunInput(
            agent="desk",
            input="clean up",
            context={"team": "it"},
            max_turns=20,
            labels={"team": "it"},
            requested_by="requester",
        ),
        {
            "agent": "desk",
            "input": "clean up",
            "context": {"team": "it"},
            "max_turns": 20,
            "labels": {"team": "it"},
            "requested_by": "requester",
        },
    ),
    "RunResult": (
        RunResult(output="done", agent="desk", turns=2, usage=Usage(requests=2, input_tokens=30, output_tokens=4)),
        {
            "output": "done",
            "agent": "desk",
            "turns": 2,
            "usage": {
                "requests": 2,
                "input_tokens": 30,
                "cached_input_tokens": 0,
                "output_tokens": 4,
                "reasoning_tokens": 0,
                "total_tokens": 0,
            },
            "by_request": [],
            "guardrails": [],
        },
    ),
    "Transition": (
        Transition(what="decided", at=AT, request="r1", verdict="approve", by="lead", decision_id="d1", why="ok"),
        {
            "what": "decided",
            "at": "2026-01-02T03:04:05Z",
            "request": "r1",
            "verdict": "approve",
            "by": "lead",
            "decision_id": "d1",
            "why": "ok",
        },
    ),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_a_payload_keeps_its_json(name: str) -> None:
    """WIRE: a payload is written and read as the JSON that clients in other languages were built for."""
    payload, wire = GOLDEN[name]
    assert payload.to_wire() == wire
    assert type(payload).from_wire(json.loads(json.dumps(wire))) == payload
    assert type(payload).from_wire({**wire, "from_a_later_version": 1}) == payload


def test_the_verdicts_are_a_closed_set() -> None:
    """WIRE: each verdict keeps its kind and its fields."""
    verdicts = (
        Approve(),
        Reject(reason="no"),
        Answer(output={"a": 1}),
        Ran(output="x"),
        RunAgain(),
        GiveUp(),
        Grant(turns=5),
    )
    assert [Decision(id="r1", verdict=verdict).to_wire()["verdict"] for verdict in verdicts] == [
        {"kind": "approve"},
        {"kind": "reject", "reason": "no"},
        {"kind": "answer", "output": {"a": 1}},
        {"kind": "ran", "output": "x"},
        {"kind": "run_again"},
        {"kind": "give_up"},
        {"kind": "grant", "turns": 5},
    ]
