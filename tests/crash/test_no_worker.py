"""Fault row XA14: every worker is gone while people decide."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import pytest

from handfast import Handfast
from handfast.testing import Reply, call
from support.crash.judge import Judge
from support.crash.till_runs import DONE, till
from support.labs import MakeLab
from support.lists import eventually

RUNS: Final = 6


async def test_decisions_without_any_worker_are_stored_and_none_is_lost(make_lab: MakeLab, judge: Judge) -> None:
    """XA14: both workers are killed while six runs wait. All six are listed, each decision answers that it is stored
    and can be asked for, a repetition changes nothing, and when a worker is back each has counted, once."""
    charging = Reply(call("charge", {"order": "7"}, "c1"))
    lab = await till(make_lab, judge, *[charging] * RUNS, *[DONE] * RUNS)
    await lab.spawn_worker("support.crash.till:till")
    runs = [await lab.start("till") for _ in range(RUNS)]
    for run in runs:
        await lab.next_request(run)
    await lab.kill_worker()
    hf = Handfast(lab.client, task_queue=lab.task_queue)

    async def listed() -> list[Any]:
        found = [each for each in await hf.requests() if each.run in {run.id for run in runs}]
        return found if len(found) == RUNS else []

    waiting = {each.run: each.request for each in await eventually(listed)}
    said = [hf.run(run.id).approve if number % 2 else hf.run(run.id).reject for number, run in enumerate(runs)]
    receipts = await asyncio.gather(
        *(
            decide(waiting[run.id], decided_by="lead", decision_id=f"d-{run.id}")
            for decide, run in zip([*said, said[1]], [*runs, runs[1]], strict=True)
        )
    )
    assert [receipt.state for receipt in receipts] == ["stored"] * (RUNS + 1)
    assert judge.lines == []
    with pytest.raises(TimeoutError, match="ask again"):
        await runs[0].decision(f"d-{runs[0].id}")
    await lab.start_worker()
    for run in runs:
        await run.result()
        assert (await run.decision(f"d-{run.id}")).state == "recorded"
    assert judge.lines.count("effect charge 7") == RUNS // 2
