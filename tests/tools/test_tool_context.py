"""What agent code is told about its run, and what a tool is given."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import pytest
from pydantic import AfterValidator, BaseModel

from handfast import Agent, RunContext, ToolContext, tool
from handfast.errors import RunCancelledError, RunFailedError
from handfast.payloads.json_profile import JsonObject
from handfast.testing import Gate, Reply, call, text
from support.desk import DONE, outputs
from support.labs import Effects, MakeLab

LOOK = Reply(call("look", {"order": 7}, "c1"))


class Shop(BaseModel):
    """A run's own data."""

    country: str
    limit: int = 100


async def test_instructions_rules_and_tools_see_the_same_run(make_lab: MakeLab, cache: int) -> None:
    """A pydantic context, labels and the requester reach instructions, approval rule and tool alike."""
    seen: list[RunContext[Shop]] = []

    def instructions(ctx: RunContext[Shop]) -> str:
        seen.append(ctx)
        return f"You serve {ctx.context.country}."

    def free(ctx: RunContext[Shop], _arguments: object) -> None:
        seen.append(ctx)

    @tool(approval=free)
    async def look(ctx: ToolContext[Shop], order: int) -> str:
        """Look up an order."""
        seen.append(ctx)
        return f"{order} in {ctx.context.country} up to {ctx.context.limit}"

    agent = Agent("desk", instructions=instructions, tools=[look], context_type=Shop)
    lab = await make_lab([agent], script=[LOOK, DONE], max_cached_workflows=cache)
    run = await lab.start("desk", context={"country": "NL"}, labels={"team": "north"}, requested_by="ana")
    await run.result()
    assert lab.model.requests[0].instructions == "You serve NL."
    assert outputs(lab) == [("c1", "7 in NL up to 100")]
    assert [(ctx.turn, type(ctx).__name__) for ctx in seen] == [
        (1, "RunContext"),
        (1, "RunContext"),
        (1, "ToolContext"),
        (2, "RunContext"),
    ]
    for ctx in seen:
        assert ctx.context == Shop(country="NL")
        assert (ctx.run_id, ctx.agent, ctx.agent_path) == (run.id, "desk", ("desk",))
        assert (ctx.labels, ctx.requested_by) == ({"team": "north"}, "ana")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        pytest.param({"context": {"country": "NL"}, "requested_by": "ana"}, ({"country": "NL"}, {}, "ana"), id="plain"),
        pytest.param({}, (None, {}, None), id="none"),
    ],
)
async def test_a_context_without_a_model_is_plain_json(
    make_lab: MakeLab, options: dict[str, Any], expected: object
) -> None:
    """Without a model the context is what the run was started with, and None where that was nothing."""
    seen: list[object] = []

    @tool(effect="read_only")
    def look(ctx: ToolContext, order: int) -> None:
        """Look up an order."""
        seen.append((ctx.context, ctx.labels, ctx.requested_by))

    lab = await make_lab([Agent("desk", tools=[look])], script=[LOOK, DONE])
    await (await lab.start("desk", **options)).result()
    assert seen == [expected]


@pytest.mark.parametrize("context", [None, {}, {"country": 5}, {"country": "NL", "limit": "many"}])
async def test_a_context_that_does_not_fit_fails_the_run(make_lab: MakeLab, context: JsonObject | None) -> None:
    """A context that its model refuses ends the run as ContextInvalid, before a model is paid for."""
    lab = await make_lab([Agent("desk", context_type=Shop)], script=[DONE])
    run = await lab.start("desk", context=context)
    with pytest.raises(RunFailedError, match="the run's context is no Shop") as failed:
        await run.result()
    assert failed.value.kind == "ContextInvalid"
    assert lab.model.requests == []


@pytest.mark.parametrize("raised", [KeyError("NL"), SystemExit(1)])
async def test_a_context_whose_validator_raises_fails_the_run(make_lab: MakeLab, raised: BaseException) -> None:
    """Whatever a validator raises ends the run as ContextInvalid at once: asked again for two weeks it would say the
    same, and nobody would see why the run waits."""

    def check(_country: str) -> str:
        raise raised

    class Guarded(BaseModel):
        """A context with a validator that has a bug."""

        country: Annotated[str, AfterValidator(check)]

    lab = await make_lab([Agent("desk", context_type=Guarded)], script=[DONE])
    run = await lab.start("desk", context={"country": "NL"})
    with pytest.raises(RunFailedError, match=f"a validator raised {type(raised).__name__}") as failed:
        await asyncio.wait_for(run.result(), 20)
    assert failed.value.kind == "ContextInvalid"
    assert lab.model.requests == []


