"""Records one history of each wait state: ``make record`` writes those that are missing beside this file.

They are kept for good, in a folder for each release: a run that waits under one must go on under every later one. A new
wait state is a new scene here, recorded into the folder of the release under way; what is recorded stays as it is.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import tempfile
from collections.abc import Awaitable, Callable
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from temporalio.client import Client
from temporalio.common import RetryPolicy
from temporalio.testing import WorkflowEnvironment

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from handfast import (  # noqa: E402
    Agent,
    Answer,
    Approval,
    Approve,
    Changed,
    Compact,
    Escalation,
    Notification,
    Opinion,
    ReviewInput,
    Run,
    RunAgain,
    Signer,
    Tool,
    handoff,
    hosted_mcp,
    messages_only,
    question,
    tool,
)
from handfast.activities.model import call_model  # noqa: E402
from handfast.history.chain import chain_of  # noqa: E402
from handfast.history.reader import history_of  # noqa: E402
from handfast.server import EmbeddedServer, find_binary  # noqa: E402
from handfast.testing import Compacted, Fail, Gate, Hang, Lab, Reply, call, mcp_approval, refusal, text  # noqa: E402
from handfast.workflows.tasks import timeouts  # noqa: E402
from replay import asked, served  # noqa: E402
from support.evidence import logged  # noqa: E402
from support.signing import ring, signed  # noqa: E402
from support.two_runs import TwoRuns  # noqa: E402

RELEASE = version("handfast")
DONE = Reply(text("done"))
GATEWAY = Signer.generate(method="gateway")
started = asyncio.Event()


@tool(approval=True)
async def wipe(target: str) -> str:
    """Delete a target."""
    return f"wiped {target}"


@tool(approval=Approval(deadline=timedelta(days=3), on_deadline="fail"))
async def pay(amount: int) -> str:
    """Pay an amount."""
    return f"paid {amount}"


@tool(approval=Approval(approvers=["ann", "group:finance"], quorum=2, exclude_requester=True))
async def transfer(amount: int) -> str:
    """Transfer an amount."""
    return f"transferred {amount}"


@tool(effect="read_only")
async def look(check: str) -> str:
    """Look at something."""
    return f"{check} is fine"


@tool
async def hang() -> str:
    """Never end by itself."""
    started.set()
    await asyncio.Event().wait()
    return "never"


@tool(timeout=timedelta(seconds=0.2), on_unknown="ask")
async def lose() -> str:
    """End with an unknown outcome."""
    await asyncio.Event().wait()
    return "never"


@tool
async def break_down() -> str:
    """Raise."""
    raise OSError("no disk")


TOOLS: list[Tool] = [wipe, pay, transfer, look, hang, lose, break_down]
desk = Agent("desk", instructions="Help.", model="m", tools=TOOLS)
older = Agent("desk", instructions="Help.", model="m")
frugal = Agent("frugal", instructions="Be brief.", model="m", tools=[look], max_turns=1, on_limit="ask")
front = Agent(
    "front",
    instructions="Greet.",
    model="m",
    tools=[desk.as_tool("ask_desk"), question(name="ask_person")],
    handoffs=[handoff(desk, filter=messages_only, approval=True)],
    input_guardrails=[lambda _context, _items: None],
)


async def stall(_context: Any, _what: Any) -> Any:
    """Never end by itself, whatever it is asked."""
    started.set()
    await asyncio.Event().wait()


stalling = [
    Agent("stalled_guard", model="m", output_guardrails=[stall]),
    Agent("stalled_limit", model="m", tools=[look], max_turns=1, on_max_turns=stall),
    Agent("stalled_wording", model="m", tools=[wipe], rejection_text=stall),
]
"""Agents whose own functions are being asked something."""
answered: list[str] = []
"""What the teller's functions were asked before: each answers once, and then never ends."""


async def once(what: str, answer: Any) -> Any:
    """Answer the first time."""
    if what in answered:
        await stall(None, None)
    answered.append(what)
    return answer


async def still(_context: Any, _arguments: Any) -> Any:
    """Say that the world has changed."""
    return await once("revalidate", Changed("the rate is another", before=1, now=2))


async def took_no_effect(_context: Any) -> Any:
    """Say that the call may run again."""
    return await once("verify", RunAgain())


async def tell(notification: Notification) -> None:
    """Fail to tell of what opens, and never come back from telling of an escalation."""
    if notification.what == "opened":
        raise ConnectionError("the pager is away")
    if notification.what == "escalated":
        await stall(None, None)


