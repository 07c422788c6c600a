"""Scenario row F8: a long conversation is made short between two turns; where that fails, nothing is lost."""

from __future__ import annotations

from typing import Any

import pytest

from handfast import Agent, Compact, Truncate, tool
from handfast.definitions.agents.registry import Registry
from handfast.errors import DefinitionError, RunCancelledError, RunFailedError
from handfast.testing import Compacted, Fail, Gate, Hang, Lab, Reply, call, compaction, reasoning, text
from handfast.testing.script import Step, Usage
from support.evidence import logged
from support.labs import Effects, MakeLab

DONE = Reply(text("done"))
COMPACT = "/v1/responses/compact"


def long(*outputs: Any) -> Reply:
    """A reply that read so much that the conversation is to be made short."""
    return Reply(*outputs, usage=Usage(5000, 10))


def short(*outputs: Any) -> Reply:
    """A reply that read little."""
    return Reply(*outputs, usage=Usage(100, 10))


def look(place: str, call_id: str) -> Any:
    """The model looks somewhere."""
    return call("look", {"place": place}, call_id)


def desk(effects: Effects, **options: Any) -> Agent:
    """An agent with one gated and one free tool, whose conversations are made short."""

    @tool(effect="read_only", name="look")
    async def look_at(place: str) -> str:
        """Look somewhere."""
        effects.append(place)
        return f"nothing in {place}"

    @tool(approval=True)
    async def wipe(target: str) -> str:
        """Delete a target."""
        effects.append(f"wipe {target}")
        return "wiped"

    options.setdefault("compaction", Compact(at_tokens=1000))
    return Agent("desk", model="m", instructions="You look.", tools=[look_at, wipe], **options)


def sent(lab: Lab, number: int) -> list[str]:
    """What one request carried: the ids of calls and outputs, and else the types."""
    return [item.get("call_id", item["type"]) for item in lab.model.requests[number - 1].body["input"]]


def paths(lab: Lab) -> list[str]:
    """Whether each request asked for a reply or for a compaction."""
    return ["compact" if request.path == COMPACT else "reply" for request in lab.model.requests]


