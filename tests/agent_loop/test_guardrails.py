"""Guardrails of agents: M1, M4, and what J5 asks of their findings."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel

from handfast import Agent, Allow, Fail, InputGuardrail, OutputGuardrail, Replace, RunContext, tool
from handfast.errors import RequestClosedError, RunEndedError, RunFailedError
from handfast.testing import Gate, Hang, Lab, Reply, call, text
from support.labs import Effects, MakeLab


def desk(effects: Effects, **options: Any) -> Agent:
    """An agent with a gated tool, a free one with an effect, and one that only looks."""

    @tool(approval=True)
    async def wipe(target: str) -> str:
        """Delete a target."""
        effects.append(f"wipe {target}")
        return f"wiped {target}"

    @tool
    async def restart(service: str) -> str:
        """Restart a service."""
        effects.append(f"restart {service}")
        return "restarted"

    @tool(effect="read_only")
    async def look(check: str) -> str:
        """Look at something."""
        effects.append(f"look {check}")
        return "fine"

    return Agent("desk", model="m", tools=[wipe, restart, look], **options)


def texts(lab: Lab, request: int = 1) -> list[str]:
    """The texts of the user that a model request carried."""
    return [
        part["text"]
        for item in lab.model.requests[request - 1].body["input"]
        if item["type"] == "message" and item["role"] == "user"
        for part in item["content"]
    ]


class Finding(BaseModel):
    """What a guardrail found."""

    score: float
    words: list[str] = []


def counting(effects: Effects, name: str, verdict: object) -> Callable[[RunContext, Any], Any]:
    """A guardrail that notes its calls."""

    async def check(_context: RunContext, _given: Any) -> Any:
        effects.append(name)
        return verdict

    return check


async def test_input_guardrails_run_once_per_run(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """M1: over two pauses, two restarts and several turns, each input guardrail runs once."""
    guardrails = [
        InputGuardrail(counting(effects, "beside", None), name="beside"),
        InputGuardrail(counting(effects, "before", Allow()), parallel=False, name="before"),
    ]
    script = [Reply(call("wipe", {"target": "a"})), Reply(call("wipe", {"target": "b"})), Reply(text("done"))]
    lab = await make_lab([desk(effects, input_guardrails=guardrails)], script=script, max_cached_workflows=cache)
    run = await lab.start("desk")
    for _ in range(2):
        request = await lab.next_request(run)
        await lab.replace_worker()
        await run.approve(request, decided_by="lead")
    result = await run.result()
    assert effects == ["before", "beside", "wipe a", "wipe b"]
    assert [(each.guardrail, each.kind, each.outcome) for each in result.guardrails] == [
        ("before", "input", "allow"),
        ("beside", "input", "allow"),
    ]
    assert len(lab.model.requests) == 3


async def test_a_guardrail_before_the_model_stops_it(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """M1: where a blocking input guardrail fails the run, the model is never called, and those after it do not run."""
    guardrails = [
        InputGuardrail(counting(effects, "first", Fail("off topic", info=Finding(score=0.9))), False, "first"),
        InputGuardrail(counting(effects, "second", None), False, "second"),
        InputGuardrail(counting(effects, "beside", None), name="beside"),
    ]
    lab = await make_lab([desk(effects, input_guardrails=guardrails)], script=[], max_cached_workflows=cache)
    run = await lab.start("desk")
    with pytest.raises(RunFailedError, match="input guardrail first of desk stopped the run: off topic") as failed:
        await run.result()
    assert failed.value.kind == "GuardrailTripped"
    assert failed.value.facts == {
        "guardrail": "first",
        "kind": "input",
        "agent": "desk",
        "outcome": "fail",
        "reason": "off topic",
        "info": {"score": 0.9, "words": []},
    }
    assert effects == ["first"]
    assert lab.model.requests == []


async def test_a_guardrail_replaces_the_input(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """M1: blocking guardrails may replace the input, each reads what the last one made of it."""

    def mask(_context: RunContext, items: Any) -> Replace:
        [item] = items
        said = item["content"][0]["text"]
        item["content"] = "the guardrail's own copy"
        return Replace(said.replace("4711", "****"), info={"masked": 1})

    def add(_context: RunContext, items: Any) -> Replace:
        return Replace(
            [*items, {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Be brief."}]}]
        )

    guardrails = [InputGuardrail(mask, parallel=False), InputGuardrail(add, parallel=False)]
    lab = await make_lab(
        [desk(effects, input_guardrails=guardrails)],
        script=[Reply(call("look", {"check": "x"})), Reply(text("done"))],
        max_cached_workflows=cache,
    )
    run = await lab.start("desk", "my pin is 4711")
    result = await run.result()
    assert texts(lab, 1) == texts(lab, 2) == ["my pin is ****", "Be brief."]
    assert [(each.guardrail, each.outcome, each.info) for each in result.guardrails] == [
        ("mask", "replace", {"masked": 1}),
        ("add", "replace", None),
    ]


async def test_a_parallel_trip_cancels_the_model_call(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """M1: a guardrail that trips beside the model call ends the call under way and the run."""
    lab: Lab

    async def check(_context: RunContext, _items: Any) -> Fail:
        await lab.model.wait_for_request(1)
        return Fail("stop")

    lab = await make_lab([desk(effects, input_guardrails=[check])], script=[Hang()], max_cached_workflows=cache)
    run = await lab.start("desk")
    with pytest.raises(RunFailedError, match="stop") as failed:
        await run.result()
    assert failed.value.kind == "GuardrailTripped"
    await lab.model.wait_for_disconnect(1)
    assert len(lab.model.requests) == 1


async def test_a_parallel_trip_withdraws_what_was_asked(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """M1: a person is asked while a parallel guardrail thinks; when it trips, the request is withdrawn, nothing ran."""
    judge = asyncio.Event()

    async def check(_context: RunContext, _items: Any) -> Fail:
        await judge.wait()
        return Fail("stop")

    reply = Reply(
        call("wipe", {"target": "t"}),
        call("restart", {"service": "s"}),
        call("look", {"check": "c"}),
        call("wipe", {"target": "u"}),
    )
    lab = await make_lab([desk(effects, input_guardrails=[check])], script=[reply], max_cached_workflows=cache)
    run = await lab.start("desk")
    first, second = await lab.open_requests(run, 2)
    await run.approve(first, decided_by="lead")
    judge.set()
    with pytest.raises(RunFailedError) as failed:
        await run.result()
    assert failed.value.kind == "GuardrailTripped"
    assert set(effects) <= {"look c"}
    assert await run.pending() == []
    with pytest.raises((RunEndedError, RequestClosedError)):
        await run.approve(second, decided_by="lead")


async def test_effects_wait_for_parallel_guardrails(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """M1: tools that only look run beside a parallel guardrail; what has an effect starts once it has passed."""
    looked, judge = asyncio.Event(), asyncio.Event()

    @tool(effect="read_only")
    async def look(check: str) -> str:
        """Look at something."""
        effects.append(f"look {check}")
        looked.set()
        return "fine"

    @tool
    async def restart(service: str) -> str:
        """Restart a service."""
        effects.append(f"restart {service}")
        return "restarted"

    async def check(_context: RunContext, _items: Any) -> None:
        await judge.wait()
        effects.append("passed")

    agent = Agent("desk", model="m", tools=[look, restart], input_guardrails=[check])
    reply = Reply(call("restart", {"service": "s"}), call("look", {"check": "c"}))
    lab = await make_lab([agent], script=[reply, Reply(text("done"))], max_cached_workflows=cache)
    run = await lab.start("desk")
    await asyncio.wait_for(looked.wait(), 20)
    assert effects == ["look c"]
    judge.set()
    assert (await run.result()).output == "done"
    assert effects == ["look c", "passed", "restart s"]


async def test_an_answer_waits_for_parallel_guardrails(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """M1: a model that is done before a parallel guardrail has spoken does not end the run."""
    lab: Lab

    async def check(_context: RunContext, _items: Any) -> Fail:
        await lab.model.wait_for_end(1)
        return Fail("too late for the model, not for the run")

    lab = await make_lab(
        [desk(effects, input_guardrails=[check])], script=[Reply(text("secret"))], max_cached_workflows=cache
    )
    run = await lab.start("desk")
    with pytest.raises(RunFailedError) as failed:
        await run.result()
    assert failed.value.kind == "GuardrailTripped"
    assert "secret" not in str(failed.value)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        pytest.param("raises", "it raised ValueError", id="raises"),
        pytest.param("hangs", "it took longer than", id="hangs"),
        pytest.param("nonsense", "it answered bool", id="answers-nonsense"),
        pytest.param("replaces", "make it parallel=False", id="replaces-too-late"),
    ],
)
async def test_a_guardrail_that_fails_stops_the_run(
    make_lab: MakeLab, effects: Effects, monkeypatch: pytest.MonkeyPatch, *, kind: str, reason: str, cache: int
) -> None:
    """M1: a guardrail that raises, hangs or answers nonsense stops the run, with its name; no detail leaks."""
    monkeypatch.setattr("handfast.activities.evaluate.guardrails.GUARDRAIL_S", 0.2)

    async def check(_context: RunContext, _items: Any) -> Any:
        if kind == "raises":
            raise ValueError("secret detail")
        if kind == "hangs":
            await asyncio.Event().wait()
        return True if kind == "nonsense" else Replace("other")

    script = [Gate("never", Reply(text("done")))]
    lab = await make_lab([desk(effects, input_guardrails=[check])], script=script, max_cached_workflows=cache)
    run = await lab.start("desk")
    with pytest.raises(RunFailedError, match=reason) as failed:
        await run.result()
    assert failed.value.kind == "GuardrailFailed"
    assert (failed.value.facts["guardrail"], failed.value.facts["outcome"]) == ("check", "error")
    assert "secret" not in str(failed.value)


async def test_a_guardrail_outlives_its_worker(make_lab: MakeLab, effects: Effects) -> None:
    """M1: a guardrail whose worker was stopped in the middle is asked again by the next one, and the run goes on."""
    asked = asyncio.Event()

    async def check(_context: RunContext, _items: Any) -> None:
        effects.append("asked")
        asked.set()
        if len(effects) == 1:
            await asyncio.Event().wait()

    lab = await make_lab(
        [desk(effects, input_guardrails=[InputGuardrail(check, parallel=False)])], script=[Reply(text("done"))]
    )
    run = await lab.start("desk")
    await asyncio.wait_for(asked.wait(), 20)
    await lab.replace_worker()
    assert (await run.result()).output == "done"
    assert effects == ["asked", "asked"]


async def test_results_accumulate_over_several_pauses(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """M4: what guardrails said is there at every pause, restart or not, and all of it at the end."""
    before = InputGuardrail(counting(effects, "before", Allow(info=Finding(score=0.5))), parallel=False, name="before")
    polite = OutputGuardrail(counting(effects, "polite", Allow(info={"tone": "fine"})), name="polite")
    agent = desk(effects, input_guardrails=[before], output_guardrails=[polite])
    script = [Reply(call("wipe", {"target": "a"})), Reply(call("wipe", {"target": "b"})), Reply(text("done"))]
    lab = await make_lab([agent], script=script, max_cached_workflows=cache)
    run = await lab.start("desk")
    for _ in range(2):
        request = await lab.next_request(run)
        await lab.replace_worker()
        assert [each.guardrail for each in (await run.status()).guardrails] == ["before"]
        await run.approve(request, decided_by="lead")
    result = await run.result()
    assert [each.to_wire() for each in result.guardrails] == [
        {
            "guardrail": "before",
            "kind": "input",
            "agent": "desk",
            "outcome": "allow",
            "info": {"score": 0.5, "words": []},
        },
        {"guardrail": "polite", "kind": "output", "agent": "desk", "outcome": "allow", "info": {"tone": "fine"}},
    ]
    assert [each.guardrail for each in (await run.status()).guardrails] == ["before", "polite"]


async def test_output_guardrails_see_and_replace_in_order(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """M4: each output guardrail reads what the one before made of the output, and the run ends with the last."""

    def mask(_context: RunContext, output: str) -> Replace:
        return Replace(output.replace("4711", "****"))

    def sign(_context: RunContext, output: str) -> Replace:
        return Replace(output + " Yours, desk." + "!" * 20_000)

    async def note(_context: RunContext, output: str) -> None:
        effects.append(output[:30])

    agent = desk(effects, output_guardrails=[note, mask, sign, OutputGuardrail(note, name="again")])
    lab = await make_lab([agent], script=[Reply(text("Your pin is 4711."))], max_cached_workflows=cache)
    result = await (await lab.start("desk")).result()
    assert result.output == "Your pin is ****. Yours, desk." + "!" * 20_000
    assert effects == ["Your pin is 4711.", "Your pin is ****. Yours, desk."]
    assert [(each.guardrail, each.outcome) for each in result.guardrails] == [
        ("note", "allow"),
        ("mask", "replace"),
        ("sign", "replace"),
        ("again", "allow"),
    ]


async def test_an_output_guardrail_fails_the_run(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """M4: an output that a guardrail refuses is not given out, and those after it do not run."""
    guardrails = [
        OutputGuardrail(counting(effects, "polite", Fail("too rude")), name="polite"),
        OutputGuardrail(counting(effects, "after", None), name="after"),
    ]
    agent = desk(effects, output_guardrails=guardrails)
    lab = await make_lab([agent], script=[Reply(text("secret"))], max_cached_workflows=cache)
    run = await lab.start("desk")
    with pytest.raises(RunFailedError, match="output guardrail polite of desk stopped the run: too rude") as failed:
        await run.result()
    assert (failed.value.kind, failed.value.facts["kind"]) == ("GuardrailTripped", "output")
    assert [(each.guardrail, each.outcome) for each in (await run.status()).guardrails] == [("polite", "fail")]
    assert effects == ["polite"]


async def test_guardrails_read_and_replace_typed_output(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """J5: an output guardrail gets the typed output, over a pause too; what it puts in its place keeps the type."""

    def raise_score(_context: RunContext, output: Finding) -> Replace:
        return Replace(Finding(score=output.score + 1, words=[*output.words, "raised"]), info=output)

    agent = desk(effects, output_type=Finding, output_guardrails=[raise_score, raise_score_again])
    script = [Reply(call("wipe", {"target": "a"})), Reply(text('{"score": 1.5, "words": ["a"]}'))]
    lab = await make_lab([agent], script=script, max_cached_workflows=cache)
    run = await lab.start("desk")
    request = await lab.next_request(run)
    await lab.replace_worker()
    await run.approve(request, decided_by="lead")
    result = await run.result(output_type=Finding)
    assert result.output == Finding(score=12.5, words=["a", "raised"])
    assert [each.info for each in result.guardrails] == [{"score": 1.5, "words": ["a"]}, None]


def raise_score_again(_context: RunContext, output: Finding) -> Replace:
    """Answer plain JSON instead of the type."""
    return Replace({"score": output.score + 10, "words": output.words})


async def test_a_replacement_that_does_not_fit_fails_the_run(make_lab: MakeLab, effects: Effects) -> None:
    """J5: an output guardrail that breaks the type of the output is a typed failure, not a wrong output."""

    def spoil(_context: RunContext, _output: Finding) -> Replace:
        return Replace({"score": "high"})

    agent = desk(effects, output_type=Finding, output_guardrails=[spoil])
    lab = await make_lab([agent], script=[Reply(text('{"score": 1.5, "words": []}'))])
    run = await lab.start("desk")
    with pytest.raises(RunFailedError, match="does not fit: the output is no Finding: score") as failed:
        await run.result()
    assert failed.value.kind == "GuardrailFailed"


async def test_large_findings_are_left_out(make_lab: MakeLab, effects: Effects) -> None:
    """M4: what a guardrail found stays with the run up to 2 KB; beyond that, or without JSON, the result says so."""
    guardrails = [
        OutputGuardrail(counting(effects, "large", Allow(info="x" * 3000)), name="large"),
        OutputGuardrail(counting(effects, "odd", Allow(info=object())), name="odd"),
    ]
    lab = await make_lab([desk(effects, output_guardrails=guardrails)], script=[Reply(text("done"))])
    result = await (await lab.start("desk")).result()
    large, odd = (each.info for each in result.guardrails)
    assert large == {"left_out": "3,002 bytes, and 2,048 are kept"}
    assert isinstance(odd, dict)
    assert str(odd["left_out"]).startswith("no JSON")


async def test_agents_without_guardrails_pay_nothing(make_lab: MakeLab, effects: Effects) -> None:
    """M1: without guardrails a run schedules its model calls and nothing else."""
    lab = await make_lab([desk(effects)], script=[Reply(text("done"))])
    run = await lab.start("desk")
    await run.result()
    history = await lab.client.get_workflow_handle(run.id).fetch_history()
    scheduled = [
        event.activity_task_scheduled_event_attributes.activity_type.name
        for event in history.events
        if event.HasField("activity_task_scheduled_event_attributes")
    ]
    assert scheduled == ["handfast.call_model"]


async def test_guardrails_over_a_handoff(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """M1: the input is the first agent's, so its guardrails alone see it; the output is the last agent's."""
    billing = Agent(
        "billing",
        model="m",
        input_guardrails=[counting(effects, "input of billing", None)],
        output_guardrails=[OutputGuardrail(counting(effects, "output of billing", None), name="polite")],
    )
    triage = Agent(
        "triage",
        model="m",
        handoffs=[billing],
        input_guardrails=[counting(effects, "input of triage", None)],
        output_guardrails=[counting(effects, "output of triage", None)],
    )
    script = [Reply(call("transfer_to_billing", {})), Reply(text("paid"))]
    lab = await make_lab([triage, billing], script=script, max_cached_workflows=cache)
    result = await (await lab.start("triage")).result()
    assert (result.output, result.agent) == ("paid", "billing")
    assert effects == ["input of triage", "output of billing"]
    assert [(each.guardrail, each.agent) for each in result.guardrails] == [("check", "triage"), ("polite", "billing")]


async def test_guardrails_of_a_nested_agent(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """M1: an agent used as a tool has its own guardrails; one that trips there fails that call, not the run."""

    def no_secrets(_context: RunContext, items: Any) -> Fail | None:
        effects.append("checked")
        return Fail("no secrets") if "secret" in str(items) else None

    auditor = Agent("auditor", model="m", input_guardrails=[InputGuardrail(no_secrets, parallel=False)])
    boss = Agent("boss", model="m", tools=[auditor.as_tool(description="Audit.")])
    script = [
        Reply(call("auditor", {"input": "the secret"}, "c1")),
        Reply(call("auditor", {"input": "the fans"}, "c2")),
        Reply(text("fine")),
        Reply(text("done")),
    ]
    lab = await make_lab([boss, auditor], script=script, max_cached_workflows=cache)
    result = await (await lab.start("boss")).result()
    assert result.output == "done"
    assert effects == ["checked", "checked"]
    assert [(each.agent, each.outcome) for each in result.guardrails] == [("auditor", "fail"), ("auditor", "allow")]
    outputs = [
        item["output"] for item in lab.model.requests[-1].body["input"] if item["type"] == "function_call_output"
    ]
    assert outputs[0].startswith("The agent auditor failed (GuardrailTripped)")
    assert outputs[1] == "fine"


async def test_what_a_stopped_run_ends_with_is_checked(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """M4: told to stop, a run ends with what was said; the guardrails of the agent that said it see that."""
    billing = Agent("billing", model="m", output_guardrails=[counting(effects, "output of billing", None)])

    async def polite(_context: RunContext, output: Any) -> Replace:
        effects.append(str(output))
        return Replace(f"{output}, please")

    front = Agent("front", model="m", handoffs=[billing], output_guardrails=[polite])
    script = [Gate("hold", Reply(text("wait"), call("transfer_to_billing", {})))]
    lab = await make_lab([front, billing], script=script, max_cached_workflows=cache)
    run = await lab.start("front")
    await lab.model.wait_for_request(1)
    await lab.client.get_workflow_handle(run.id).signal("stop", {"reason": "enough"})
    lab.model.open("hold")
    result = await run.result()
    assert (result.output, result.stopped) == ("wait, please", "enough")
    assert effects == ["wait"]
    assert [(each.guardrail, each.agent) for each in result.guardrails] == [("polite", "front")]


async def test_an_answer_that_was_refused_may_be_what_a_run_ends_with(make_lab: MakeLab, effects: Effects) -> None:
    """M4: stopped after an answer that did not fit its type, a run ends with that text, and guardrails see the text."""

    async def note(_context: RunContext, output: Any) -> None:
        effects.append(str(output))

    agent = desk(effects, output_type=Finding, output_guardrails=[note])
    lab = await make_lab([agent], script=[Gate("hold", Reply(text("no JSON")))])
    run = await lab.start("desk")
    await lab.model.wait_for_request(1)
    await lab.client.get_workflow_handle(run.id).signal("stop")
    lab.model.open("hold")
    assert (await run.result()).output == "no JSON"
    assert effects == ["no JSON"]