async def test_a_tool_whose_own_context_does_not_fit_tells_the_model(make_lab: MakeLab, effects: Effects) -> None:
    """A tool that wants a context which the run does not have is not run, and the model reads why."""

    @tool
    async def look(ctx: ToolContext[Shop], order: int) -> None:
        """Look up an order."""
        effects.append("ran")

    lab = await make_lab([Agent("desk", tools=[look])], script=[LOOK, DONE])
    await (await lab.start("desk")).result()
    [(_, output)] = outputs(lab)
    assert output.startswith("Error: the run's context is no Shop: country")
    assert effects == []


async def test_resources_are_entered_once_per_worker_and_closed_with_it(make_lab: MakeLab, effects: Effects) -> None:
    """Every call of a worker gets the same resources; the next worker makes its own after the first closed them."""
    given: list[object] = []

    @asynccontextmanager
    async def resources() -> AsyncIterator[object]:
        effects.append("opened")
        yield object()
        effects.append("closed")

    @tool(effect="read_only")
    async def look(ctx: ToolContext, order: int) -> None:
        """Look up an order."""
        given.append(ctx.resources)

    twice = Reply(call("look", {"order": 1}), call("look", {"order": 2}))
    lab = await make_lab(
        [Agent("desk", tools=[look])], script=[twice, Gate("deployed", LOOK), DONE], resources=resources
    )
    run = await lab.start("desk")
    await lab.model.wait_for_request(2)
    assert effects == ["opened"]
    stopping = asyncio.create_task(lab.stop_worker())
    lab.model.open("deployed")
    await stopping
    assert effects == ["opened", "closed"]
    await lab.start_worker()
    await run.result()
    assert effects == ["opened", "closed", "opened"]
    assert given[0] is given[1]
    assert len(given) == 3


async def test_the_key_stays_the_same_over_attempts_and_differs_between_calls(make_lab: MakeLab) -> None:
    """A call that is run again by another worker has the same idempotency key and a higher attempt."""
    seen: list[tuple[int, int, str]] = []
    begun = asyncio.Event()

    @tool(effect="idempotent")
    async def look(ctx: ToolContext, order: int) -> None:
        """Look up an order; the first attempt at order 7 never ends."""
        seen.append((order, ctx.attempt, ctx.idempotency_key))
        if order == 7 and ctx.attempt == 1:
            begun.set()
            await asyncio.Event().wait()

    calls = Reply(call("look", {"order": 7}, "c1"), call("look", {"order": 8}, "c2"))
    lab = await make_lab([Agent("desk", tools=[look])], script=[calls, DONE])
    run = await lab.start("desk")
    await asyncio.wait_for(begun.wait(), 20)
    await lab.replace_worker()
    await run.result()
    seven = [(attempt, key) for order, attempt, key in seen if order == 7]
    [eight] = [key for order, _, key in seen if order == 8]
    assert [attempt for attempt, _ in seven] == [1, 2]
    assert seven[0][1] == seven[1][1] != eight


async def test_the_key_may_be_a_function_of_context_and_arguments(make_lab: MakeLab) -> None:
    """Where the business has a better key, the tool gets that one."""
    seen: list[str] = []

    def per_order(ctx: RunContext[Shop], arguments: Any) -> str:
        return f"{ctx.context.country}-{arguments.order}"

    @tool(effect="idempotent", idempotency_key=per_order)
    async def look(ctx: ToolContext[Shop], order: int) -> None:
        """Look up an order."""
        seen.append(ctx.idempotency_key)

    again = Reply(call("look", {"order": 7}, "c2"))
    lab = await make_lab([Agent("desk", tools=[look], context_type=Shop)], script=[LOOK, again, DONE])
    await (await lab.start("desk", context={"country": "NL"})).result()
    assert seen == ["NL-7", "NL-7"]


async def test_a_key_that_cannot_be_made_keeps_the_call_from_running(make_lab: MakeLab, effects: Effects) -> None:
    """A call whose key function raises never runs under a wrong key; the model reads that it could not be made."""

    def broken(_ctx: RunContext, _arguments: object) -> str:
        raise LookupError("no such customer")

    @tool(idempotency_key=broken)
    async def look(order: int) -> None:
        """Look up an order."""
        effects.append("ran")

    lab = await make_lab([Agent("desk", tools=[look])], script=[LOOK, DONE])
    await (await lab.start("desk")).result()
    assert outputs(lab) == [("c1", "Error: the idempotency key raised LookupError")]
    assert effects == []