@tool(approval=True, revalidate=still)
async def exchange(amount: int) -> str:
    """Exchange an amount."""
    return f"exchanged {amount}"


@tool(timeout=timedelta(seconds=0.2), verify=took_no_effect)
async def charge(amount: int) -> str:
    """End with an unknown outcome."""
    await asyncio.Event().wait()
    return "never"


@tool(
    approval=Approval(
        remind=[timedelta(seconds=0.3)], escalate=[Escalation(timedelta(seconds=0.6), ["boss"])], approvers=["ann"]
    )
)
async def lend(amount: int) -> str:
    """Lend an amount."""
    return f"lent {amount}"


@tool(approval=Approval(deadline=timedelta(seconds=0.4), on_deadline="reject"))
async def give(amount: int) -> str:
    """Give an amount away."""
    return f"gave {amount}"


async def judge(_context: Any, review: ReviewInput) -> Opinion:
    """Leave small loans to people, approve the next ones, and never end over a large one."""
    if review.arguments["amount"] > 100:
        await stall(None, None)
    verdict: Literal["approve", "leave"] = "leave" if review.arguments["amount"] < 10 else "approve"
    return Opinion(verdict, "by its amount")


@tool(approval=Approval(review=judge))
async def insure(amount: int) -> str:
    """Insure an amount."""
    return f"insured {amount}"


insurer = Agent("insurer", model="m", tools=[insure])
teller = Agent("teller", model="m", tools=[exchange, charge, lend, give])
hoster = Agent("hoster", model="m", tools=[hosted_mcp("files", server_url="https://files.example/mcp")])
thinker = Agent("thinker", instructions="Think.", model="m", background=True)
keeper = Agent("keeper", model="m", tools=[wipe, look], compaction=Compact(at_tokens=1, keep_turns=0))
AGENTS = [desk, frugal, front, thinker, keeper, *stalling, hoster, teller, insurer, *asked.AGENTS, *served.AGENTS]
STARTED_WITH = {
    "nested": "front",
    "handed_over": "front",
    "questioned": "front",
    "budget": "frugal",
    "underway": "thinker",
    "compacting": "keeper",
    "compacted": "keeper",
    "checking": "stalled_guard",
    "closing": "stalled_limit",
    "wording": "stalled_wording",
    "hosted_mcp": "hoster",
    "revalidated": "teller",
    "verified": "teller",
    "escalated": "teller",
    "uncompacted": "keeper",
    "reviewing": "insurer",
    **asked.STARTED_WITH,
    **served.STARTED_WITH,
}
"""Scenes that begin with another agent than the desk."""
OPTIONS: dict[str, dict[str, Any]] = {
    "carried": {"segment_events": 40},
    "packed": {"segment_events": 40},
    "kept": {"history": "conversation"},
}
"""How a scene's run is started, beside its agent."""
LABS: dict[str, dict[str, Any]] = {
    "escalated": {"notify": tell},
    "signed": {"trusted_keys": ring(GATEWAY), "signer": GATEWAY},
}
"""What a scene's lab has besides."""

LONG = {"stuck"}
"""Scenes that take minutes."""

GROUPS = {"finance": ["bob", "carl"]}

WIPE = call("wipe", {"target": "temp"}, "c1")
Scene = tuple[list[Any], Callable[[Lab, Run], Awaitable[None]]]


async def until(lab: Lab, run: Run, field: str) -> None:
    """Wait until the history has an event with *field*."""
    async for event in history_of(lab.client.get_workflow_handle(run.id), wait=True):
        if event.HasField(field):  # type: ignore[arg-type]
            return


async def thinking(lab: Lab, run: Run) -> None:
    """A model call is under way."""
    await lab.model.wait_for_request(1)


async def asking(lab: Lab, run: Run) -> None:
    """Approvals are open, a free call has ended."""
    await lab.open_requests(run, 2)
    await until(lab, run, "activity_task_completed_event_attributes")


async def deadline(lab: Lab, run: Run) -> None:
    """An approval with a deadline is open."""
    await lab.next_request(run)


async def running(lab: Lab, run: Run) -> None:
    """A tool is running."""
    await asyncio.wait_for(started.wait(), 30)


async def in_doubt(lab: Lab, run: Run) -> None:
    """A call's outcome is unknown, a person is asked."""
    await lab.next_request(run)


