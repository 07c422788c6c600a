"""Scenario rows G: the conversation is kept by the model's provider, and each request sends what is new."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import openai
import pytest
from temporalio import workflow

from handfast import (
    Agent,
    AgentHost,
    Chain,
    Compact,
    Conversation,
    HandfastPlugin,
    InProcessDeltas,
    InputGuardrail,
    OutputGuardrail,
    Replace,
    Request,
    Run,
    Truncate,
    handoff,
    messages_only,
    tool,
)
from handfast.errors import DefinitionError, RunFailedError, UsageError
from handfast.models.port import ConversationPort
from handfast.models.responses import ResponsesModel
from handfast.payloads.history import GivenHistory
from handfast.server import EmbeddedServer
from handfast.testing import Drop, Fail, Gate, Lab, Reply, Script, call, reasoning, text
from handfast.testing.script import RecordedRequest, Step, Usage
from support.labs import Effects, MakeLab

DONE = Reply(text("done"))
BOTH = pytest.mark.parametrize("history", ["chain", "conversation"])


def desk(effects: Effects, **options: Any) -> Agent:
    """An agent with one gated and one free tool."""

    @tool(approval=True)
    async def wipe(target: str) -> str:
        """Delete a target."""
        effects.append(f"wipe {target}")
        return f"wiped {target}"

    @tool(effect="read_only")
    async def look(check: str) -> str:
        """Look at something."""
        return f"{check} is fine"

    return Agent("desk", instructions="Help.", model="m", tools=[wipe, look], **options)


def sent(lab: Lab, number: int) -> list[str]:
    """What a request for a response sent itself: types, and for outputs the call's id."""
    return [f"{item['type']} {item.get('call_id', '')}".strip() for item in lab.model.created[number].body["input"]]


def seen(lab: Lab, number: int = -1) -> list[str]:
    """What the model read for a request: all of it, wherever it was kept."""
    return [f"{item['type']} {item.get('call_id', '')}".strip() for item in lab.model.created[number].items]


def wipe(target: str, call_id: str) -> Reply:
    return Reply(reasoning("hm"), call("wipe", {"target": target}, call_id))


ALL_OF_TWO = [
    "message",
    *("reasoning", "function_call w1", "function_call_output w1"),
    *("reasoning", "function_call w2", "function_call_output w2"),
]


async def items_of(lab: Lab, conversation: str) -> list[str]:
    """What the provider keeps of a conversation."""
    async with openai.AsyncOpenAI(base_url=lab.model.base_url, api_key="test") as client:
        listed = client.conversations.items.list(conversation, order="asc", limit=100)
        return [item.type async for item in listed]


@BOTH
async def test_each_request_sends_only_what_is_new(make_lab: MakeLab, effects: Effects, history: GivenHistory) -> None:
    """G1: a chain or a conversation: each request carries the new items alone, and continues what came just before."""
    script = [Reply(reasoning("hm"), call("look", {"check": "fans"}, "l1")), wipe("temp", "w1"), DONE]
    lab = await make_lab([desk(effects)], script=script)
    run = await lab.start("desk", history=history)
    await run.approve(await lab.next_request(run), decided_by="lead")
    assert (await run.result()).output == "done"
    assert [sent(lab, n) for n in range(3)] == [["message"], ["function_call_output l1"], ["function_call_output w1"]]
    assert seen(lab)[-3:] == ["reasoning", "function_call w1", "function_call_output w1"]
    assert len(seen(lab)) == 7
    bodies = [request.body for request in lab.model.created]
    assert all(body["store"] is True for body in bodies)
    kept = (await run.status()).history
    assert kept is not None
    if history == "chain":
        replies = [request.reply["id"] for request in lab.model.created if request.reply]
        assert [body.get("previous_response_id") for body in bodies] == [None, *replies[:2]]
        assert kept.response == replies[2]
    else:
        assert {body["conversation"] for body in bodies} == {kept.conversation}
        assert len(await items_of(lab, str(kept.conversation))) == 8
    assert lab.model.violations == []


async def test_a_run_continues_what_is_there_already(make_lab: MakeLab, effects: Effects) -> None:
    """G1: given a response or a conversation of the provider's, the first request continues it and repeats nothing."""
    lab = await make_lab([desk(effects)], script=[DONE] * 4)
    async with openai.AsyncOpenAI(base_url=lab.model.base_url, api_key="test") as client:
        before = await client.responses.create(model="m", input="earlier")
        conversation = await client.conversations.create(items=[{"role": "user", "content": "earlier"}])
    for history in (Chain(before.id), Conversation(conversation.id)):
        run = await lab.start("desk", "later", history=history)
        assert (await run.result()).output == "done"
        assert lab.model.created[-1].items[0].get("role") == "user"
        assert "earlier" in lab.model.created[-1].text
        assert sent(lab, -1) == ["message"]
    assert len(await items_of(lab, conversation.id)) == 3
    assert lab.model.violations == []


