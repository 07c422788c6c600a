"""A reviewer judges a request before a person has to: what it may do, and what it leaves to people."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from typing import Any, Final, cast

import pytest

from handfast import (
    Agent,
    Answer,
    Approval,
    Approve,
    Changed,
    GiveUp,
    Notification,
    Opinion,
    Reject,
    Request,
    ReviewInput,
    Run,
    RunContext,
    handoff,
    hosted_mcp,
    is_sampled,
    tool,
)
from handfast.errors import DecisionInvalidError, RequestClosedError
from handfast.payloads.events import RequestDecided, RequestOpened, RequestReviewed, RequestWithdrawn
from handfast.testing import Lab, Reply, call, mcp_approval, text
from support.evidence import events_of, failed_tasks, logged, plain, send_signal
from support.labs import Effects, MakeLab
from support.long_runs import SHORT, crossing
from support.nested import asked as nested_call
from support.two_runs import TwoRuns
from support.waits import DONE, WIPE, wiper

WAIT_S: Final = 30


def judge(ctx: RunContext, review: ReviewInput) -> Opinion:
    """Approve temporary files."""
    return Opinion("approve", "only temporary files", 0.95)


class Bench:
    """A reviewer that the test holds: it says nothing before it is let.

    Attributes:
        opinion: What it says then.
        asked: What it was asked.
        cancelled: Set once it was told to stop.
    """

    def __init__(self, opinion: Any = None) -> None:
        self.opinion = Opinion("approve", "held", 1.0) if opinion is None else opinion
        self.asked: list[ReviewInput] = []
        self.cancelled = asyncio.Event()
        self.begun = asyncio.Event()
        self.let = asyncio.Event()

    async def held(self, ctx: RunContext, review: ReviewInput) -> Any:
        """Be asked, and wait."""
        self.asked.append(review)
        self.begun.set()
        try:
            await self.let.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return self.opinion

    async def until_asked(self) -> None:
        """Wait until it is asked."""
        await asyncio.wait_for(self.begun.wait(), WAIT_S)
        self.begun.clear()


async def reviews_of(run: Any) -> list[RequestReviewed]:
    """Every review of a run that has ended."""
    return [event async for event in run.events() if isinstance(event, RequestReviewed)]


async def left_of(lab: Lab, run: Any, count: int = 1) -> list[Request]:
    """The requests that wait, once *count* of them were reviewed."""
    await logged(lab, run, "reviewed", count)
    return cast(list[Request], await run.pending())


@pytest.mark.quick
async def test_a_reviewer_approves_before_a_person_does(make_lab: MakeLab, effects: Effects) -> None:
    """A reviewer's approval lets the call run, is recorded under its name with its reason, and stands in the events."""
    lab = await make_lab([wiper(effects, Approval(review=judge))], script=[WIPE, DONE], max_cached_workflows=0)
    run = await lab.start("desk", "clean up")
    assert (await run.result()).output == "done"
    assert effects == ["wipe t"]
    [decided] = await logged(lab, run, "decided", 1)
    assert (decided.verdict, decided.by, decided.why) == ("approve", "reviewer:judge", "only temporary files")
    [reviewed] = await reviews_of(run)
    assert (reviewed.by, reviewed.verdict, reviewed.confidence, reviewed.left) == (
        "reviewer:judge",
        "approve",
        0.95,
        None,
    )
    assert [(each.role, each.text) for each in reviewed.messages] == [("user", "clean up")]
    assert await failed_tasks(lab, run) == 0