async def backoff(lab: Lab, run: Run) -> None:
    """No worker has the tool; the run waits before it tries again."""
    request = await lab.next_request(run)
    await lab.stop_worker()
    await lab.start_worker([older])
    await run.approve(request, decided_by="lead")
    await until(lab, run, "timer_started_event_attributes")


async def decided(lab: Lab, run: Run) -> None:
    """Approved with edited arguments, answered, rejected, refused by signal; completed."""
    first, second, third = await lab.open_requests(run, 3)
    handle = lab.client.get_workflow_handle(run.id)
    await handle.signal("approve", args=["too", "many"])
    await handle.signal("approve", "no such request")
    await run.decide(first, Approve(arguments={"target": "logs"}), decided_by="lead", decision_id="edit")
    await run.decide(second, Answer(output="paid by hand"), decided_by="lead", decision_id="answer")
    await handle.signal("reject", {"id": third.id, "reason": "keep it", "decided_by": "lead"})
    await run.result()


async def repeated(lab: Lab, run: Run) -> None:
    """Looks that started nothing have ended, and an approval came by update and again by signal; another call waits."""
    first, _ = await lab.open_requests(run, 2)
    await run.approve(first, decided_by="lead", decision_id="click")
    click = {"id": first.id, "decided_by": "lead", "decision_id": "click", "verdict": {"kind": "approve"}}
    await lab.client.get_workflow_handle(run.id).signal("decide", click | {"digest": first.digest})
    await logged(lab, run, "repeated", 1)
    await until_settled(lab, run)


async def voted(lab: Lab, run: Run) -> None:
    """Voted on after a lookup of groups, edited, and voted on anew: one more vote is needed."""
    request = await lab.next_request(run)
    await run.approve(request, decided_by="bob")
    edit = await run.approve(request, decided_by="ann", arguments={"amount": 5})
    assert edit.asked_again is not None
    await run.approve(edit.asked_again, decided_by="carl")


async def remembered(lab: Lab, run: Run) -> None:
    """An approval for the tool closed a sibling and released a later call; another tool's call waits."""
    first, _ = await lab.open_requests(run, 2)
    await run.approve(first, decided_by="lead", remember="tool")
    async for request in run.requests():
        if request.tool == "pay":
            return


async def nested(lab: Lab, run: Run) -> None:
    """Two nested agents run, behind a guardrail: one has been approved and has ended, the other one waits."""
    requests = await lab.open_requests(run, 2)
    await run.approve(requests[0], decided_by="lead")
    await until_settled(lab, run)


async def handed_over(lab: Lab, run: Run) -> None:
    """A gated handoff took place, its filter said what is seen, and the next agent's call waits."""
    await run.approve(await lab.next_request(run), decided_by="lead")
    async for request in run.requests():
        if request.tool == "wipe":
            return


async def questioned(lab: Lab, run: Run) -> None:
    """A person was asked and has answered; another question waits."""
    first = await lab.next_request(run)
    await run.answer(first, "the fans", decided_by="rita")
    async for request in run.requests():
        if request.id != first.id:
            return


async def budget(lab: Lab, run: Run) -> None:
    """Out of turns, given more, and out of them again."""
    first = await lab.next_request(run)
    await run.grant(first, turns=1, decided_by="lead")
    async for request in run.requests():
        if request.id != first.id:
            return


async def carried(lab: Lab, run: Run) -> None:
    """A run that went on in a fresh history, where a person is still asked."""
    await asking(lab, run)
    described = await lab.client.get_workflow_handle(run.id).describe()
    async for run_id, _ in chain_of(lab.client, run.id, described.run_id, wait=True):
        if run_id != described.run_id:
            break
        await lab.client.get_workflow_handle(run.id).signal("approve", "nobody-asked-this")
    await until(lab, run, "workflow_task_completed_event_attributes")


async def packed(lab: Lab, run: Run) -> None:
    """A history that was left, with what the model had read kept outside it."""
    await asking(lab, run)
    described = await lab.client.get_workflow_handle(run.id).describe()
    for _ in range(20):
        await lab.client.get_workflow_handle(run.id).signal("approve", "nobody-asked-this")
    async for run_id, _ in chain_of(lab.client, run.id, described.run_id, wait=True):
        if run_id != described.run_id:
            return


async def sent(lab: Lab, run: Run) -> None:
    """Messages: one made a model call again and was read, others wait for an approval, one was refused."""
    await lab.model.wait_for_request(1)
    await run.send("wipe it", when="now", message_id="m1", by="rita")
    await lab.next_request(run)
    handle = lab.client.get_workflow_handle(run.id)
    await run.send("be quick", message_id="m2")
    await handle.signal("send", "and quiet")
    await handle.signal("send", {"text": ""})
    await logged(lab, run, "message_refused", 1)


