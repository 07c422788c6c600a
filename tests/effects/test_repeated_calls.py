"""A call that was answered, and that the model makes again in a later reply."""

from __future__ import annotations

import pytest

from handfast import Agent, Run, ToolContext, tool
from handfast.payloads.events import ToolCalled
from handfast.testing import Reply, call, text
from support.events import to_the_end
from support.labs import Effects, MakeLab
from support.long_runs import SHORT

DONE = Reply(text("done"))


def payer(effects: Effects) -> Agent:
    """An agent whose tool must not pay twice for one call."""

    @tool
    async def pay(ctx: ToolContext, order: int) -> str:
        """Pay an order."""
        effects.append(ctx.idempotency_key)
        return f"paid {order}"

    return Agent("payer", model="m", tools=[pay])


async def repeats(run: Run) -> list[tuple[str, str | None]]:
    """Each call that was started, and the one that it repeats."""
    return [(each.call_id, each.repeats) for each in await to_the_end(run) if isinstance(each, ToolCalled)]


async def test_a_call_that_comes_again_in_a_later_reply_is_a_new_one(make_lab: MakeLab, effects: Effects) -> None:
    """It runs again, with a key and an id of its own, and its event names the call that it repeats; another call, and
    one of the same reply, repeat nothing."""
    twice = [call("pay", {"order": 7}, "c1"), call("pay", {"order": 8}, "c2"), call("pay", {"order": 8}, "c3")]
    lab = await make_lab([payer(effects)], script=[Reply(*twice), Reply(call("pay", {"order": 7}, "c1")), DONE])
    run = await lab.start("payer")
    await run.result()
    assert len(set(effects)) == 4
    *first, (again, repeated) = await repeats(run)
    assert sorted(first) == [("c1", None), ("c2", None), ("c3", None)]
    assert again != "c1"
    assert repeated == "c1"
    assert lab.model.violations == []


@pytest.mark.parametrize("segment_events", [None, SHORT], ids=["one history", "many histories"])
async def test_each_repetition_names_the_call_before(
    make_lab: MakeLab, effects: Effects, segment_events: int | None
) -> None:
    """A third call names the second, also where the run has gone on in fresh histories in between."""
    names = [f"c{number}" for number in range(12)]
    script = [*(Reply(call("pay", {"order": 7}, name)) for name in names), DONE]
    lab = await make_lab([payer(effects)], script=script)
    run = await lab.start("payer", segment_events=segment_events)
    await run.result()
    assert await repeats(run) == list(zip(names, [None, *names], strict=False))
    assert (len(await lab.histories(run)) > 3) is (segment_events is not None)
