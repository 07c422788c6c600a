"""Scenario rows H: events of nested agents, handoffs, users' own workflows and activities, and through a codec."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, TypeVar

import pytest
from pydantic import BaseModel
from temporalio import activity
from temporalio.client import Client
from temporalio.converter import DataConverter

from handfast import Agent, Handfast, Rejection, RunContext, activity_tool, tool
from handfast.encryption.converter import tolerant
from handfast.errors import HistoryUnreadableError
from handfast.payloads import events as ev
from handfast.server import EmbeddedServer
from handfast.testing import Hang, Lab, Reply, Script, call, text
from handfast.testing.script import RecordedRequest
from support.desk import DONE, MIXED, desk
from support.encryption import SealingCodec
from support.events import so_far, to_the_end, types
from support.labs import Effects, MakeLab
from support.long_office import Office
from support.long_runs import desk as long_desk
from support.neighbour import CONVERTER, Order, Shipping, notify, start_own
from support.nested import asked, wiper

EventT = TypeVar("EventT")
KEY, OTHER_KEY = b"k" * 32, b"o" * 32


def of(kind: type[EventT], events: Sequence[object]) -> list[EventT]:
    """The events of one kind."""
    return [event for event in events if isinstance(event, kind)]


async def test_two_nested_agents_are_told_apart(make_lab: MakeLab, effects: Effects) -> None:
    """H1: of one agent called twice in a reply, each loop names its call, its request the path, and its call ends."""

    def play(request: RecordedRequest) -> Reply:
        if request.instructions.startswith("You are auditor"):
            return (
                Reply(text(f"audited {request.first_user_text}")) if request.turns else asked(request.first_user_text)
            )
        if request.turns:
            return DONE
        return Reply(call("auditor", {"input": "one"}, "o1"), call("auditor", {"input": "two"}, "o2"))

    lab = await make_lab([Agent("triage", model="m", tools=[wiper(effects).as_tool()])], script=Script.of(play))
    run = await lab.start("triage")
    for request in await lab.open_requests(run, 2):
        await run.approve(request, decided_by="lead")
    await run.result()
    events = await to_the_end(run)
    began = {each.frame: each.call_id for each in of(ev.AgentStarted, events)}
    assert sorted(str(each) for each in began.values()) == ["o1", "o2"]
    opened = of(ev.RequestOpened, events)
    assert [each.agent_path for each in opened] == [["triage", "auditor"]] * 2
    wanted = {"o1": "one", "o2": "two"}
    for each in of(ev.AgentFinished, events):
        assert (each.call_id, each.parent, each.tool, each.status) == (began[each.frame], "0", "auditor", "completed")
        assert each.output == f"audited {wanted[str(each.call_id)]}"
    outputs = {each.call_id: each.output for each in of(ev.ToolOutput, events) if each.frame == "0"}
    assert outputs == {"o1": "audited one", "o2": "audited two"}
    called = {each.call_id: each.arguments for each in of(ev.ToolCalled, events) if each.frame == "0"}
    assert called == {"o1": {"input": "one"}, "o2": {"input": "two"}}


async def test_a_handoff_is_told_with_what_was_ignored(make_lab: MakeLab, effects: Effects) -> None:
    """H2: the handoff that takes place names both agents and its call, and the one that was ignored says so."""
    billing, shipping = Agent("billing", model="m"), Agent("shipping", model="m")
    front = Agent("front", model="m", handoffs=[billing, shipping])
    both = Reply(call("transfer_to_billing", {}, "h1"), call("transfer_to_shipping", {}, "h2"))
    lab = await make_lab([front], script=[both, DONE])
    run = await lab.start("front")
    assert (await run.result()).agent == "billing"
    events = await to_the_end(run)
    [over] = of(ev.HandedOver, events)
    assert (over.agent, over.to, over.call_id, over.turn) == ("front", "billing", "h1", 1)
    [ignored] = of(ev.ToolNotRun, events)
    assert (ignored.call_id, ignored.why) == ("h2", "ignored")
    assert [each.agent for each in of(ev.ModelReplied, events)] == ["front", "billing"]
    assert types(events)[-1] == "run_finished"


async def test_every_call_has_one_event_that_closes_it(make_lab: MakeLab, effects: Effects) -> None:
    """H2: of a reply with calls that run, fail, are unknown, invalid, rejected and worded, each is closed once."""

    def words(_context: RunContext[Any], rejection: Rejection) -> str:
        return f"no {rejection.tool}, says {rejection.decided_by}"

    @tool(effect="idempotent")
    async def breaks() -> str:
        """Fail."""
        raise OSError("no disk")

    agent = Agent("desk", model="m", tools=[*desk(effects).tools, breaks], rejection_text=words)
    reply = Reply(
        call("wipe", {"target": "a"}, "c1"),
        call("wipe", {"target": "b"}, "c2"),
        call("look", {"check": "fans"}, "c3"),
        call("breaks", {}, "c4"),
        call("levitate", {}, "c5"),
        call("look", {"wrong": 1}, "c6"),
    )
    lab = await make_lab([agent], script=[reply, DONE])
    run = await lab.start("desk")
    first, second = await lab.open_requests(run, 2)
    await run.reject(first, decided_by="lead", reason="keep it")
    await run.reject(second, decided_by="lead")
    await run.result()
    events = await to_the_end(run)
    closing: list[ev.ToolOutput | ev.ToolFailed | ev.ToolNotRun] = []
    for kind in (ev.ToolOutput, ev.ToolFailed, ev.ToolNotRun):
        closing += of(kind, events)
    assert sorted(each.call_id for each in closing) == ["c1", "c2", "c3", "c4", "c5", "c6"]
    why = {each.call_id: each.why for each in of(ev.ToolNotRun, events)}
    assert why == {"c1": "rejected", "c2": "rejected", "c5": "unknown", "c6": "invalid"}
    assert {each.call_id: each.output for each in closing} == lab.model.requests[1].tool_outputs


async def test_a_users_own_workflow_tells_of_its_agents_alone(
    make_lab: MakeLab, server: EmbeddedServer, effects: Effects
) -> None:
    """H4: through the user's converter and codec, of a workflow with signals and activities of its own only the agents'
    events are told, each run from its start to its end."""
    client = await Client.connect(server.address, data_converter=CONVERTER)
    script = [Reply(call("wipe", {"target": "temp"}, "c1")), DONE]
    lab = await make_lab([desk(effects)], script=script, client=client, workflows=[Shipping], activities=[notify])
    own = await start_own(lab, Shipping.run, Order(number=7, text="ship it"))
    run = lab.hf.run(own.id)
    request = await lab.next_request(run)
    await own.signal("handfast.approve", "no-such-request")
    await own.signal(Shipping.approve, "the user's own approver")
    await run.approve(request, decided_by="lead")
    await own.result()
    events = await to_the_end(run)
    happened = [kind for kind in types(events) if kind != "status"]
    assert happened.count("request_refused") == 1
    happened.remove("request_refused")
    assert happened == [
        *("run_started", "turn_started", "model_reply", "request_opened", "request_decided", "tool_called"),
        *("tool_output", "turn_started", "model_reply", "run_finished", "workflow_finished"),
    ]
    [ended] = of(ev.RunFinished, events)
    assert (ended.status, ended.output, ended.agent) == ("completed", "done", "desk")


async def test_agents_of_a_workflow_are_followed_over_its_histories(make_lab: MakeLab, effects: Effects) -> None:
    """H4: two runs of a user's own workflow that goes on in fresh histories: each begins once and ends once."""

    def play(request: RecordedRequest) -> Reply:
        turns = 2 if request.first_user_text == "short" else 9
        return Reply(call("look", {"page": request.turns})) if request.turns < turns else Reply(text(f"{turns} pages"))

    lab = await make_lab([long_desk(effects)], script=Script.of(play), workflows=[Office])
    own = await start_own(lab, Office.run, True)
    assert await own.result() == ["2 pages", "9 pages"]
    run = lab.hf.run(own.id)
    events = await to_the_end(run)
    assert len({event.offset.partition(":")[0] for event in events}) > 1
    assert sorted(each.frame for each in of(ev.RunStarted, events)) == ["0", "1"]
    assert {each.frame: each.output for each in of(ev.RunFinished, events)} == {"0": "2 pages", "1": "9 pages"}
    assert types(events)[-1] == "workflow_finished"
    for frame, turns in (("0", 3), ("1", 10)):
        begun = [each.turn for each in of(ev.TurnStarted, events) if each.frame == frame]
        assert begun == [*range(1, turns + 1)]