async def until_settled(lab: Lab, run: Run) -> None:
    """Wait until a call of the run has ended, looking at each event of its history."""
    async for _ in history_of(lab.client.get_workflow_handle(run.id), wait=True):
        if any(call.state == "settled" for call in (await run.status()).calls):
            return


async def failed(lab: Lab, run: Run) -> None:
    """The model refused."""
    await until(lab, run, "workflow_execution_failed_event_attributes")


async def tool_failed(lab: Lab, run: Run) -> None:
    """A tool raised, the model read it, the run completed."""
    await run.result()


async def cancelled(lab: Lab, run: Run) -> None:
    """Cancelled with a request open and a tool running."""
    await lab.next_request(run)
    await asyncio.wait_for(started.wait(), 30)
    await run.cancel("recorded")
    await until(lab, run, "workflow_execution_canceled_event_attributes")


async def underway(lab: Lab, run: Run) -> None:
    """A background response takes longer than one model call waits: the third one waits for it."""
    asked = 0
    async for event in history_of(lab.client.get_workflow_handle(run.id), wait=True):
        asked += event.HasField("activity_task_scheduled_event_attributes")
        if asked == 3:
            return


async def compacting(lab: Lab, run: Run) -> None:
    """The provider makes a conversation short that has two turns, after there was nothing to do for one."""
    asked = 0
    async for event in history_of(lab.client.get_workflow_handle(run.id), wait=True):
        asked += event.HasField("activity_task_scheduled_event_attributes")
        if asked == 6:
            return


async def hosted(lab: Lab, run: Run) -> None:
    """Two agent runs in a user's own workflow, the second one waiting."""
    first = await lab.next_request(run)
    await run.approve(first, decided_by="lead")
    async for request in run.requests():
        if request.id != first.id:
            return


async def talking(lab: Lab, run: Run) -> None:
    """A session has answered a message and failed at one; an approval of the third is open, the fourth waits."""
    session = lab.hf.session(run.id, agent="desk", labels={"team": "it"})
    for message in ("Hello.", "Poison."):
        await (await session.send(message)).result()
    await session.send("Clean up, please.", by="rita")
    await lab.next_request(session)
    await session.send("And hurry.")


async def taking_back(lab: Lab, run: Run) -> None:
    """A message of a session was taken back, the provider keeping the conversation; an approval of the next is open."""
    session = lab.hf.session(run.id, agent="desk", history="conversation")
    for message in ("Hello.", "Clean up."):
        await (await session.send(message)).result()
    await session.take_back(by="rita")
    await session.send("Clean up, please.", by="rita")
    await lab.next_request(session)


async def stalled(lab: Lab, run: Run) -> None:
    """A function of the agent's own is being asked."""
    await asyncio.wait_for(started.wait(), 30)


async def wording(lab: Lab, run: Run) -> None:
    """Rejected; the agent's own words for it are being asked for."""
    await run.reject(await lab.next_request(run), decided_by="lead")
    await asyncio.wait_for(started.wait(), 30)


async def agent_missing(lab: Lab, run: Run) -> None:
    """No worker has the agent any more; the run waits before it tries again."""
    request = await lab.next_request(run)
    await lab.stop_worker()
    await lab.start_worker([keeper])
    await run.approve(request, decided_by="lead")
    await until(lab, run, "timer_started_event_attributes")


async def stuck(lab: Lab, run: Run) -> None:
    """No worker has had the agent for two minutes; a person is told."""
    first = await lab.next_request(run)
    await lab.stop_worker()
    await lab.start_worker([keeper])
    await run.approve(first, decided_by="lead")
    async for request in run.requests():
        if request.id != first.id:
            return


async def revalidated(lab: Lab, run: Run) -> None:
    """Something had changed since an approval; it was approved anew, and the tool is asked again whether that holds."""
    first = await lab.next_request(run)
    await run.approve(first, decided_by="lead")
    async for request in run.requests():
        if request.id != first.id:
            await run.approve(request, decided_by="lead")
            break
    await stalled(lab, run)


async def escalated(lab: Lab, run: Run) -> None:
    """Reminded of, escalated, and people are being told so, which had failed once; another request has expired."""
    await run.raise_limits(turns=5, by="lead")
    for what in ("reminded", "escalated", "expired", "notify_failed"):
        await logged(lab, run, what, 1)
    await stalled(lab, run)


