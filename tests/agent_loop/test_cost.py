"""Prices of model entries: what runs cost, and a limit of money."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, strategies as st
from openai import AsyncOpenAI

from handfast import Agent, ChatCompletionsModel, Compact, Price, ResponsesModel, tool
from handfast.errors import DecisionInvalidError, DefinitionError, GrantRefusedError, RunFailedError, TurnFailedError
from handfast.payloads.events import ModelReplied
from handfast.payloads.usage import Usage as Counted
from handfast.testing import Reply, call, text
from handfast.testing.script import Usage
from support.labs import Effects, MakeLab

PRICES = {"big": Price(input=10, cached_input="2.5", output=40), "small": Price(input="0.1", output="0.4")}
PRICED: dict[str, Any] = {"default": lambda client: ResponsesModel(client, prices=PRICES)}
SPENT = Usage(input_tokens=1000, output_tokens=250)
"""0.02 of the big model's, 0.0002 of the small one's."""
DONE = Reply(text("done"), usage=SPENT)


def desk(effects: Effects, *, model: str | None = "big", **options: Any) -> Agent:
    """An agent with one free tool."""

    @tool(effect="idempotent")
    async def look(check: str) -> str:
        """Look at something."""
        effects.append(check)
        return "fine"

    return Agent("desk", model=model, tools=[look], **options)


def looking(check: str, usage: Usage = SPENT) -> Reply:
    """A reply that calls the tool."""
    return Reply(call("look", {"check": check}), usage=usage)


# --- what runs cost ---


async def test_a_run_says_what_it_cost(make_lab: MakeLab, effects: Effects) -> None:
    """Each reply by the price of its model, exactly; what the provider had cached costs less."""
    script = [looking("a", Usage(1000, 250, 400)), DONE]
    lab = await make_lab([desk(effects)], script=script, models=PRICED)
    run = await lab.start("desk")
    result = await run.result()
    assert [each.usage.cost for each in result.by_request] == [Decimal("0.017"), Decimal("0.02")]
    assert result.usage.cost == Decimal("0.037")
    assert (await run.status()).usage.cost == Decimal("0.037")
    costs = [event.usage.cost async for event in run.events() if isinstance(event, ModelReplied)]
    assert costs == [Decimal("0.017"), Decimal("0.02")]


async def test_a_reply_without_a_price_costs_nothing_known(make_lab: MakeLab, effects: Effects) -> None:
    """Without a price there is no cost, rather than one of 0."""
    lab = await make_lab([desk(effects)], script=[DONE], models=PRICED)
    assert (await (await lab.start("desk", model="unknown")).result()).usage.cost is None


@pytest.mark.parametrize("entry", [ResponsesModel, ChatCompletionsModel])
async def test_every_entry_may_have_prices(make_lab: MakeLab, effects: Effects, entry: Any) -> None:
    """A price under ``"*"`` is that of every model that has none of its own."""
    models = {"default": lambda client: entry(client, prices={"*": Price(input=0, output=1000)})}
    lab = await make_lab([desk(effects)], script=[DONE], models=models)
    assert (await (await lab.start("desk")).result()).usage.cost == Decimal("0.25")


async def test_what_was_paid_for_nothing_counts_too(make_lab: MakeLab, effects: Effects) -> None:
    """A reply that cannot be used has been paid; so has a summary of the conversation."""
    scribe = Agent("scribe", model="small")
    agent = desk(effects, compaction=Compact(at_tokens=900, by=scribe, keep_turns=0))
    script = [Reply(text(""), usage=SPENT), DONE, Reply(text("It was fine."), usage=SPENT), DONE]
    lab = await make_lab([agent, scribe], script=script, models=PRICED)
    session = lab.hf.session("s-summed-up", agent="desk")
    for _ in range(2):
        assert await (await session.send("hello")).output() == "done"
    status = await session.status()
    assert [request.model for request in lab.model.requests] == ["big", "big", "small", "big"]
    assert status.usage.cost == Decimal("0.0602")


@given(st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**9)), max_size=20))
def test_costs_add_up_exactly(spent: list[tuple[int, int]]) -> None:
    """Nothing is rounded: neither by adding, nor on the wire."""
    price = Price(input="0.075", output="0.3")
    total = Counted()
    for read, written in spent:
        usage = Counted(input_tokens=read, output_tokens=written)
        total = total.plus(usage.model_copy(update={"cost": price.of(usage)}))
        assert Counted.from_wire(total.to_wire()) == total
    exact = sum(75 * read + 300 * written for read, written in spent)
    assert (total.cost or Decimal(0)) * 10**9 == exact


@pytest.mark.parametrize(
    "given", [-1, float("nan"), float("inf"), "ten", True, None, "1e-9", "0.0000001", 10**13, [], "1,5"]
)
def test_a_wrong_price_is_refused(given: Any) -> None:
    """A price is an amount of money."""
    with pytest.raises(DefinitionError, match="amount of money"):
        Price(input=given, output=1)


@pytest.mark.parametrize("given", [[], {"m": 5}, {5: Price(input=1, output=1)}, Price(input=1, output=1)])
async def test_wrong_prices_are_refused(given: Any) -> None:
    """An entry says whose prices they are."""
    async with AsyncOpenAI(api_key="none") as client:
        with pytest.raises(DefinitionError, match="prices must map"):
            ResponsesModel(client, prices=given)


# --- a limit of money ---


async def test_a_run_ends_at_its_limit_of_money(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """A reply that was begun is taken; then the limit is looked at, and the failure says both numbers."""
    lab = await make_lab(
        [desk(effects, max_cost=0.03)],
        script=[looking("a"), looking("b"), DONE],
        models=PRICED,
        max_cached_workflows=cache,
    )
    with pytest.raises(RunFailedError, match=r"desk has cost 0.04 of 0.03 without an answer; raise max_cost") as failed:
        await (await lab.start("desk")).result()
    assert failed.value.kind == "MaxCostExceeded"
    assert failed.value.usage is not None
    assert failed.value.usage.cost == Decimal("0.04")
    assert len(lab.model.requests) == 2


async def test_granted_money_continues_the_run_where_it_stopped(
    make_lab: MakeLab, effects: Effects, cache: int
) -> None:
    """A person is asked for more; too little is refused with the amount that is missing."""
    agent = desk(effects, max_cost="0.01", on_limit="ask")
    lab = await make_lab([agent], script=[looking("a"), DONE], models=PRICED, max_cached_workflows=cache)
    run = await lab.start("desk")
    request = await lab.next_request(run)
    assert (request.kind, request.facts) == ("budget", {"what": "cost", "used": "0.02", "limit": "0.01"})
    for cost in ("0.005", "0.01"):
        with pytest.raises(GrantRefusedError, match=r"about cost: 0.02 of 0.01 are used; grant more than 0.01"):
            await run.grant(request, cost=cost, decided_by="lead")
    with pytest.raises(GrantRefusedError, match="about cost"):
        await run.grant(request, tokens=5, decided_by="lead")
    await lab.replace_worker()
    await run.grant(request, cost=0.5, decided_by="lead")
    result = await run.result()
    assert (result.output, result.usage.cost) == ("done", Decimal("0.04"))


async def test_the_limit_is_raised_before_it_is_reached(make_lab: MakeLab, effects: Effects) -> None:
    """`raise_limits` says what holds by now; an amount that is none is refused."""
    agent = desk(effects, max_cost="0.01", on_limit="ask")
    lab = await make_lab([agent], script=[looking("a"), DONE], models=PRICED)
    run = await lab.start("desk")
    await lab.next_request(run)
    for wrong in (0, -1, "ten", float("nan")):
        with pytest.raises(DecisionInvalidError):
            await run.raise_limits(cost=wrong)
    raised = await run.raise_limits(cost="0.04")
    assert raised.max_cost == Decimal("0.05")
    assert (await run.result()).output == "done"


async def test_money_adds_up_over_nested_agents(make_lab: MakeLab, effects: Effects) -> None:
    """What an agent spends that is used as a tool counts for the one above it, each by its own model's price."""
    helper = Agent("helper", description="Helps.", model="small")
    boss = Agent("boss", model="big", tools=[helper.as_tool()], max_cost="0.0201")
    script = [Reply(call("helper", {"input": "x"}), usage=SPENT), DONE, DONE]
    lab = await make_lab([boss], script=script, models=PRICED)
    with pytest.raises(RunFailedError, match=r"boss has cost 0.0202 of 0.0201"):
        await (await lab.start("boss")).result()
    assert [request.model for request in lab.model.requests] == ["big", "small"]


