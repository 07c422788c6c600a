"""An agent with several models: the next one is asked where one is unavailable past its patience."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any

import pytest

from handfast import Agent, ChatCompletionsModel, InProcessDeltas, ModelChoice, ResponsesModel, Run
from handfast.errors import DefinitionError, RunFailedError
from handfast.payloads.events import ModelReplied
from handfast.payloads.model_call import PassedOver
from handfast.testing import Drop, Fail, Lab, Pause, Reply, Script, call, text
from handfast.testing.script import RecordedRequest, Step, Usage
from support.events import to_the_end
from support.labs import MakeLab
from support.twelve_lines import clean, look

NOW = timedelta(0)
DONE = Reply(text("done"), usage=Usage(10, 5))
DOWN = Fail(503, "The engine is overloaded.")


def agent_of(*models: str | ModelChoice, **more: Any) -> Agent:
    """The gated agent, with models of its own."""
    return Agent("desk", instructions="Help.", model=models, tools=[look, clean], **more)


def out(fail: Step, *models: str, steps: Sequence[Step] = ()) -> Script:
    """A provider at which some models answer with a failure, and the others with *steps*, then that they are done."""
    left = iter(steps)
    return Script.of(lambda request: fail if request.model in models else next(left, DONE))


async def replies(run: Run) -> list[ModelReplied]:
    """The replies of a run that has ended."""
    return [event for event in await to_the_end(run) if isinstance(event, ModelReplied)]


def asked(lab: Lab) -> list[str | None]:
    """The models that were asked, in order."""
    return [request.model for request in lab.model.created]


@pytest.mark.parametrize(
    "fail",
    [
        pytest.param(DOWN, id="overloaded"),
        pytest.param(Fail(429, retry_after=120), id="busy-for-longer"),
        pytest.param(Fail(503, inside="response"), id="inside-a-200"),
        pytest.param(Drop(), id="hung-up"),
        pytest.param(Fail(429, "You exceeded your current quota.", "insufficient_quota"), id="nobody-pays"),
        pytest.param(Fail(402, "Insufficient credits."), id="no-credit"),
    ],
)
async def test_the_next_model_is_asked_where_one_is_unavailable(make_lab: MakeLab, fail: Step) -> None:
    """The reply is counted once, under the model that gave it; its event says which one was passed over, and why."""
    lab = await make_lab([agent_of(ModelChoice("big", patience=NOW), "small")], script=out(fail, "big"))
    run = await lab.start("desk")
    result = await run.result()
    assert (result.output, asked(lab)) == ("done", ["big", "small"])
    assert (result.usage.requests, result.usage.total_tokens) == (1, 15)
    [reply] = await replies(run)
    assert reply.model == "small"
    assert [each.model for each in reply.passed_over] == ["big"]
    assert reply.passed_over[0].problem
    assert [(each.model, each.usage.requests) for each in result.by_request] == [("small", 1)]


async def test_a_model_that_was_left_rests_for_a_while(make_lab: MakeLab) -> None:
    """Later calls of the worker begin with the next one, and say so: nobody waits for the first one again."""
    steps = [Reply(call("look", {"at": "fans"}, "c1")), DONE]
    lab = await make_lab([agent_of(ModelChoice("big", patience=NOW), "small")], script=out(DOWN, "big", steps=steps))
    run = await lab.start("desk")
    assert (await run.result()).output == "done"
    assert asked(lab) == ["big", "small", "small"]
    assert [[each.model for each in reply.passed_over] for reply in await replies(run)] == [["big"], ["big"]]


async def test_a_model_is_asked_again_within_its_patience(make_lab: MakeLab) -> None:
    """A bad second is no reason to switch."""
    steps: Iterator[Step] = iter([DOWN, DONE])
    lab = await make_lab([agent_of("big", "small")], script=Script.of(lambda request: next(steps, None)))
    run = await lab.start("desk")
    await run.result()
    assert asked(lab) == ["big", "big"]
    assert [reply.passed_over for reply in await replies(run)] == [[]]


@pytest.mark.parametrize(
    "fail",
    [
        pytest.param(Fail(400, "Invalid value: 'x'", "invalid_value"), id="a-wrong-request"),
        pytest.param(Fail(400, "too long", "context_length_exceeded"), id="too-long"),
        pytest.param(Fail(404, "no such model", "model_not_found"), id="no-such-model"),
        pytest.param(Fail(401), id="a-wrong-key"),
    ],
)
async def test_a_model_that_refuses_the_request_is_no_reason_to_switch(make_lab: MakeLab, fail: Fail) -> None:
    """The run fails with the refusal: the next one would get the same request."""
    lab = await make_lab([agent_of(ModelChoice("big", patience=NOW), "small")], script=out(fail, "big"))
    with pytest.raises(RunFailedError) as failed:
        await (await lab.start("desk")).result()
    assert (failed.value.kind, asked(lab)) == ("ModelRefused", ["big"])


async def test_models_of_several_entries(make_lab: MakeLab) -> None:
    """The next model may be at another provider, with another API; approvals and their calls stay what they are."""
    chat: dict[str, Callable[[Any], Any]] = {"default": ResponsesModel, "local": ChatCompletionsModel}
    steps = [Reply(call("clean", {"target": "temp"}, "c1")), DONE]
    agent = agent_of(ModelChoice("big", patience=NOW), ModelChoice("llama", client="local"))
    lab = await make_lab([agent], script=out(DOWN, "big", steps=steps), models=chat)
    run = await lab.start("desk")
    await run.approve(await lab.next_request(run), decided_by="lead")
    assert (await run.result()).output == "done"
    assert lab.model.violations == []
    paths = [(request.model, request.path.removeprefix("/v1/")) for request in lab.model.created]
    assert paths == [("big", "responses"), ("llama", "chat/completions"), ("llama", "chat/completions")]


async def test_one_model_at_two_providers(make_lab: MakeLab) -> None:
    """The same model may be had at several entries."""
    first = Script.of(lambda request: DOWN if request.path.endswith("responses") else DONE)
    agent = agent_of(ModelChoice("big", patience=NOW), ModelChoice("big", client="other"))
    lab = await make_lab([agent], script=first, models={"other": ChatCompletionsModel})
    run = await lab.start("desk")
    assert (await run.result()).output == "done"
    [reply] = await replies(run)
    assert [(each.model, each.client) for each in reply.passed_over] == [("big", "default")]


async def test_after_the_last_model_the_first_is_asked_again(make_lab: MakeLab) -> None:
    """Where all of them are unavailable for a while, whichever returns first answers."""
    seen: list[str | None] = []

    def answer(request: RecordedRequest) -> Step:
        seen.append(request.model)
        return DONE if seen.count("big") == 2 else DOWN

    agent = agent_of(ModelChoice("big", patience=NOW), ModelChoice("small", patience=NOW))
    lab = await make_lab([agent], script=Script.of(answer))
    run = await lab.start("desk")
    assert (await run.result()).output == "done"
    assert seen == ["big", "small", "big"]
    [reply] = await replies(run)
    assert [each.model for each in reply.passed_over] == ["small"]


async def test_what_the_first_model_has_written_is_void(make_lab: MakeLab) -> None:
    """A stream that breaks off is told anew by the next model."""
    half = Pause("gate", Reply(text("I think that ")), error="server_error")
    lab = await make_lab(
        [agent_of(ModelChoice("big", patience=NOW), "small")], script=out(half, "big"), deltas=InProcessDeltas()
    )
    lab.model.open("gate")
    run = await lab.start("desk", stream=True)
    assert (await run.result()).output == "done"
    assert asked(lab) == ["big", "small"]


async def test_a_background_response_is_waited_for_where_it_was_begun(make_lab: MakeLab) -> None:
    """The worker that takes over asks the model whose response it is."""
    agent = agent_of(ModelChoice("big", patience=NOW), "small", background=True)
    slow = Pause("gate", DONE)
    lab = await make_lab([agent], script=out(DOWN, "big", steps=[slow]))
    run = await lab.start("desk")
    await lab.model.wait_for_end(2)
    await lab.replace_worker()
    lab.model.open("gate")
    assert (await run.result()).output == "done"
    assert asked(lab) == ["big", "small"]


async def test_a_chain_goes_on_with_another_model_of_the_same_entry(make_lab: MakeLab) -> None:
    """Where the provider keeps the history, its other models know it."""
    steps = [Reply(call("look", {"at": "fans"}, "c1")), DONE]
    agent = agent_of(ModelChoice("big", patience=NOW), "small")
    lab = await make_lab([agent], script=out(DOWN, "big", steps=steps))
    run = await lab.start("desk", history="chain")
    assert (await run.result()).output == "done"
    assert lab.model.requests[-1].body["previous_response_id"] == lab.model.requests[-2].reply["id"]  # type: ignore[index]


async def test_a_history_at_the_provider_needs_one_entry(make_lab: MakeLab) -> None:
    """Another provider would not know it: the run is refused before it asks anybody."""
    agent = agent_of("big", ModelChoice("llama", client="local"))
    lab = await make_lab([agent], script=[DONE], models={"local": ResponsesModel})
    with pytest.raises(RunFailedError, match="another model client") as failed:
        await (await lab.start("desk", history="chain")).result()
    assert (failed.value.kind, lab.model.requests) == ("HistoryExcluded", [])


async def test_a_model_for_one_run_stands_for_all_of_them(make_lab: MakeLab) -> None:
    """`start(model=…)` names one model, which is asked alone."""
    lab = await make_lab([agent_of("big", "small")], script=[DONE])
    await (await lab.start("desk", model="tiny")).result()
    assert asked(lab) == ["tiny"]


async def test_another_worker_knows_which_model_was_left(make_lab: MakeLab) -> None:
    """A worker that dies takes nothing along: what was found stands in the call's heartbeats."""
    agent = agent_of(ModelChoice("big", patience=NOW), "small")
    slow = Pause("gate", DONE)
    lab = await make_lab([agent], script=out(DOWN, "big", steps=[slow, DONE]))
    run = await lab.start("desk")
    await lab.model.wait_for_request(2)
    await lab.replace_worker()
    lab.model.open("gate")
    assert (await run.result()).output == "done"
    assert asked(lab) == ["big", "small", "small"]
    assert (await replies(run))[0].passed_over == [
        PassedOver(model="big", problem=f"the model answered 503: {DOWN.message}")
    ]