async def test_a_reviewer_rejects_and_the_model_reads_why(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """A rejected call never runs: the agent's model reads the reviewer's reason, and tries another way."""

    async def strict(ctx: RunContext, review: ReviewInput) -> Opinion:
        return Opinion("reject", f"{review.arguments['target']} is needed", 0.9)

    lab = await make_lab([wiper(effects, Approval(review=strict))], script=[WIPE, DONE], max_cached_workflows=cache)
    run = await lab.start("desk")
    await run.result()
    assert effects == []
    assert lab.model.requests[-1].tool_outputs == {"c1": "t is needed"}
    [decided] = await logged(lab, run, "decided", 1)
    assert (decided.verdict, decided.by) == ("reject", "reviewer:strict")


# --- what it leaves to people ---


async def raises(ctx: RunContext, review: ReviewInput) -> Opinion:
    """Raise."""
    raise LookupError("no policy for this")


async def exits(ctx: RunContext, review: ReviewInput) -> Opinion:
    """Try to end the worker."""
    raise SystemExit(3)


async def hangs(ctx: RunContext, review: ReviewInput) -> Opinion:
    """Never answer."""
    await asyncio.Event().wait()
    raise AssertionError


def blocks(ctx: RunContext, review: ReviewInput) -> Opinion:
    """Never answer, in a thread."""
    threading.Event().wait(20)
    raise AssertionError


def babbles(ctx: RunContext, review: ReviewInput) -> Any:
    """Answer what is no opinion."""
    return {"verdict": "approve", "confidence": 1.0}


def oversteps(ctx: RunContext, review: ReviewInput) -> Opinion:
    """Make an opinion that cannot be."""
    return Opinion(cast(Any, "answer"), "I am the person", 7)


def unsure(ctx: RunContext, review: ReviewInput) -> Opinion:
    """Be unsure."""
    return Opinion("approve", "perhaps", 0.5)


def silent(ctx: RunContext, review: ReviewInput) -> None:
    """Leave it to people."""


def tampers(ctx: RunContext, review: ReviewInput) -> Opinion:
    """Change what it was shown, and approve that."""
    review.arguments["target"] = "everything"
    assert review.request.arguments is not None
    review.request.arguments["target"] = "everything"
    return Opinion("leave", "changed it", 1.0)


SHORT_TIME: Final = timedelta(seconds=0.3)
ENDINGS: Final[dict[str, tuple[Approval, str, str | None, str | None]]] = {
    "raises": (Approval(review=raises), "failed", None, "the reviewer raised LookupError"),
    "exits": (Approval(review=exits), "failed", None, "the reviewer raised SystemExit"),
    "hangs": (Approval(review=hangs, review_timeout=SHORT_TIME), "failed", None, "the reviewer took longer than 0.3 s"),
    "blocks": (
        Approval(review=blocks, review_timeout=SHORT_TIME),
        "failed",
        None,
        "the reviewer took longer than 0.3 s",
    ),
    "babbles": (Approval(review=babbles), "failed", None, "the reviewer answered dict, not an Opinion or None"),
    "oversteps": (Approval(review=oversteps), "failed", None, "the reviewer raised DefinitionError"),
    "silent": (Approval(review=silent), "undecided", "leave", None),
    "unsure": (Approval(review=unsure), "low_confidence", "approve", None),
    "sure": (Approval(review=judge, min_confidence=0.99), "low_confidence", "approve", None),
    "tampers": (Approval(review=tampers), "undecided", "leave", None),
    "not_allowed": (Approval(review=judge, review_may=["reject"]), "not_allowed", "approve", None),
    "quorum": (Approval(review=judge, quorum=2), "people_required", "approve", None),
    "other_person": (Approval(review=judge, exclude_requester=True), "people_required", "approve", None),
    "approvers": (Approval(review=judge, approvers=["lead"]), "people_required", "approve", None),
    "group": (Approval(review=judge, approvers=["group:staff"]), "people_required", "approve", None),
    "sampled": (Approval(review=judge, sample=1.0), "sampled", "approve", None),
}


def gated(name: str, approval: Any, effects: Effects) -> Any:
    """A tool with an approval rule."""

    @tool(name=name, approval=approval)
    async def wipe(target: str) -> str:
        """Delete a target."""
        effects.append(f"{name} {target}")
        return f"wiped {target}"

    return wipe


async def test_whatever_it_does_else_people_decide(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """A reviewer that raises, exits, hangs, blocks its thread, answers nonsense, is unsure, is not allowed to, or may
    not count decides nothing: nothing runs, one sentence with the request says why, and people decide."""
    agent = Agent("desk", model="m", tools=[gated(name, each[0], effects) for name, each in ENDINGS.items()])
    calls = Reply(*(call(name, {"target": "t"}, name) for name in ENDINGS))
    lab = await make_lab([agent], script=[calls, DONE], groups={"staff": ["lead"]}, max_cached_workflows=cache)
    run = await lab.start("desk", requested_by="rita")
    requests = await left_of(lab, run, len(ENDINGS))
    assert effects == []
    found = {}
    for each in requests:
        assert each.review is not None
        found[each.tool] = (each.review.left, each.review.verdict, each.review.problem)
    assert found == {name: ending[1:] for name, ending in ENDINGS.items()}
    events = {event.tool: event async for event in _first_reviews(run, len(ENDINGS))}
    assert {name: (event.left, event.verdict) for name, event in events.items()} == {
        name: ending[1:3] for name, ending in ENDINGS.items()
    }
    assert events["raises"].why == "the reviewer raised LookupError"
    assert events["unsure"].why == "perhaps"
    for each in requests:
        await run.approve(each, decided_by="lead")
    await run.approve(next(each for each in requests if each.tool == "quorum"), decided_by="ann")
    await run.result()
    assert sorted(effects) == sorted(f"{name} t" for name in ENDINGS)
    assert {each.by for each in await logged(lab, run, "decided", len(ENDINGS))} == {"lead", "ann"}
    assert await failed_tasks(lab, run) == 0


async def _first_reviews(run: Run, count: int) -> Any:
    async for event in run.events():
        if isinstance(event, RequestReviewed):
            yield event
            count -= 1
            if not count:
                return


# --- a person is first ---


@pytest.mark.parametrize("verdict", [Approve(), Reject(reason="no"), Answer(output="by hand")], ids=lambda v: v.kind)
async def test_a_person_who_is_first_cancels_the_review(
    make_lab: MakeLab, effects: Effects, cache: int, verdict: Any
) -> None:
    """A person decides while the reviewer is at it: that counts, the reviewer is told to stop, and says nothing."""
    bench = Bench()
    agent = wiper(effects, Approval(review=bench.held))
    lab = await make_lab([agent], script=[WIPE, DONE], max_cached_workflows=cache)
    run = await lab.start("desk")
    request = await lab.next_request(run)
    assert request.review is not None
    assert request.review.is_under_way
    await bench.until_asked()
    await run.decide(request, verdict, decided_by="lead")
    await run.result()
    await asyncio.wait_for(bench.cancelled.wait(), WAIT_S)
    assert effects == (["wipe t"] if verdict.kind == "approve" else [])
    assert [each.by for each in await logged(lab, run, "decided", 1)] == ["lead"]
    assert await reviews_of(run) == []


async def test_a_person_who_is_second_is_told_who_was_first(make_lab: MakeLab, effects: Effects) -> None:
    """A decision after the reviewer's is refused, and names the reviewer; the call runs once."""
    agent = wiper(effects, Approval(review=judge))
    lab = await make_lab([agent], script=[WIPE, Reply(call("wipe", {"target": "u"}, "c2")), DONE])
    run = await lab.start("desk")
    [first] = [event.request async for event in _opened(run)]
    await logged(lab, run, "decided", 1)
    with pytest.raises(RequestClosedError, match=r"\(approve\) by reviewer:judge"):
        await run.reject(first, decided_by="lead")
    await run.result()
    assert effects == ["wipe t", "wipe u"]
    assert len(await reviews_of(run)) == 2  # what it approved before answers no later call


async def _opened(run: Run) -> Any:
    async for event in run.events():
        if event.type == "request_opened":
            yield event
            return


async def test_a_review_ends_with_its_request(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """The deadline passes, the call is cancelled, or the run is, while a reviewer is at it: it is told to stop."""
    slow, dropped, last = Bench(), Bench(), Bench()
    tools = [
        gated("slow", Approval(review=slow.held, deadline=timedelta(seconds=0.5), on_deadline="reject"), effects),
        gated("dropped", Approval(review=dropped.held), effects),
        gated("last", Approval(review=last.held), effects),
    ]
    calls = Reply(*(call(name, {"target": "t"}, name) for name in ("slow", "dropped", "last")))
    lab = await make_lab([Agent("desk", model="m", tools=tools)], script=[calls, DONE], max_cached_workflows=cache)
    run = await lab.start("desk")
    for each in (slow, dropped, last):
        await each.until_asked()
    await run.cancel_call("dropped", by="rita")
    await asyncio.wait_for(dropped.cancelled.wait(), WAIT_S)
    await logged(lab, run, "expired", 1)
    await asyncio.wait_for(slow.cancelled.wait(), WAIT_S)
    await run.cancel("enough")
    await asyncio.wait_for(last.cancelled.wait(), WAIT_S)
    assert effects == []
    assert await reviews_of(run) == []
    assert [event.tool async for event in run.events() if isinstance(event, RequestWithdrawn)] == ["dropped", "last"]
    assert await failed_tasks(lab, run) == 0


# --- nobody else decides in its name ---


async def test_nobody_decides_in_the_name_of_a_reviewer(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """Updates and signals in the name of the very reviewer that is asked are refused, and change nothing."""
    bench = Bench()
    agent = wiper(effects, Approval(review=bench.held), max_turns=5)
    lab = await make_lab([agent], script=[WIPE, DONE], max_cached_workflows=cache)
    run = await lab.start("desk")
    request = await lab.next_request(run)
    await bench.until_asked()
    for name in ("reviewer:held", "Reviewer:Held", "user:reviewer:held", "reviewer:somebody"):
        with pytest.raises(DecisionInvalidError, match="say which person it is"):
            await run.approve(request, decided_by=name)
    with pytest.raises(DecisionInvalidError, match="by names a reviewer"):
        await run.raise_limits(turns=5, by="reviewer:held")
    with pytest.raises(DecisionInvalidError, match="by names a reviewer"):
        await run.cancel_call("c1", by="reviewer:held")
    forged = {"id": request.id, "digest": request.digest, "decided_by": "reviewer:held"}
    await send_signal(lab, run, "approve", [plain(forged)])
    await send_signal(lab, run, "decide", [plain({**forged, "verdict": {"kind": "approve"}})])
    assert len(await logged(lab, run, "refused", 2)) == 2
    assert [each.id for each in await run.pending()] == [request.id]
    assert effects == []
    bench.opinion = Opinion("reject", "mine", 1.0)
    bench.let.set()
    await run.result()
    assert effects == []
    assert [(each.verdict, each.by) for each in await logged(lab, run, "decided", 1)] == [("reject", "reviewer:held")]


# --- what it sees ---


async def test_it_sees_the_call_whole_and_the_conversation_by_its_parts(make_lab: MakeLab, effects: Effects) -> None:
    """A reviewer is shown request, tool, whole arguments and the conversation, each part by its start; the events hold
    what it saw of the conversation, and what it says is held to its first 600 characters."""
    bench = Bench(Opinion("leave", "x" * 5000, 1.0))
    bench.let.set()

    @tool
    async def read() -> str:
        """Read a page."""
        return "y" * 3000

    wipe = gated("wipe", Approval(review=bench.held, reason="it is large"), effects)
    agent = Agent("desk", model="m", tools=[wipe, read])
    large = "z" * 200_000
    script = [Reply(text("first I read"), call("read", {}, "r1")), Reply(call("wipe", {"target": large}, "c1")), DONE]
    lab = await make_lab([agent], script=script)
    run = await lab.start("desk", "clean up", requested_by="rita")
    [request] = await left_of(lab, run)
    [seen] = bench.asked
    assert (seen.tool, seen.arguments, seen.agent_path) == ("wipe", {"target": large}, ("desk",))
    assert (seen.request.id, seen.request.reason, seen.request.requested_by) == (request.id, "it is large", "rita")
    assert [(each.role, each.text[:13], len(each.text)) for each in seen.messages] == [
        ("user", "clean up", 8),
        ("assistant", "first I read", 12),
        ("assistant", "calls read wi", 18),
        ("tool", "y" * 13, 1001),
    ]
    assert request.review is not None
    assert request.review.reason == "x" * 600
    await run.reject(request, decided_by="lead")
    await run.result()
    [event] = await reviews_of(run)
    assert event.messages == list(seen.messages)


async def test_what_it_does_with_what_it_sees_changes_nothing(make_lab: MakeLab, effects: Effects) -> None:
    """A reviewer that changes the arguments it was shown, and approves, approves what was asked."""

    def meddles(ctx: RunContext, review: ReviewInput) -> Opinion:
        review.arguments["target"] = "everything"
        return Opinion("approve", "changed it", 1.0)

    lab = await make_lab([wiper(effects, Approval(review=meddles))], script=[WIPE, DONE])
    run = await lab.start("desk")
    await run.result()
    assert effects == ["wipe t"]


# --- where requests come from ---


async def test_every_kind_of_call_can_be_reviewed(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """Calls of nested agents, agents as tools, handoffs and the provider's MCP servers have reviewers too, who are
    shown the agents that lead there; a rule that is a function names one for the very call."""
    seen: list[tuple[str, tuple[str, ...]]] = []

    def clerk(ctx: RunContext, review: ReviewInput) -> Opinion:
        seen.append((review.tool, review.agent_path))
        return Opinion("approve", "routine", 1.0)

    def rule(ctx: RunContext, arguments: Any) -> Approval:
        return Approval(review=clerk)

    inner = Agent("auditor", model="m", tools=[gated("wipe_auditor", rule, effects)])
    files = hosted_mcp("files", server_url="https://files.example/mcp", approval=Approval(review=clerk))
    last = Agent("closer", model="m", tools=[files])
    outer = Agent(
        "triage",
        model="m",
        tools=[inner.as_tool(approval=Approval(review=clerk))],
        handoffs=[handoff(last, approval=Approval(review=clerk))],
    )
    script = [
        Reply(call("auditor", {"input": "audit"}, "o1")),
        nested_call(),
        Reply(text("audited")),
        Reply(call("transfer_to_closer", {}, "h1")),
        Reply(mcp_approval("files", "delete", {"path": "/tmp/x"}, "mcpr_1")),
        DONE,
    ]
    lab = await make_lab([outer], script=script, max_cached_workflows=cache)
    run = await lab.start("triage")
    assert (await run.result()).output == "done"
    assert seen == [
        ("auditor", ("triage",)),
        ("wipe_auditor", ("triage", "auditor")),
        ("transfer_to_closer", ("triage",)),
        ("files.delete", ("closer",)),
    ]
    assert effects == ["wipe_auditor t"]
    assert {each.by for each in await logged(lab, run, "decided", 4)} == {"reviewer:clerk"}
    assert await failed_tasks(lab, run) == 0


async def test_a_session_and_a_workflow_of_ones_own_have_reviewers(make_lab: MakeLab, effects: Effects) -> None:
    """Reviewers judge requests of sessions, and of agents in the user's own workflow."""
    agent = wiper(effects, Approval(review=judge))
    lab = await make_lab([agent], script=[WIPE, DONE, WIPE, DONE, WIPE, DONE], workflows=[TwoRuns])
    await (await lab.session("desk").send("clean up")).result()
    assert effects == ["wipe t"]
    handle = await lab.client.start_workflow(TwoRuns.run, "desk", id=f"own-{lab.task_queue}", task_queue=lab.task_queue)
    await handle.result()
    assert effects == ["wipe t"] * 3


# --- and asked anew ---


async def test_arguments_that_a_person_wrote_are_for_another_person(
    make_lab: MakeLab, effects: Effects, cache: int
) -> None:
    """Where an edit is asked about anew, the reviewer says what it thinks of it, and a person decides."""
    bench = Bench()
    agent = wiper(effects, Approval(review=bench.held, on_edit="ask_again"))
    lab = await make_lab([agent], script=[WIPE, DONE], max_cached_workflows=cache)
    run = await lab.start("desk")
    first = await lab.next_request(run)
    await bench.until_asked()
    await run.approve(first, decided_by="mallory", arguments={"target": "logs"})
    await asyncio.wait_for(bench.cancelled.wait(), WAIT_S)
    await bench.until_asked()
    bench.let.set()
    [again] = await left_of(lab, run)
    assert bench.asked[-1].arguments == {"target": "logs"}
    assert again.review is not None
    assert (again.review.left, again.review.verdict, again.editors) == ("people_required", "approve", ["mallory"])
    assert effects == []
    await run.approve(again, decided_by="lead")
    await run.result()
    assert effects == ["wipe logs"]


async def test_an_edit_that_is_accepted_ends_the_review(make_lab: MakeLab, effects: Effects) -> None:
    """A person approves other arguments while the reviewer is at the model's: those of the person run."""
    bench = Bench()
    lab = await make_lab([wiper(effects, Approval(review=bench.held))], script=[WIPE, DONE])
    run = await lab.start("desk")
    request = await lab.next_request(run)
    await bench.until_asked()
    await run.approve(request, decided_by="lead", arguments={"target": "logs"})
    await run.result()
    await asyncio.wait_for(bench.cancelled.wait(), WAIT_S)
    assert effects == ["wipe logs"]


async def test_what_changed_since_its_approval_is_reviewed_anew(
    make_lab: MakeLab, effects: Effects, cache: int
) -> None:
    """The world changed after a reviewer approved: it is shown the difference, and its second word counts."""
    changes = [Changed("the rate is another", before=1, now=2), None]
    seen: list[Any] = []

    def careful(ctx: RunContext, review: ReviewInput) -> Opinion:
        seen.append((review.request.facts or {}).get("changed"))
        return Opinion("approve", "still fine", 1.0)

    @tool(approval=Approval(review=careful), revalidate=lambda ctx, arguments: changes.pop(0))
    async def wipe(target: str) -> str:
        """Delete a target."""
        effects.append(f"wipe {target}")
        return "wiped"

    lab = await make_lab([Agent("desk", model="m", tools=[wipe])], script=[WIPE, DONE], max_cached_workflows=cache)
    run = await lab.start("desk")
    await run.result()
    assert effects == ["wipe t"]
    assert seen[0] is None
    assert (seen[1]["now"], seen[1]["by"]) == (2, "reviewer:careful")
    assert len(await reviews_of(run)) == 2


async def test_doubt_is_for_people(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """A call that a reviewer approved, and whose outcome is unknown, is asked of a person: no reviewer is."""

    @tool(approval=Approval(review=judge), timeout=timedelta(seconds=0.2), on_unknown="ask")
    async def wipe(target: str) -> str:
        """End with an unknown outcome."""
        effects.append(f"wipe {target}")
        await asyncio.Event().wait()
        return "never"

    lab = await make_lab([Agent("desk", model="m", tools=[wipe])], script=[WIPE, DONE], max_cached_workflows=cache)
    run = await lab.start("desk")
    doubt = None
    async for request in run.requests():
        if request.kind == "in_doubt":
            doubt = request
            break
    assert doubt is not None
    assert doubt.review is None
    await run.decide(doubt, GiveUp(), decided_by="lead")
    await run.result()
    assert effects == ["wipe t"]
    assert len(await reviews_of(run)) == 1


async def test_a_standing_decision_of_a_person_ends_reviews_too(make_lab: MakeLab, effects: Effects) -> None:
    """A person approves one of two calls for good: the other one's review ends, and later calls are not reviewed."""
    bench = Bench()
    calls = Reply(call("wipe", {"target": "a"}, "c1"), call("wipe", {"target": "b"}, "c2"))
    later = Reply(call("wipe", {"target": "c"}, "c3"))
    lab = await make_lab([wiper(effects, Approval(review=bench.held))], script=[calls, later, DONE])
    run = await lab.start("desk")
    first, _ = await lab.open_requests(run, 2)
    await run.approve(first, decided_by="lead", remember="tool")
    await run.result()
    assert sorted(effects) == ["wipe a", "wipe b", "wipe c"]
    assert await reviews_of(run) == []


async def test_a_rule_that_names_no_reviewer_any_more_leaves_it_to_people(make_lab: MakeLab, effects: Effects) -> None:
    """A deploy takes the reviewer away, or names another one, while a request waits for a worker: people decide."""
    answers = [Approval(review=judge), Approval(review=unsure)]

    def rule(ctx: RunContext, arguments: Any) -> Approval:
        return answers.pop(0)

    lab = await make_lab([wiper(effects, rule)], script=[WIPE, DONE])
    run = await lab.start("desk")
    [request] = await left_of(lab, run)
    assert request.review is not None
    assert (request.review.by, request.review.left) == ("reviewer:judge", "failed")
    assert request.review.problem == "the reviewer is not there on this worker, or its rule no longer names it"
    await run.reject(request, decided_by="lead")
    await run.result()
    assert effects == []


# --- workers and histories come and go ---


async def test_a_review_outlives_its_worker_and_its_history(make_lab: MakeLab, effects: Effects) -> None:
    """The run goes on in a fresh history and the worker is replaced, each while the reviewer is at it: it is asked
    again, its one decision counts, and the call runs once."""
    bench = Bench()
    lab = await make_lab([wiper(effects, Approval(review=bench.held))], script=[WIPE, DONE], max_cached_workflows=0)
    run = await lab.start("desk", segment_events=SHORT)
    request = await lab.next_request(run)
    await bench.until_asked()
    await crossing(lab, run)
    await bench.until_asked()
    await lab.replace_worker()
    await bench.until_asked()
    assert [each.id for each in await run.pending()] == [request.id]
    bench.let.set()
    await run.result()
    assert effects == ["wipe t"]
    assert {each.request.id for each in bench.asked} == {request.id}
    assert [each.by for each in await logged(lab, run, "decided", 1)] == ["reviewer:held"]


async def test_without_a_worker_that_reviews_people_decide(make_lab: MakeLab, effects: Effects) -> None:
    """A worker that lacks the agent's tool cannot review: within the time of the review people decide."""
    bench = Bench()
    approval = Approval(review=bench.held, review_timeout=timedelta(seconds=1))
    lab = await make_lab([wiper(effects, approval)], script=[WIPE, DONE])
    run = await lab.start("desk")
    await bench.until_asked()
    await lab.stop_worker()
    await lab.start_worker([Agent("desk", model="m")])
    [request] = await left_of(lab, run)
    assert request.review is not None
    assert request.review.left == "failed"
    assert request.review.problem is not None
    assert "took longer than 1 s" in request.review.problem or "Missing" in request.review.problem
    await run.reject(request, decided_by="lead")
    await run.result()
    assert effects == []


async def test_many_requests_are_reviewed_in_their_order(make_lab: MakeLab, effects: Effects) -> None:
    """Of sixty requests twenty are reviewed at a time, and all of them in the end."""
    most = 0
    now = 0

    async def counts(ctx: RunContext, review: ReviewInput) -> Opinion:
        nonlocal most, now
        now += 1
        most = max(most, now)
        await asyncio.sleep(0)
        now -= 1
        return Opinion("approve", "fine", 1.0)

    calls = Reply(*(call("wipe", {"target": f"t{n}"}, f"c{n}") for n in range(60)))
    lab = await make_lab([wiper(effects, Approval(review=counts))], script=[calls, DONE])
    run = await lab.start("desk")
    await run.result()
    assert sorted(effects) == sorted(f"wipe t{n}" for n in range(60))
    assert most <= 20
    scheduled = [each.activity_task_scheduled_event_attributes for each in await events_of(lab, run)]
    assert sum(each.activity_type.name == "handfast.review" for each in scheduled) == 60


# --- people are told ---


async def test_people_are_told_what_a_reviewer_left_to_them(make_lab: MakeLab, effects: Effects) -> None:
    """People hear of a request at once, that it is being reviewed, and what the reviewer thinks once it is theirs; of
    one that the reviewer decides they hear the decision."""
    told: list[Notification] = []

    def notify(notification: Notification) -> None:
        told.append(notification)

    def by_target(ctx: RunContext, review: ReviewInput) -> Opinion:
        verdict = "approve" if review.arguments["target"] == "t" else "leave"
        return Opinion(cast(Any, verdict), "by its target", 1.0)

    calls = [WIPE, Reply(call("wipe", {"target": "u"}, "c2")), DONE]
    lab = await make_lab([wiper(effects, Approval(review=by_target))], script=calls, notify=notify)
    run = await lab.start("desk")
    [request] = await left_of(lab, run, 2)
    await run.approve(request, decided_by="lead")
    await run.result()
    heard = [(each.what, each.verdict, each.by) for each in told]
    assert heard == [
        ("opened", None, None),
        ("decided", "approve", "reviewer:by_target"),
        ("opened", None, None),
        ("reviewed", "leave", "reviewer:by_target"),
        ("decided", "approve", "lead"),
    ]
    for opened in (told[0], told[2]):
        assert opened.request.review is not None
        assert opened.request.review.is_under_way
    assert told[3].request.review is not None
    assert (told[3].request.review.left, told[3].request.review.reason) == ("undecided", "by its target")


# --- the sample ---


async def test_an_auditor_computes_the_sample_from_the_events(make_lab: MakeLab, effects: Effects) -> None:
    """Of forty requests that a reviewer approves those wait for people that the auditor's key draws: which ones follows
    from the events, by the function and the key, and what the reviewer said of them is there all the same."""
    key = b"of the auditors"
    calls = Reply(*(call("wipe", {"target": f"t{n}"}, f"c{n}") for n in range(40)))
    agent = wiper(effects, Approval(review=judge, sample=0.3))
    lab = await make_lab([agent], script=[calls, DONE], sample_key=key)
    run = await lab.start("desk")
    for request in await left_of(lab, run, 40):
        await run.approve(request, decided_by="lead")
    await run.result()
    events = [event async for event in run.events()]
    digests = {event.request.id: event.request.digest for event in events if isinstance(event, RequestOpened)}
    deciders = {event.request: event.by for event in events if isinstance(event, RequestDecided)}
    reviews = [event for event in events if isinstance(event, RequestReviewed)]
    assert len(reviews) == len(digests) == 40
    drawn = {event.request: is_sampled(digests[event.request or ""], 0.3, key) for event in reviews}
    assert set(drawn.values()) == {True, False}  # with forty of them, but for one time in a million
    for event in reviews:
        by_lead = drawn[event.request]
        assert (event.sampled, event.left) == ((True, "sampled") if by_lead else (False, None))
        assert (event.verdict, deciders[event.request]) == ("approve", "lead" if by_lead else "reviewer:judge")