@pytest.mark.parametrize(
    ("key", "problem"),
    [
        pytest.param(None, "is a NoneType, not a text", id="none"),
        pytest.param(7, "is a int, not a text", id="number"),
        pytest.param("", "is no valid text of 1 to 255 characters", id="empty"),
        pytest.param("x" * 256, "is no valid text of 1 to 255 characters", id="long"),
        pytest.param("\ud800", "is no valid text of 1 to 255 characters", id="surrogate"),
    ],
)
async def test_a_key_that_is_none_keeps_the_call_from_running(
    make_lab: MakeLab, effects: Effects, key: Any, problem: str
) -> None:
    """A function that forgets to return would give all calls the one key "None", and services would drop all but one
    of them."""

    @tool(idempotency_key=lambda ctx, arguments: key)
    async def look(order: int) -> None:
        """Look up an order."""
        effects.append("ran")

    lab = await make_lab([Agent("desk", tools=[look])], script=[LOOK, DONE])
    await (await lab.start("desk")).result()
    assert outputs(lab) == [("c1", f"Error: the idempotency key {problem}")]
    assert effects == []


def said(ctx: RunContext) -> str:
    """Instructions of a plain function."""
    return f"Turn {ctx.turn} of {ctx.agent}."


async def fetched(ctx: RunContext) -> str:
    """Instructions that have to be waited for."""
    return await asyncio.to_thread(said, ctx)


@pytest.mark.parametrize("instructions", [pytest.param(said, id="sync"), pytest.param(fetched, id="async")])
async def test_instructions_may_be_a_function(make_lab: MakeLab, instructions: Any) -> None:
    """A function of the run context, sync or async, words the instructions anew for each model call."""

    @tool(effect="read_only")
    async def look(order: int) -> str:
        """Look up an order."""
        return "fine"

    lab = await make_lab([Agent("desk", instructions=instructions, tools=[look])], script=[LOOK, DONE])
    await (await lab.start("desk")).result()
    assert [request.instructions for request in lab.model.requests] == ["Turn 1 of desk.", "Turn 2 of desk."]


async def raises(_ctx: RunContext) -> str:
    """Instructions with a bug."""
    raise LookupError("no tariff for NL")


async def cancels(_ctx: RunContext) -> str:
    """Instructions that raise what looks like a cancellation."""
    raise asyncio.CancelledError


def leaves(_ctx: RunContext) -> str:
    """Instructions that would end the process."""
    raise SystemExit(3)


@pytest.mark.parametrize("instructions", [raises, cancels, leaves])
async def test_instructions_that_raise_fail_the_run(make_lab: MakeLab, instructions: Any) -> None:
    """Instructions that raise, whatever it is, end the run as InstructionsFailed and say what they raised."""
    lab = await make_lab([Agent("desk", instructions=instructions)], script=[DONE])
    run = await lab.start("desk")
    with pytest.raises(RunFailedError, match="the instructions of desk raised ") as failed:
        await run.result()
    assert failed.value.kind == "InstructionsFailed"
    assert lab.model.requests == []


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        pytest.param({}, {"model": "scripted"}, id="default-model"),
        pytest.param({"model": "gpt-5.6-mini"}, {"model": "gpt-5.6-mini"}, id="own-model"),
        pytest.param(
            {"model_settings": {"temperature": 0.2, "reasoning": {"effort": "low"}}},
            {"model": "scripted", "temperature": 0.2, "reasoning": {"effort": "low"}},
            id="settings",
        ),
    ],
)
async def test_model_and_settings_reach_the_model(
    make_lab: MakeLab, options: dict[str, Any], expected: JsonObject
) -> None:
    """The agent's model, else the plugin's default one, and every setting stand in the request."""
    lab = await make_lab([Agent("desk", **options)], script=[Reply(text("done"))])
    await (await lab.start("desk")).result()
    [request] = lab.model.requests
    assert {key: request.body[key] for key in expected} == expected


async def test_a_sync_tool_sees_its_cancellation(make_lab: MakeLab, effects: Effects) -> None:
    """A sync function that polls `cancelled` between pieces of work ends soon after the run was cancelled."""
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()

    @tool
    def grind(ctx: ToolContext) -> str:
        """Work in small pieces."""
        loop.call_soon_threadsafe(begun.set)
        while not ctx.cancelled:
            ctx.cancel_event.wait(0.05)  # a piece of work
        effects.append("stopped")
        return "stopped half-way"

    lab = await make_lab([Agent("desk", tools=[grind])], script=[Reply(call("grind"))])
    run = await lab.start("desk")
    await asyncio.wait_for(begun.wait(), 20)
    await run.cancel("enough")
    with pytest.raises(RunCancelledError, match="enough"):
        await run.result()
    assert effects == ["stopped"]