async def signed_for(lab: Lab, run: Run) -> None:
    """A run that takes signed decisions alone: one came as a signal and its call has run, another request waits."""
    first, _ = await lab.open_requests(run, 2)
    handle = lab.client.get_workflow_handle(run.id)
    await handle.signal("approve", first.id)
    await handle.signal("decide", (await signed(lab, run, GATEWAY, first, Approve())).to_wire())
    await until_settled(lab, run)


async def reviewing(lab: Lab, run: Run) -> None:
    """One call was approved by its reviewer and has run, one was left to people, and one is being reviewed."""
    await logged(lab, run, "reviewed", 2)
    await until_settled(lab, run)
    await stalled(lab, run)


async def finished(_lab: Lab, run: Run) -> None:
    """Completed, its archiving started."""
    await run.result()


LOOKING = [Reply(call("look", {"check": name}, name)) for name in ("fans", "disks")]
SCENES: dict[str, Scene] = {
    "thinking": ([Hang()], thinking),
    "asking": ([Reply(WIPE, call("look", {"check": "fans"}, "c2"), call("wipe", {"target": "b"}, "c3"))], asking),
    "deadline": ([Reply(call("pay", {"amount": 7}, "c1"))], deadline),
    "running": ([Reply(call("hang", {}, "c1"))], running),
    "in_doubt": ([Reply(call("lose", {}, "c1"))], in_doubt),
    "backoff": ([Reply(WIPE)], backoff),
    "decided": (
        [
            Reply(WIPE, call("pay", {"amount": 7}, "c2"), call("wipe", {"target": "b"}, "c3"), call("no", {}, "c4")),
            DONE,
        ],
        decided,
    ),
    "repeated": (
        [
            Reply(
                *(call("look", {"check": name}, name) for name in ("fans", "disks", "doors")),
                WIPE,
                call("wipe", {"target": "b"}, "c2"),
            )
        ],
        repeated,
    ),
    "voted": ([Reply(call("transfer", {"amount": 7}, "c1"))], voted),
    "remembered": (
        [
            Reply(WIPE, call("wipe", {"target": "b"}, "c2")),
            Reply(call("wipe", {"target": "c"}, "c3"), call("pay", {"amount": 7}, "c4")),
        ],
        remembered,
    ),
    "nested": (
        [
            Reply(call("ask_desk", {"input": "one"}, "o1"), call("ask_desk", {"input": "two"}, "o2")),
            Reply(WIPE),
            Reply(WIPE),
            DONE,
        ],
        nested,
    ),
    "handed_over": ([Reply(text("over to you"), call("transfer_to_desk", {}, "h1")), Reply(WIPE)], handed_over),
    "questioned": (
        [Reply(call("ask_person", {"question": "What?"}, "q1")), Reply(call("ask_person", {"question": "Why?"}, "q2"))],
        questioned,
    ),
    "budget": ([Reply(call("look", {"check": name}, "c1")) for name in ("fans", "disks")], budget),
    "failed": ([Reply(refusal("I will not"))], failed),
    "tool_failed": ([Reply(call("break_down", {}, "c1")), DONE], tool_failed),
    "cancelled": ([Reply(WIPE, call("hang", {}, "c2"))], cancelled),
    "carried": ([Reply(WIPE, call("look", {"check": "fans"}, "c2"), call("wipe", {"target": "b"}, "c3"))], carried),
    "sent": ([Hang(), Reply(WIPE)], sent),
    "kept": ([Reply(WIPE)], deadline),
    "underway": ([Gate("never", DONE)], underway),
    "compacting": ([*LOOKING, Hang()], compacting),
    "compacted": ([*LOOKING, Compacted(), Reply(WIPE)], deadline),
    "uncompacted": ([*LOOKING, Fail(400), Reply(WIPE)], deadline),
    "packed": (
        [Reply(call("look", {"check": "x" * 9000}, "c0")), Reply(WIPE, call("wipe", {"target": "b"}, "c3"))],
        packed,
    ),
    "archived": ([DONE], finished),
    "archiving": ([DONE], finished),
    "session": ([DONE, Fail(400), Reply(WIPE)], talking),
    "taken_back": ([DONE, DONE, Reply(WIPE)], taking_back),
    "checking": ([DONE], stalled),
    "closing": ([Reply(call("look", {"check": "fans"}, "c1"))], stalled),
    "wording": ([Reply(WIPE)], wording),
    "hosted_mcp": ([Reply(mcp_approval("files", "delete", {"path": "/tmp/x"}, "m1"))], deadline),
    "agent_missing": ([Reply(WIPE)], agent_missing),
    "stuck": ([Reply(WIPE)], stuck),
    "revalidated": ([Reply(call("exchange", {"amount": 7}, "c1"))], revalidated),
    "verified": ([Reply(call("charge", {"amount": 7}, "c1"))], stalled),
    "escalated": ([Reply(call("lend", {"amount": 7}, "c1"), call("give", {"amount": 8}, "c2"))], escalated),
    "signed": ([Reply(WIPE, call("wipe", {"target": "b"}, "c2"))], signed_for),
    "reviewing": ([Reply(*(call("insure", {"amount": each}, f"c{each}") for each in (7, 70, 700)))], reviewing),
    "hosted": ([Reply(WIPE), DONE, Reply(WIPE), Gate("never", DONE)], hosted),
    **asked.SCENES,
    **served.SCENES,
}