@BOTH
async def test_a_restart_resends_nothing(make_lab: MakeLab, effects: Effects, history: GivenHistory) -> None:
    """G2: after its worker was replaced a run goes on with the new items alone; nothing is there twice."""
    lab = await make_lab([desk(effects)], script=[wipe("temp", "w1"), wipe("logs", "w2"), DONE], max_cached_workflows=0)
    run = await lab.start("desk", history=history)
    for _ in range(2):
        request = await lab.next_request(run)
        await lab.replace_worker()
        await run.approve(request, decided_by="lead")
    await run.result()
    assert [sent(lab, n) for n in range(3)] == [["message"], ["function_call_output w1"], ["function_call_output w2"]]
    assert seen(lab) == ALL_OF_TWO
    assert lab.model.violations == []


async def test_two_approvals_in_consecutive_replies(make_lab: MakeLab, effects: Effects) -> None:
    """G3: the second continuation sends only the second output, and continues the newest response."""
    lab = await make_lab([desk(effects)], script=[wipe("temp", "w1"), wipe("logs", "w2"), DONE])
    run = await lab.start("desk", history="chain")
    first = await lab.next_request(run)
    await run.approve(first, decided_by="lead")
    async for request in run.requests():
        if request.id != first.id:
            await run.approve(request, decided_by="lead")
    await run.result()
    second = lab.model.created[2]
    assert sent(lab, 2) == ["function_call_output w2"]
    newest = lab.model.created[1].reply
    assert newest is not None
    assert second.body["previous_response_id"] == newest["id"]
    assert effects == ["wipe temp", "wipe logs"]


async def test_equal_items_are_all_kept(make_lab: MakeLab, effects: Effects) -> None:
    """G4: calls with equal arguments and outputs of equal text are told apart by their ids; none is dropped as seen."""
    twice = Reply(call("look", {"check": "fans"}, "a1"), call("look", {"check": "fans"}, "a2"))
    again = Reply(call("look", {"check": "fans"}, "a3"), call("look", {"check": "fans"}, "a4"))
    lab = await make_lab([desk(effects)], script=[twice, again, DONE])
    await (await lab.start("desk", history="chain")).result()
    assert sent(lab, 1) == ["function_call_output a1", "function_call_output a2"]
    assert sent(lab, 2) == ["function_call_output a3", "function_call_output a4"]
    assert len(lab.model.created[2].tool_outputs) == 4
    assert lab.model.violations == []


@BOTH
async def test_a_retry_sends_the_same_items_and_is_counted_as_often_as_it_was_paid(
    make_lab: MakeLab, effects: Effects, history: GivenHistory
) -> None:
    """G5: a busy provider, a lost answer: the same items are sent again, nothing is there twice, and usage counts the
    replies that came in."""
    script = [
        Fail(429, retry_after=0.01),
        Reply(reasoning("hm"), call("look", {"check": "fans"}, "l1"), usage=Usage(10, 5)),
        Drop(10, then=Reply(call("look", {"check": "lost"}, "lost"))),
        Reply(text("done"), usage=Usage(20, 5)),
    ]
    lab = await make_lab([desk(effects)], script=script)
    result = await (await lab.start("desk", history=history)).result()
    bodies = [request.content for request in lab.model.created]
    assert len(bodies) == 4
    assert bodies[0] == bodies[1]
    assert bodies[2] == bodies[3]
    assert seen(lab) == ["message", "reasoning", "function_call l1", "function_call_output l1"]
    assert (result.usage.requests, result.usage.total_tokens) == (2, 40)
    assert lab.model.violations == []


