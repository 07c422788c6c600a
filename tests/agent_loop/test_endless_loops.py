"""Fault row XM3: a model that makes the same call for ever."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from handfast import Agent, tool
from handfast.errors import RunFailedError
from handfast.testing import Reply, Script, When, call, text
from handfast.testing.script import RecordedRequest, Step, Usage
from support.evidence import failed_tasks
from support.labs import Effects, MakeLab

LOOPING = Script.rules(When(then=Reply(call("look", {"at": "fans"}), usage=Usage(60, 40))))
BUDGETS: dict[str, tuple[dict[str, Any], str, int | None]] = {
    "turns": ({"max_turns": 5}, "MaxTurnsExceeded", 5),
    "tokens": ({"max_tokens": 450}, "MaxTokensExceeded", None),
    "time": ({"max_duration": timedelta(seconds=1)}, "MaxDurationExceeded", None),
}


@pytest.mark.parametrize("budget", BUDGETS)
async def test_a_looping_model_stops_at_its_budget(make_lab: MakeLab, effects: Effects, budget: str) -> None:
    """XM3: a model that makes the same call for ever is stopped by whichever budget is used up first, with a typed
    failure; each call ran once."""
    options, kind, turns = BUDGETS[budget]

    @tool(effect="idempotent")
    async def look(at: str) -> str:
        """Look at something."""
        effects.append(at)
        return "nothing new"

    looper = Agent("looper", model="m", tools=[look], **{"max_turns": None, **options})
    lab = await make_lab([looper], script=LOOPING)
    run = await lab.start("looper")
    with pytest.raises(RunFailedError) as failed:
        await run.result()
    assert failed.value.kind == kind
    assert len(effects) == len(lab.model.requests)
    assert turns in (None, len(effects))
    assert await failed_tasks(lab, run) == 0


async def test_agents_below_agents_come_to_an_end(make_lab: MakeLab) -> None:
    """XM3: agents may use agents 32 levels deep; the deepest reads that it cannot go further, and the run ends."""
    last = Agent("a33", description="Never reached.", model="m")
    agents = [last]
    for level in reversed(range(33)):
        agents.append(Agent(f"a{level}", description="Passes it on.", model="m", tools=[agents[-1].as_tool()]))

    def step(request: RecordedRequest) -> Step:
        """Pass it on, then say what came back."""
        if request.turns:
            return Reply(text(next(iter(request.tool_outputs.values()))))
        return Reply(call(request.tool_names[0], {"input": "go on"}))

    lab = await make_lab([agents[-1]], script=Script.of(step))
    run = await lab.start("a0")
    assert (await run.result()).output == "Error: agents may call each other 32 levels deep at most."
    assert len(lab.model.requests) == 2 * 33
    assert await failed_tasks(lab, run) == 0