class Shelf(BaseModel):
    """What an activity that exists already takes."""

    shelf: str


@activity.defn(name="CountStock")
async def count_stock(given: dict[str, str]) -> dict[str, Any]:
    """An activity that exists already."""
    return {"lamps": 12, "shelf": given["shelf"]}


async def test_activities_that_exist_already_are_told_as_tools(make_lab: MakeLab) -> None:
    """H2: two calls of an activity that exists already are told with their own ids, arguments and outputs."""
    stock = activity_tool("stock", input=Shelf, activity="CountStock", effect="read_only")
    reply = Reply(call("stock", {"shelf": "a"}, "c1"), call("stock", {"shelf": "b"}, "c2"))
    lab = await make_lab([Agent("clerk", model="m", tools=[stock])], script=[reply, DONE], activities=[count_stock])
    run = await lab.start("clerk")
    await run.result()
    events = await to_the_end(run)
    called = {each.call_id: each.arguments for each in of(ev.ToolCalled, events)}
    assert called == {"c1": {"shelf": "a"}, "c2": {"shelf": "b"}}
    assert {each.call_id: each.output for each in of(ev.ToolOutput, events)} == lab.model.requests[1].tool_outputs


async def sealed(lab: Lab, codec: SealingCodec | None) -> Handfast:
    """The client of somebody with this codec."""
    config = lab.client.config()
    config["data_converter"] = tolerant(dataclasses.replace(DataConverter.default, payload_codec=codec))
    return Handfast(Client(**config))