async def test_a_locked_conversation_is_waited_for(make_lab: MakeLab, effects: Effects) -> None:
    """G5: while a lost attempt's reply is still being made the conversation is locked; then its items are deleted, and
    the same items are sent again."""
    lost = Gate("lost", Reply(call("wipe", {"target": "lost"}, "lost")))
    lab = await make_lab([desk(effects)], script=[lost, DONE])
    run = await lab.start("desk", history="conversation")
    await created(lab, 1)
    await lab.stop_worker()  # its attempt is cancelled, and the provider goes on with it
    await lab.start_worker()
    await created(lab, 2)
    assert [violation.code for violation in lab.model.violations] == ["conversation_locked"]
    lab.model.open("lost")
    assert (await run.result()).output == "done"
    assert [sent(lab, n) for n in range(3)] == [["message"]] * 3
    assert seen(lab) == ["message"]
    kept = (await run.status()).history
    assert kept is not None
    assert await items_of(lab, str(kept.conversation)) == ["message", "message"]
    assert effects == []


class LateItems:
    """Conversations in which a lost reply comes in just after it was looked for."""

    def __init__(self, conversations: ConversationPort, lab: Lab) -> None:
        self._conversations = conversations
        self._lab = lab
        self._first = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._conversations, name)

    async def items_after(self, conversation: str, item: str | None) -> list[dict[str, Any]]:
        """List what is there, and let the lost reply come in before that is answered."""
        found = await self._conversations.items_after(conversation, item)
        if self._first:
            self._first = False
            self._lab.model.open("lost")
            async with asyncio.timeout(20):
                while not await self._conversations.items_after(conversation, item):
                    pass
        return found


class LateLab(Lab):
    """A lab whose workers have such conversations."""

    def plugin(self) -> HandfastPlugin:
        """A plugin with a model client of its own."""
        assert not isinstance(self._agents, str)
        model = ResponsesModel(self._openai)
        model.conversations = LateItems(model.conversations, self)
        return HandfastPlugin(self._agents, models={"default": model})


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param([Gate("lost", Reply(text("lost"))), Reply(text("misled")), DONE], id="an-answer"),
        pytest.param([Gate("lost", Reply(call("look", {"check": "lost"}, "lost"))), DONE], id="a-call"),
    ],
)
async def test_a_lost_reply_that_comes_late_is_deleted_too(
    server: EmbeddedServer, effects: Effects, steps: list[Step]
) -> None:
    """G5: a lost attempt's reply that comes into the conversation after it was looked for, and before the same items
    are sent again, is noticed: neither an answer nor a call of it counts, and none stays."""
    async with LateLab([desk(effects)], script=steps, server=server) as lab:
        run = await lab.start("desk", history="conversation")
        await created(lab, 1)
        await lab.stop_worker()
        await lab.start_worker()
        assert (await run.result()).output == "done"
        assert seen(lab) == ["message"]
        kept = (await run.status()).history
        assert kept is not None
        assert await items_of(lab, str(kept.conversation)) == ["message", "message"]


async def created(lab: Lab, count: int) -> None:
    """Wait until so many responses were asked for."""
    while len(lab.model.created) < count:
        await lab.model.wait_for_request(len(lab.model.requests) + 1, timeout=60)


@BOTH
async def test_what_the_provider_forgot_is_sent_in_full(
    make_lab: MakeLab, effects: Effects, history: GivenHistory, caplog: pytest.LogCaptureFixture
) -> None:
    """A provider that no longer knows the run's chain or conversation is sent all of it in the same call, and the
    status says so; then it goes on with what is new."""
    lab = await make_lab([desk(effects)], script=[wipe("temp", "w1"), wipe("logs", "w2"), DONE])
    run = await lab.start("desk", history=history)
    first = await lab.next_request(run)
    kept = (await run.status()).history
    assert kept is not None
    lab.model.forget(kept.conversation or kept.response or "")
    await run.approve(first, decided_by="lead")
    async for request in run.requests():
        if request.id != first.id:
            await run.approve(request, decided_by="lead")
    assert (await run.result()).output == "done"
    assert sent(lab, 1) == ["function_call_output w1"]
    assert sent(lab, 2) == ["message", "reasoning", "function_call w1", "function_call_output w1"]
    assert sent(lab, 3) == ["function_call_output w2"]
    assert seen(lab) == ALL_OF_TWO
    anew = (await run.status()).history
    assert anew is not None
    assert anew.rebuilt == 1
    assert len(lab.model.violations) == 1
    assert "is sent in full" in caplog.text