async def test_the_provider_compacts_between_two_turns(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """F8: with the mark passed the provider compacts all but the turn that was not read and one more; the next request
    carries its items verbatim, a restart later too, and the run's transcript still holds everything."""
    lab = await make_lab(
        [desk(effects)],
        script=[
            short(look("a", "c1")),
            short(reasoning("hm"), look("b", "c2")),
            long(look("c", "c3")),
            Compacted(usage=Usage(4000, 50)),
            short(call("wipe", {"target": "t"}, "c4")),
            DONE,
        ],
        max_cached_workflows=cache,
    )
    run = await lab.start("desk", "search")
    request = await lab.next_request(run)
    assert paths(lab) == ["reply", "reply", "reply", "compact", "reply"]
    assert sent(lab, 4) == ["message", "c1", "c1"]
    assert set(lab.model.requests[3].body) == {"model", "input", "instructions"}
    assert sent(lab, 5) == ["message", "compaction", "reasoning", "c2", "c2", "c3", "c3"]
    reply = lab.model.requests[3].reply
    assert reply is not None
    assert lab.model.requests[4].body["input"][:2] == reply["output"]
    await lab.replace_worker()
    await run.approve(request, decided_by="lead")
    result = await run.result()
    assert sent(lab, 6) == ["message", "compaction", "reasoning", "c2", "c2", "c3", "c3", "c4", "c4"]
    assert (result.turns, result.usage.requests, result.usage.input_tokens > 9000) == (5, 6, True)
    whole = await lab.client.get_workflow_handle(run.id).query("transcript", {"whole": True})
    kinds = [item.get("call_id", item["type"]) for block in whole["blocks"] for item in block["items"]]
    assert kinds[:3] == ["message", "c1", "c1"]
    assert kinds.count("compaction") == 1
    assert effects == ["a", "b", "c", "wipe t"]
    assert lab.model.violations == []


async def test_nothing_is_compacted_while_a_call_waits_for_a_person(make_lab: MakeLab, effects: Effects) -> None:
    """F8: the mark is passed by a reply whose call waits for an approval: the compaction waits for its output, and
    leaves it as it is."""
    lab = await make_lab(
        [desk(effects, compaction=Compact(at_tokens=1000, keep_turns=0))],
        script=[short(look("a", "c1")), long(call("wipe", {"target": "t"}, "c2"), look("b", "c3")), Compacted(), DONE],
    )
    run = await lab.start("desk", "search")
    request = await lab.next_request(run)
    await lab.replace_worker()
    assert paths(lab) == ["reply", "reply"]
    await run.approve(request, decided_by="lead")
    await run.result()
    assert paths(lab) == ["reply", "reply", "compact", "reply"]
    assert sent(lab, 4) == ["message", "compaction", "c2", "c3", "c2", "c3"]
    assert lab.model.violations == []


@pytest.mark.parametrize("failure", [Fail(400), Fail(429, code="insufficient_quota")])
async def test_a_compaction_that_fails_leaves_the_conversation_as_it_is(
    make_lab: MakeLab, effects: Effects, failure: Step
) -> None:
    """F8: the provider refuses to compact, or its answer is none: the model reads all of the conversation, the log
    says why, and a later turn tries again and succeeds."""
    agent = desk(effects, compaction=Compact(at_tokens=1000, keep_turns=0))
    lab = await make_lab(
        [agent],
        script=[
            *(long(look("a", "c1")), long(look("b", "c2")), failure),
            *(long(look("c", "c3")), long(look("d", "c4")), Compacted(), DONE),
        ],
    )
    run = await lab.start("desk", "search")
    assert (await run.result()).output == "done"
    assert paths(lab) == ["reply", "reply", "compact", "reply", "reply", "compact", "reply"]
    assert sent(lab, 4) == ["message", "c1", "c1", "c2", "c2"]
    assert sent(lab, 7) == ["message", "compaction", "c4", "c4"]
    [failed] = await logged(lab, run, "compaction_failed", 1)
    assert failed.why is not None
    assert failed.why.startswith("loop 0: ")
    assert len(await logged(lab, run, "compacted", 1)) == 1
    assert effects == ["a", "b", "c", "d"]


async def test_a_cancel_ends_a_compaction_and_the_run(make_lab: MakeLab, effects: Effects) -> None:
    """F8: a run that is cancelled while its conversation is compacted ends at once: the provider's connection is
    closed, and the transcript is as it was."""
    lab = await make_lab(
        [desk(effects)], script=[short(look("a", "c1")), short(look("b", "c2")), long(look("c", "c3")), Hang()]
    )
    run = await lab.start("desk", "search")
    await lab.model.wait_for_request(4)
    await run.cancel()
    await lab.model.wait_for_disconnect(4)
    with pytest.raises(RunCancelledError):
        await run.result()
    left = await lab.client.get_workflow_handle(run.id).query("transcript", {})
    assert [item.get("call_id", item["type"]) for block in left["blocks"] for item in block["items"]] == [
        *("message", "c1", "c1", "c2", "c2", "c3", "c3")
    ]


async def test_a_stop_that_comes_meanwhile_counts(make_lab: MakeLab, effects: Effects) -> None:
    """F8: a run that is told to stop while its conversation is compacted ends after it, without another model call."""
    steps = [
        short(look("a", "c1")),
        short(look("b", "c2")),
        long(text("so far"), look("c", "c3")),
        Gate("on", Compacted()),
    ]
    lab = await make_lab([desk(effects)], script=steps)
    run = await lab.start("desk", "search")
    await lab.model.wait_for_request(4)
    await lab.client.get_workflow_handle(run.id).signal("stop", {"reason": "enough"})
    lab.model.open("on")
    result = await run.result()
    assert (result.output, result.stopped) == ("so far", "enough")
    assert len(lab.model.requests) == 4


async def test_an_agent_may_write_the_summary(make_lab: MakeLab, effects: Effects) -> None:
    """F8: an agent of the user's own reads the conversation as text and sums it up; the next request begins with its
    words, what was not read stays as it was, and its cost counts for the run."""
    scribe = Agent("scribe", model="small", instructions="You sum up.", model_settings={"max_output_tokens": 500})
    lab = await make_lab(
        [desk(effects, compaction=Compact(at_tokens=1000, by=scribe, keep_turns=0))],
        script=[
            *(
                short(reasoning("hm"), look("a", "c1")),
                long(look("b", "c2")),
                Reply(text("Nothing in a."), usage=Usage(50, 5)),
            ),
            *(short(look("c", "c3")), DONE),
        ],
    )
    run = await lab.start("desk", "search everywhere")
    result = await run.result()
    asked = lab.model.requests[2]
    assert (asked.model, asked.instructions, asked.body.get("tools")) == ("small", "You sum up.", None)
    assert asked.body["max_output_tokens"] == 500
    told = asked.body["input"][0]["content"][0]["text"]
    for line in ("user: search everywhere", 'call look: {"place":"a"}', "output: nothing in a"):
        assert line in told
    assert "hm" not in told
    assert sent(lab, 4) == ["message", "c2", "c2"]
    assert lab.model.requests[3].body["input"][0]["content"][0]["text"].endswith("\n\nNothing in a.")
    assert [each.model for each in result.by_request] == ["m", "m", "small", "m", "m"]
    assert lab.model.violations == []


async def test_an_empty_summary_changes_nothing(make_lab: MakeLab, effects: Effects) -> None:
    """F8: a summary that says nothing, or was cut off, would lose the conversation: it is not taken."""
    scribe = Agent("scribe", model="small")
    cut_off = Reply(text("Nothing in"), status="incomplete")
    lab = await make_lab(
        [desk(effects, compaction=Compact(at_tokens=1000, by="scribe", keep_turns=0)), scribe],
        script=[short(look("a", "c1")), long(look("b", "c2")), cut_off, DONE],
    )
    run = await lab.start("desk", "search")
    await run.result()
    assert sent(lab, 4) == ["message", "c1", "c1", "c2", "c2"]
    [failed] = await logged(lab, run, "compaction_failed", 1)
    assert "max_output_tokens" in str(failed.why)


async def test_the_provider_may_compact_within_its_reply(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """F8: with ``by="server"`` each request says so, a reply brings the compaction, and what came before it is no
    longer sent; the call of the same reply gets its output."""
    lab = await make_lab(
        [desk(effects, compaction=Compact(at_tokens=1000, by="server"))],
        script=[
            short(look("a", "c1")),
            long(compaction(), reasoning("hm"), call("wipe", {"target": "t"}, "c2")),
            short(look("b", "c3")),
            DONE,
        ],
        max_cached_workflows=cache,
    )
    run = await lab.start("desk", "search")
    await run.approve(await lab.next_request(run), decided_by="lead")
    assert (await run.result()).output == "done"
    manage = [{"type": "compaction", "compact_threshold": 1000}]
    assert [request.body["context_management"] for request in lab.model.requests] == [manage] * 4
    assert sent(lab, 3) == ["compaction", "reasoning", "c2", "c2"]
    assert sent(lab, 4) == ["compaction", "reasoning", "c2", "c2", "c3", "c3"]
    assert effects == ["a", "wipe t", "b"]
    assert lab.model.violations == []


async def test_a_compaction_goes_where_the_model_calls_go(make_lab: MakeLab, effects: Effects) -> None:
    """F8: a run with a task queue of its own for model calls is compacted there too: its rate limit counts all that
    the provider is asked, and its workers alone may have the key."""
    agent = desk(effects, compaction=Compact(at_tokens=1000, keep_turns=0))
    script = [short(look("a", "c1")), long(look("b", "c2")), Compacted(), DONE]
    models = await make_lab([agent], script=script)
    lab = await make_lab([agent])
    run = await lab.start("desk", model_queue=models.task_queue)
    assert (await run.result()).output == "done"
    assert paths(models) == ["reply", "reply", "compact", "reply"]
    assert lab.model.requests == []


async def test_what_the_provider_keeps_is_not_made_short(make_lab: MakeLab, effects: Effects) -> None:
    """F8: a run whose history the provider keeps refuses an agent that would make another one of it."""
    lab = await make_lab([desk(effects)])
    run = await lab.start("desk", history="chain")
    with pytest.raises(RunFailedError, match="compaction") as failed:
        await run.result()
    assert failed.value.kind == "HistoryExcluded"
    assert lab.model.requests == []


def both() -> None:
    """An agent whose conversations are cut off and made short."""
    desk([], truncation=TRUNCATED)


TRUNCATED: Any = Truncate(keep_turns=5)


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        pytest.param(lambda: Compact(at_tokens=0), "at_tokens", id="no-tokens"),
        pytest.param(lambda: Compact(at_tokens=True), "at_tokens", id="a-bool"),
        pytest.param(lambda: Compact(at_tokens=999, by="server"), "1,000", id="below-the-api"),
        pytest.param(lambda: Compact(at_tokens=1, keep_turns=-1), "keep_turns", id="turns"),
        pytest.param(lambda: Compact(at_tokens=1, by=5), "by must be", id="by-a-number"),  # type: ignore[arg-type]
        pytest.param(both, "compaction or truncation", id="both"),
        pytest.param(lambda: desk([], compaction=1000), "Compact", id="no-rule"),
        pytest.param(
            lambda: desk(
                [],
                compaction=Compact(at_tokens=1000, by="server"),
                model_settings={"context_management": [{"type": "compaction"}]},
            ),
            "context_management",
            id="twice",
        ),
        pytest.param(lambda: Registry([desk([], compaction=Compact(at_tokens=1, by="scribe"))]), "scribe", id="nobody"),
    ],
)
def test_a_compaction_that_cannot_work_is_refused(make: Any, problem: str) -> None:
    """F8: when it is made, when its agent is, or when the agents are brought together."""
    with pytest.raises(DefinitionError, match=problem):
        make()