async def test_events_come_through_an_encrypting_codec(
    make_lab: MakeLab, server: EmbeddedServer, effects: Effects
) -> None:
    """H4: with the key the events are those of an open run; with another one, or none, that is said in one error."""
    seen = []
    for codec in (None, SealingCodec(KEY)):
        converter = dataclasses.replace(DataConverter.default, payload_codec=codec)
        client = await Client.connect(server.address, data_converter=tolerant(converter))
        lab = await make_lab([desk(effects)], script=[MIXED, DONE], client=client)
        run = await lab.start("desk")
        first, second = await lab.open_requests(run, 2)
        await run.approve(first, decided_by="lead")
        await run.reject(second, decided_by="lead", reason="keep it")
        await run.result()
        seen.append([told(event) for event in await to_the_end(run)])
    assert sorted(seen[0]) == sorted(seen[1])
    for wrong in (SealingCodec(OTHER_KEY), None):
        with pytest.raises(HistoryUnreadableError, match="connect with the codec"):
            await so_far((await sealed(lab, wrong)).run(run.id))


def told(event: ev.RunEvent) -> str:
    """What an event says, without what differs from run to run."""
    said = {name: getattr(event, name, None) for name in ("call_id", "output", "text", "verdict", "why", "status")}
    return f"{event.type} {said}"