FORGOTTEN: dict[str, tuple[GivenHistory, Fail]] = {
    "without-param": ("conversation", Fail(404, "Conversation with id '{place}' not found.")),
    "without-id": ("conversation", Fail(404, "The requested conversation does not exist.")),
    "by-code": ("conversation", Fail(404, "Not found.", "conversation_not_found")),
    "by-code-as-a-400": ("conversation", Fail(400, "Bad request.", "conversation_not_found")),
    "expired": ("conversation", Fail(400, "{place} has expired", "invalid_value")),
    "inside-a-200": ("conversation", Fail(404, "Conversation with id '{place}' not found.", inside="event")),
    "inside-a-response": ("conversation", Fail(404, "No: conversation '{place}' not found", inside="response")),
    "vllm": ("chain", Fail(404, "Response with id '{place}' not found.", param="response_id")),
    "litellm": ("chain", Fail(400, "litellm.BadRequestError: Previous response with id '{place}' not found.", "400")),
    "response-without-id": ("chain", Fail(404, "The response could not be found.")),
    "detail": ("chain", Fail(400, "Previous response {place} is no longer available")),
}


@pytest.mark.parametrize("name", FORGOTTEN)
@pytest.mark.parametrize("stream", [False, True])
async def test_a_forgotten_history_is_known_however_it_is_said(
    make_lab: MakeLab, effects: Effects, name: str, stream: bool
) -> None:
    """Servers name what they no longer know in many ways: by a code, by its id, or by a sentence alone."""
    history, fail = FORGOTTEN[name]
    steps = iter([Reply(call("look", {"check": "fans"}, "l1")), None, DONE])

    def play(request: RecordedRequest) -> Step:
        place = request.body.get("conversation") or request.body.get("previous_response_id")
        return next(steps) or replace(fail, message=str(fail.message).format(place=place))

    lab = await make_lab([desk(effects)], script=Script.of(play), deltas=InProcessDeltas())
    run = await lab.start("desk", history=history, stream=stream)
    assert (await run.result()).output == "done"
    assert sent(lab, 2) == ["message", "function_call l1", "function_call_output l1"]
    anew = (await run.status()).history
    assert (anew is not None and anew.rebuilt, len(lab.model.created)) == (1, 3)


@pytest.mark.parametrize(
    "fail",
    [
        pytest.param(Fail(404, "The model 'm' does not exist.", "model_not_found"), id="the-model"),
        pytest.param(Fail(404, "Not Found"), id="the-address"),
        pytest.param(Fail(400, "Vector store 'vs_1' not found."), id="a-store"),
        pytest.param(Fail(400, "Invalid conversation"), id="another-refusal"),
    ],
)
async def test_another_refusal_is_no_lost_history(make_lab: MakeLab, effects: Effects, fail: Fail) -> None:
    """What is sent in full is paid in full: only for a history that is gone."""
    lab = await make_lab([desk(effects)], script=[Reply(call("look", {"check": "fans"}, "l1")), fail, DONE])
    with pytest.raises(RunFailedError) as failed:
        await (await lab.start("desk", history="conversation")).result()
    assert (failed.value.kind, len(lab.model.created)) == ("ModelRefused", 2)


@pytest.mark.parametrize("history", [Chain("resp_gone"), Conversation("conv_gone")], ids=["chain", "conversation"])
async def test_what_was_there_before_the_run_cannot_be_made_anew(
    make_lab: MakeLab, effects: Effects, history: GivenHistory
) -> None:
    """A run that is to continue what the provider does not know fails, typed, and the model answers nothing."""
    lab = await make_lab([desk(effects)], script=[DONE])
    run = await lab.start("desk", history=history)
    with pytest.raises(RunFailedError) as failed:
        await run.result()
    assert failed.value.kind == "HistoryLost"
    assert [request.state for request in lab.model.created if request.state == "answered"] == []


@BOTH
async def test_a_reply_that_was_read_otherwise_than_it_came(
    make_lab: MakeLab, effects: Effects, history: GivenHistory
) -> None:
    """A reply that cannot be sent back as it came is put right at the provider as well, so the next one is accepted."""

    @tool(effect="read_only")
    async def time() -> str:
        """Tell the time."""
        return "noon"

    odd = Reply(call("time", "", "t1"), reasoning("trailing"))
    lab = await make_lab([Agent("desk", model="m", tools=[time])], script=[odd, DONE])
    run = await lab.start("desk", history=history)
    assert (await run.result()).output == "done"
    assert seen(lab) == ["message", "function_call t1", "function_call_output t1"]
    assert [item.get("arguments") for item in lab.model.created[1].items] == [None, "{}", None]
    assert lab.model.violations == []