@pytest.mark.parametrize(
    ("model", "words"),
    [
        pytest.param([], "1 to 10 models", id="none"),
        pytest.param(["a"] * 2, "twice", id="twice"),
        pytest.param(["a", ""], "not empty", id="empty"),
        pytest.param(["a", 5], "names and ModelChoice", id="a-number"),
        pytest.param({"a": 1}, "a text", id="a-dict"),
        pytest.param([str(number) for number in range(11)], "1 to 10 models", id="eleven"),
    ],
)
def test_a_wrong_list_is_refused(model: Any, words: str) -> None:
    """An agent says which models it can have."""
    with pytest.raises(DefinitionError, match=words):
        Agent("desk", model=model)


@pytest.mark.parametrize("patience", [timedelta(seconds=-1), timedelta(hours=2), 30])
def test_a_wrong_patience_is_refused(patience: Any) -> None:
    """A model call has an hour, so a model's patience cannot be longer."""
    with pytest.raises(DefinitionError, match="up to one hour"):
        ModelChoice("a", patience=patience)


async def test_an_entry_that_is_not_there_keeps_the_worker_from_starting(make_lab: MakeLab) -> None:
    """Every entry of the list is looked at, not the first alone."""
    agent = agent_of("a", ModelChoice("b", client="far"), model_settings={"nonsense": 1})
    with pytest.raises(DefinitionError, match="nonsense"):
        await make_lab([agent])