async def test_messages_and_orders_are_told(make_lab: MakeLab, effects: Effects) -> None:
    """H2: a message is told when it is taken, with its words and sender, and when it is placed."""
    lab = await make_lab([desk(effects)], script=[Reply(call("wipe", {"target": "t"}, "c1")), DONE])
    run = await lab.start("desk")
    request = await lab.next_request(run)
    await run.send("and be quick", message_id="m1", by="rita")
    await lab.client.get_workflow_handle(run.id).signal("send", {"text": "please"})
    await run.approve(request, decided_by="lead")
    await run.result()
    events = await to_the_end(run)
    assert [(each.input, each.by) for each in of(ev.MessageSent, events)] == [
        ("and be quick", "rita"),
        ("please", None),
    ]
    sent = [each.message for each in of(ev.MessageSent, events)]
    assert sent[0] == "m1"
    assert [each.message for each in of(ev.MessagePlaced, events)] == sent
    happened = types(events)
    assert happened.index("message_placed") < happened.index("turn_started", happened.index("message_sent"))


async def test_a_nested_agent_that_fails_says_why(make_lab: MakeLab) -> None:
    """H2: a nested agent that is out of turns ends as failed with that reason, which no Temporal event shows, and its
    call with what the model reads."""

    @tool(effect="read_only")
    async def look(check: str) -> str:
        """Look at something."""
        return f"{check} is fine"

    inner = Agent("auditor", instructions="You are auditor.", model="m", tools=[look], max_turns=1)
    script = [Reply(call("auditor", {"input": "go"}, "o1")), Reply(call("look", {"check": "fans"}, "i1")), DONE]
    lab = await make_lab([Agent("triage", model="m", tools=[inner.as_tool()])], script=script)
    run = await lab.start("triage")
    await run.result()
    events = await to_the_end(run)
    [ended] = of(ev.AgentFinished, events)
    assert (ended.status, ended.failure, ended.call_id) == ("failed", "MaxTurnsExceeded", "o1")
    [failed] = of(ev.ToolFailed, events)
    assert {failed.call_id: failed.output} == lab.model.requests[2].tool_outputs


async def test_a_reply_that_a_message_overtook_does_not_count(make_lab: MakeLab, effects: Effects) -> None:
    """H2: a message that is to be read at once stops the model call under way: the turn begins once, the call that was
    stopped is told as failed, and one reply counts."""
    lab = await make_lab([desk(effects)], script=[Hang(), DONE])
    run = await lab.start("desk")
    await lab.model.wait_for_request(1)
    await run.send("stop that", when="now", message_id="m1")
    assert (await run.result()).output == "done"
    events = await to_the_end(run)
    happened = [kind for kind in types(events) if kind != "status"]
    assert happened == [
        *("run_started", "turn_started", "message_sent", "model_failed", "model_reply", "message_placed"),
        "run_finished",
    ]
    assert [each.failure for each in of(ev.ModelFailed, events)] == ["Cancelled"]


async def test_a_session_tells_its_messages_in_order(make_lab: MakeLab) -> None:
    """H2: of a session each message is told when it is taken and when it is answered, with its reply in between; the
    session began once."""
    lab = await make_lab([Agent("desk", model="m")], script=[Reply(text("one")), Reply(text("two"))])
    session = lab.hf.session(f"talk-{lab.task_queue}", agent="desk")
    for said in ("first", "second"):
        await (await session.send(said)).output()
    run = lab.watch(lab.hf.run(session.id))
    events = await so_far(run)
    answer = ["message_sent", "message_placed", "turn_started", "model_reply", "message_answered"]
    assert [kind for kind in types(events) if kind not in ("status", "run_started")] == answer * 2
    assert types(events).count("run_started") == 1
    assert [each.input for each in of(ev.MessageSent, events)] == ["first", "second"]
    replies = {each.block: each.text for each in of(ev.ModelReplied, events)}
    answered = of(ev.MessageAnswered, events)
    assert [(each.status, replies[str(each.block)]) for each in answered] == [("answered", "one"), ("answered", "two")]
    assert [each.message for each in answered] == [each.message for each in of(ev.MessageSent, events)]