@BOTH
async def test_a_handoff_goes_on_in_the_same_history(make_lab: MakeLab, history: GivenHistory) -> None:
    """The agent that takes over continues the history with its own instructions and tools; a nested agent has one of
    its own, which is sent in full and not stored."""

    @tool(effect="read_only")
    async def look(check: str) -> str:
        """Look at something."""
        return "fine"

    helper = Agent("helper", instructions="Assist.", model="m", tools=[look])
    second = Agent("second", instructions="Finish.", model="m2", tools=[look])
    first = Agent("first", instructions="Begin.", model="m", tools=[helper.as_tool()], handoffs=[second])
    script = [
        Reply(call("helper", {"input": "check"}, "h1")),
        Reply(call("look", {"check": "fans"}, "n1")),
        Reply(text("checked")),
        Reply(call("transfer_to_second", {}, "h2")),
        DONE,
    ]
    lab = await make_lab([first, second, helper], script=script)
    result = await (await lab.start("first", history=history)).result()
    assert (result.agent, result.output) == ("second", "done")
    bodies = [request.body for request in lab.model.created]
    assert [body["store"] for body in bodies] == [True, False, False, True, True]
    assert [(body["model"], body["instructions"]) for body in bodies[3:]] == [("m", "Begin."), ("m2", "Finish.")]
    assert [tool["name"] for tool in bodies[4]["tools"]] == ["look"]
    assert sent(lab, 4) == ["function_call_output h2"]
    assert seen(lab)[-2:] == ["function_call h2", "function_call_output h2"]
    assert lab.model.violations == []


async def test_input_guardrails_come_before_a_kept_history(make_lab: MakeLab) -> None:
    """A blocking guardrail may replace the input: the provider is sent the replacement alone."""
    guard = InputGuardrail(lambda _context, _items: Replace("clean"), parallel=False, name="clean")
    lab = await make_lab([Agent("desk", model="m", input_guardrails=[guard])], script=[DONE])
    await (await lab.start("desk", "dirty", history="conversation")).result()
    assert lab.model.created[0].first_user_text == "clean"
    assert len(lab.model.created) == 1


def guarded(**options: Any) -> list[Agent]:
    return [Agent("desk", model="m", **options), Agent("other", model="m")]


@pytest.mark.parametrize(
    ("agents", "named"),
    [
        pytest.param(
            guarded(output_guardrails=[OutputGuardrail(lambda _context, _output: None, name="polite")]),
            "agent desk has output guardrails",
            id="output-guardrails",
        ),
        pytest.param(
            guarded(handoffs=[handoff("other", filter=messages_only)]),
            "transfer_to_other of desk has a filter",
            id="filter",
        ),
        pytest.param(
            guarded(compaction=Compact(at_tokens=2000)),
            "desk has a compaction, which cannot shorten it; start",
            id="compaction",
        ),
        pytest.param(guarded(truncation=Truncate(keep_turns=2)), "desk has a truncation", id="truncation"),
        pytest.param(
            [Agent("desk", model="m", handoffs=["other"]), Agent("other", model="m", client="elsewhere")],
            "agent other has another model client ('elsewhere')",
            id="client",
        ),
    ],
)
@BOTH
async def test_what_does_not_go_together_fails_before_the_first_call(
    make_lab: MakeLab, agents: list[Agent], named: str, history: GivenHistory
) -> None:
    """G6: an agent, or one it may hand over to, that would change what the provider keeps: one clear error, and the
    model is never called."""
    lab = await make_lab(agents, script=[DONE])
    run = await lab.start("desk", history=history)
    with pytest.raises(RunFailedError, match=named.replace("(", r"\(").replace(")", r"\)")) as failed:
        await run.result()
    assert failed.value.kind == "HistoryExcluded"
    assert lab.model.requests == []


@pytest.mark.parametrize(
    "history",
    [
        {"kind": "chain", "id": "conv_1"},
        {"kind": "conversation", "previous_response_id": "resp_1"},
        {"kind": "both"},
        {"kind": "conversation", "id": ""},
        "chain",
    ],
)
async def test_a_history_is_one_or_the_other(make_lab: MakeLab, effects: Effects, history: Any) -> None:
    """G6: a chain and a conversation at once, or a history of no known kind, is refused when the run starts, also where
    the start did not come from our client."""
    lab = await make_lab([desk(effects)])
    handle = await lab.client.start_workflow(
        "AgentRun",
        {"agent": "desk", "input": "go", "history": history},
        id=f"bad-{lab.task_queue}",
        task_queue=lab.task_queue,
    )
    with pytest.raises(RunFailedError) as failed:
        await lab.watch(lab.hf.run(handle.id)).result()
    assert failed.value.kind == "StartInvalid"
    assert lab.model.requests == []