def scrubbed(history: str) -> str:
    """Take out where it was recorded: stack traces, identities, build ids."""
    plain = re.sub(r'("stackTrace": )"(?:[^"\\]|\\.)*"', r'\1""', history)
    return re.sub(r'("(?:identity|binaryChecksum|buildId|workerInstanceKey)": )"[^"]*"', r'\1"recorded"', plain)


async def record(client: Client, folder: Path, name: str) -> None:
    """Record one scene."""
    started.clear()
    answered.clear()
    script, play = SCENES[name]
    archive = HERE / "record.py" if name.startswith("archiv") else None  # in the way: nothing can be written there
    given: dict[str, Any] = {"workflows": [TwoRuns], "groups": GROUPS, "archive": archive, **LABS.get(name, {})}
    if name == "packed":
        given["artifacts"] = tempfile.mkdtemp()
    timeouts.NOTIFICATION["retry_policy"] = RetryPolicy(maximum_attempts=1)  # likewise
    async with Lab(AGENTS, script=script, client=client, **given) as lab:
        if name == "hosted":
            handle = await client.start_workflow(TwoRuns.run, "desk", id="hosted", task_queue=lab.task_queue)
            run = lab.watch(lab.hf.run(handle.id))
        elif name in {"session", "taken_back"}:
            run = lab.watch(lab.hf.run(name))  # its first message creates it
        else:
            agent = STARTED_WITH.get(name, "desk")
            if name == "underway":
                call_model.PATIENCE_S = 0.1  # type: ignore[misc] # a recording should not take minutes
            options = {"id": name, "requested_by": "rita", **OPTIONS.get(name, {})}
            run = await lab.start(agent, "Clean up, please", labels={"team": "it"}, **options)
        begun = (await client.get_workflow_handle(run.id).describe()).run_id if name == "packed" else None  # and left
        await play(lab, run)
        handle = client.get_workflow_handle(run.id, run_id=begun)
        if name == "archiving":
            run_id = (await handle.describe()).run_id
            handle = client.get_workflow_handle(f"handfast-archive-{run_id}")
        history = await handle.fetch_history()
        document = json.loads(scrubbed(history.to_json()))
    (folder / f"{name}.json").write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")
    print(f"{name}: {len(document['events'])} events")  # noqa: T201 - a script's progress


async def time_skipping() -> WorkflowEnvironment:
    """A server on which minutes pass at once."""
    return await WorkflowEnvironment.start_time_skipping_v2(
        dev_server_existing_path=str(find_binary()),
        dev_server_extra_args=["--dynamic-config-value", "frontend.WorkflowTimeSkippingEnabled=true"],
    )


async def main() -> None:
    """Record the scenes that were named, else those that no release has recorded."""
    folder = HERE / "histories" / RELEASE
    folder.mkdir(parents=True, exist_ok=True)
    recorded = {path.stem for path in (HERE / "histories").glob("*/*.json")}
    wanted = sys.argv[1:] or [name for name in SCENES if name not in recorded]
    if again := [name for name in wanted if (folder / f"{name}.json").exists()]:
        sys.exit(f"{', '.join(again)}: recorded already, and kept for good; give a changed scene another name")
    async with await EmbeddedServer.start(persistent=False, port=0, ui=False) as server:
        client = await Client.connect(server.address)
        for name in wanted:
            if name not in LONG:
                await record(client, folder, name)
                continue
            async with await time_skipping() as skipping:
                await record(skipping.client, folder, name)  # by it alone, time is skipped


if __name__ == "__main__":
    asyncio.run(main())
