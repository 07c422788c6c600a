"""Tool options: retries, and when a tool is offered."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from handfast import Agent, Retry, RunContext, ToolContext, tool
from handfast.testing import Reply, call, text
from support.desk import outputs
from support.labs import Effects, MakeLab

DONE = Reply(text("done"))
LOOK = Reply(call("look", {}, "c1"))
SOON = timedelta(milliseconds=10)


async def test_a_retry_repeats_the_exceptions_that_it_names(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """A retried tool is tried again after the exceptions that its Retry names, always with the same key."""

    @tool(effect="idempotent", retry=Retry(attempts=4, first_pause=SOON, on=(ConnectionError,)))
    async def look(ctx: ToolContext) -> str:
        """Look."""
        effects.append(ctx.idempotency_key)
        if ctx.attempt < 3:
            raise ConnectionResetError("gone")
        return f"attempt {ctx.attempt}"

    lab = await make_lab([Agent("desk", model="m", tools=[look])], script=[LOOK, DONE], max_cached_workflows=cache)
    await (await lab.start("desk")).result()
    assert outputs(lab) == [("c1", "attempt 3")]
    assert len(effects) == 3
    assert len(set(effects)) == 1


@pytest.mark.parametrize(
    ("error", "attempts"),
    [pytest.param(ConnectionResetError("gone"), 2, id="named"), pytest.param(ValueError("no"), 1, id="another")],
)
async def test_an_exception_that_no_retry_mends_is_told(
    make_lab: MakeLab, effects: Effects, error: Exception, attempts: int
) -> None:
    """After the last attempt, and after any other exception at once, the model reads the error as without a Retry."""

    @tool(effect="read_only", retry=Retry(attempts=2, first_pause=SOON, on=(ConnectionError,)))
    def look() -> str:
        """Look."""
        effects.append("tried")
        raise error

    lab = await make_lab([Agent("desk", model="m", tools=[look])], script=[LOOK, DONE])
    await (await lab.start("desk")).result()
    assert outputs(lab) == [("c1", f"Error: {type(error).__name__}: {error}")]
    assert effects == ["tried"] * attempts


async def test_a_tool_is_offered_while_it_is_enabled(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """An enabled rule is asked before each model call; what it hides is not offered, and a call to it is unknown."""

    def unlocked(ctx: RunContext[Any]) -> bool:
        return bool(ctx.context["unlocked"])

    @tool(enabled=unlocked)
    async def wipe() -> str:
        """Wipe."""
        effects.append("wiped")
        return "wiped"

    @tool
    async def unlock(ctx: ToolContext) -> str:
        """Unlock."""
        ctx.context["unlocked"] = True
        return "unlocked"

    @tool(enabled=False)
    async def never() -> None:
        """Never offered."""

    lab = await make_lab(
        [Agent("desk", model="m", tools=[wipe, unlock, never])],
        script=[
            Reply(call("unlock", {}, "c2"), call("never", {}, "c3")),
            Reply(call("wipe", {}, "c4")),
            DONE,
        ],
        max_cached_workflows=cache,
    )
    run = await lab.start("desk", context={"unlocked": False})
    await run.result()
    offered = [[each["name"] for each in request.body["tools"]] for request in lab.model.requests]
    assert offered == [["unlock"], ["wipe", "unlock"], ["wipe", "unlock"]]
    assert outputs(lab, 3) == [
        ("c2", "unlocked"),
        ("c3", "Error: there is no tool 'never'; there are: unlock"),
        ("c4", "wiped"),
    ]


async def test_a_rule_that_cannot_tell_leaves_its_tool_out(make_lab: MakeLab, caplog: pytest.LogCaptureFixture) -> None:
    """An enabled rule that raises, or answers no bool, fails closed and says so in the log."""

    def raising(_ctx: RunContext) -> bool:
        raise KeyError("bug")

    async def nonsense(_ctx: RunContext) -> Any:
        return "yes"

    @tool(enabled=raising)
    def first() -> None:
        """First."""

    @tool(enabled=nonsense)
    def second() -> None:
        """Second."""

    @tool(enabled=lambda _ctx: True)
    def third() -> None:
        """Third."""

    lab = await make_lab([Agent("desk", model="m", tools=[first, second, third])], script=[DONE])
    await (await lab.start("desk")).result()
    assert [each["name"] for each in lab.model.requests[0].body["tools"]] == ["third"]
    assert "the enabled rule of first raised KeyError; it is not offered (agent desk, turn 1" in caplog.text
    assert "the enabled rule of second answered str, not True or False; it is not offered" in caplog.text