async def test_a_client_refuses_an_unknown_history(make_lab: MakeLab, effects: Effects) -> None:
    """G6: what is seen from the start alone is refused in the client: nothing is started."""
    lab = await make_lab([desk(effects)])
    unknown: Any = "both"
    with pytest.raises(
        UsageError, match="history must be 'chain' or 'conversation', a Chain or a Conversation, not 'both'"
    ):
        await lab.start("desk", history=unknown)


@pytest.mark.parametrize("setting", [{"store": False}, {"previous_response_id": "r"}, {"conversation": "c"}])
def test_settings_cannot_contradict_the_history(setting: dict[str, Any]) -> None:
    """G6: what decides where the history is kept belongs to the run: an agent that sets it cannot be defined."""
    with pytest.raises(DefinitionError, match="Handfast sets it"):
        Agent("desk", model="m", model_settings=setting)


@pytest.mark.parametrize("history", ["chain", "conversation"])
async def test_a_run_that_goes_on_in_a_fresh_history_keeps_its_place(
    make_lab: MakeLab, effects: Effects, tmp_path: Path, history: GivenHistory
) -> None:
    """Over continue-as-new each request still sends only what is new, also where old blocks were put aside; what the
    provider then forgets is sent in full, put together again."""
    turns = 9
    looks = [Reply(call("look", {"check": f"{n}" * 20_000}, f"l{n}")) for n in range(turns)]
    lab = await make_lab(
        [desk(effects)], script=[*looks, wipe("temp", "w1"), wipe("logs", "w2"), DONE], artifacts=tmp_path
    )
    run = await lab.start("desk", history=history, segment_events=40)
    first = await lab.next_request(run, timeout=60)
    assert len(await lab.histories(run)) > 1
    await run.approve(first, decided_by="lead")
    second = next(iter([each async for each in _others(run, first.id)]))
    kept = (await run.status()).history
    assert kept is not None
    lab.model.forget(kept.conversation or kept.response or "")
    await run.approve(second, decided_by="lead")
    assert (await run.result()).output == "done"
    assert [sent(lab, n) for n in range(turns + 2)] == [
        ["message"],
        *([f"function_call_output l{n}"] for n in range(turns)),
        ["function_call_output w1"],
    ]
    assert len(sent(lab, -1)) == 1 + 2 * turns + 6
    assert len(lab.model.violations) == 1


async def _others(run: Run, known: str) -> AsyncIterator[Request]:
    """The first request besides a known one."""
    async for request in run.requests():
        if request.id != known:
            yield request
            return


async def test_events_do_not_depend_on_where_the_history_is_kept(make_lab: MakeLab, effects: Effects) -> None:
    """What a run tells of itself is the same: what has to be known before the model replies is no reply."""
    told: list[list[str]] = []
    for history in (None, "chain", "conversation"):
        lab = await make_lab([desk(effects)], script=[Reply(call("look", {"check": "fans"}, "l1")), DONE])
        run = await lab.start("desk", history=history)
        await run.result()
        told.append([event.type async for event in run.events()])
    assert told[0] == told[1] == told[2]
    assert told[0].count("model_reply") == 2


@workflow.defn(sandboxed=False)
class Errand:
    """A workflow of the user's own, whose agent's history the provider keeps."""

    @workflow.init
    def __init__(self) -> None:
        self.agents = AgentHost()

    @workflow.run
    async def run(self) -> str:
        """Run it twice: each run has a history of its own."""
        first = await self.agents.run("desk", "one", history="chain")
        second = await self.agents.run("desk", "two", history=Conversation())
        return f"{first.output} {second.output}"


async def test_runs_inside_a_workflow_of_ones_own(make_lab: MakeLab, effects: Effects) -> None:
    """`AgentHost.run` takes a history as well; each run has its own."""
    script = [Reply(call("look", {"check": "fans"}, "l1")), DONE, Reply(call("look", {"check": "fans"}, "l1")), DONE]
    lab = await make_lab([desk(effects)], script=script, workflows=[Errand])
    handle = await lab.client.start_workflow(Errand.run, id=f"errand-{lab.task_queue}", task_queue=lab.task_queue)
    lab.watch(lab.hf.run(handle.id))
    assert await handle.result() == "done done"
    assert [sent(lab, n) for n in range(4)] == [["message"], ["function_call_output l1"]] * 2
    assert len(seen(lab)) == 3
    assert lab.model.violations == []