async def test_a_session_has_a_budget_of_money(make_lab: MakeLab, effects: Effects) -> None:
    """It holds for all messages together; a raise lets the conversation go on."""
    lab = await make_lab([desk(effects)], script=[DONE] * 4, models=PRICED)
    session = lab.hf.session("s-money", agent="desk", max_session_cost="0.03")
    for _ in range(2):
        assert await (await session.send("hello")).output() == "done"
    with pytest.raises(TurnFailedError, match=r"the session has cost 0.04 of 0.03") as failed:
        await (await session.send("hello")).output()
    assert failed.value.kind == "MaxCostExceeded"
    raised = await session.raise_limits(cost=1, session=True)
    assert raised.session_cost == Decimal("1.03")
    assert await (await session.send("hello")).output() == "done"


# --- models without a price ---


@pytest.mark.parametrize("model", ["unknown", ["big", "unknown"]])
async def test_a_worker_refuses_a_limit_that_it_could_not_hold(make_lab: MakeLab, effects: Effects, model: Any) -> None:
    """Every model of an agent with a limit of money has a price."""
    with pytest.raises(DefinitionError, match=r"'default' has no price for 'unknown'; add it: prices="):
        await make_lab([desk(effects, model=model, max_cost=1)], models=PRICED)


async def test_a_model_without_a_price_is_not_asked_under_a_limit(make_lab: MakeLab, effects: Effects) -> None:
    """Nobody could say when the limit is reached: not for a model of one run, nor in a nested agent, nor a session."""
    helper = Agent("helper", description="Helps.", model="unknown")
    boss = Agent("boss", model="big", tools=[helper.as_tool(on_error="fail")], max_cost=1)
    free = Agent("free", model="unknown")
    script = [Reply(call("helper", {"input": "x"}), usage=SPENT)]
    lab = await make_lab([boss, desk(effects, max_cost=1), free], script=script, models=PRICED)
    for start in (lab.start("desk", model="unknown"), lab.start("boss")):
        with pytest.raises(RunFailedError, match="no price for 'unknown'"):
            await (await start).result()
    session = lab.hf.session("s-free", agent="free", max_session_cost=1)
    with pytest.raises(TurnFailedError, match="no price for 'unknown'"):
        await (await session.send("hello")).output()
    assert [request.model for request in lab.model.requests] == ["big"]


@pytest.mark.parametrize("limit", [0, -1, "much", float("nan"), True])
def test_a_wrong_limit_is_refused(limit: Any) -> None:
    """A limit of money is an amount above 0."""
    with pytest.raises(DefinitionError, match=r"max_cost must be an amount of money such as 0.25, or None"):
        Agent("desk", max_cost=limit)
