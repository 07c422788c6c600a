"""Workflow tasks that take longer than Temporal's SDK waits for: a run goes on when its machine has time again."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.client import Client
from temporalio.converter import DataConverter, DefaultPayloadConverter

from handfast.server import EmbeddedServer
from handfast.testing import Reply, Script, call, replay, text
from handfast.testing.script import RecordedRequest
from support.desk import desk
from support.labs import Effects, MakeLab
from support.load import taken_task, tasks_given_up

MOMENTS: Final = 9
TOO_LONG_S: Final = 2.3
"""The SDK's deadlock detector waits for two seconds."""
WITHIN_S: Final = 120.0
SOON_S: Final = 60.0
WIPE: Final = Reply(call("wipe", {"target": "tmp"}, "c1"))
DONE: Final = Reply(text("done"))


def answer(request: RecordedRequest) -> Reply:
    """Wipe, then be done."""
    return DONE if any(item["type"] == "function_call_output" for item in request.body["input"]) else WIPE


class Stalling(DefaultPayloadConverter):
    """A machine that has no time for one step of each run: when the run reads or writes its n-th payload."""

    stalls: dict[str, int] = {}
    seen: Counter[str] = Counter()

    def to_payloads(self, values: Sequence[Any]) -> list[Payload]:
        """See base class."""
        self._step()
        return super().to_payloads(values)

    def from_payloads(self, payloads: Sequence[Payload], type_hints: list[type] | None = None) -> list[Any]:
        """See base class."""
        self._step()
        return super().from_payloads(payloads, type_hints)

    def _step(self) -> None:
        if not workflow.in_workflow() or workflow.unsafe.is_read_only():
            return
        id = workflow.info().workflow_id
        self.seen[id] += 1
        if self.seen[id] == self.stalls.get(id):
            time.sleep(TOO_LONG_S)


async def test_a_run_goes_on_after_a_task_that_took_too_long_at_any_moment(
    make_lab: MakeLab, server: EmbeddedServer, effects: Effects
) -> None:
    """A step of a workflow task takes more than the two seconds after which the SDK gives the task up, at one of nine
    moments: each run goes on on the same worker, its approval counts, and its effect happens once."""
    client = await Client.connect(server.address, data_converter=DataConverter(payload_converter_class=Stalling))
    lab = await make_lab([desk(effects)], script=Script.of(answer), client=client)
    ids = [f"stalls-{moment}-{lab.task_queue}" for moment in range(1, MOMENTS + 1)]
    Stalling.stalls.update({id: moment for moment, id in enumerate(ids, 1)})

    async def to_the_end(id: str) -> Any:
        run = await lab.start("desk", id=id)
        await run.approve((await lab.next_request(run, timeout=WITHIN_S)).id, decided_by="lead")
        return (await run.result()).output

    async with asyncio.timeout(WITHIN_S):
        assert await asyncio.gather(*map(to_the_end, ids)) == ["done"] * MOMENTS
    assert all(Stalling.seen[id] >= moment for moment, id in enumerate(ids, 1))
    assert effects == ["wipe tmp"] * MOMENTS


async def test_a_replay_that_the_machine_had_no_time_for_is_done_again(
    make_lab: MakeLab, server: EmbeddedServer
) -> None:
    """A replay stalls once: the lab and `replay` do it again, and name no failure."""
    client = await Client.connect(server.address, data_converter=DataConverter(payload_converter_class=Stalling))
    lab = await make_lab([desk([])], script=[DONE], client=client)
    run = await lab.start("desk")
    assert (await run.result()).output == "done"
    Stalling.stalls[run.id] = Stalling.seen[run.id] + 2
    await lab.replay()
    Stalling.stalls[run.id] = Stalling.seen[run.id] + 2
    assert await replay(await lab.histories(run), data_converter=client.data_converter) == {}
    assert Stalling.seen[run.id] > Stalling.stalls[run.id]


async def test_a_run_stands_still_for_seconds_after_many_failed_tasks(make_lab: MakeLab, effects: Effects) -> None:
    """Workers have failed on a run's task a dozen times, and one was killed with it: the next worker gets it within
    half a minute, where the server by itself would wait for minutes."""
    lab = await make_lab([desk(effects)], script=[WIPE, DONE])
    run = await lab.start("desk")
    request = await lab.next_request(run)
    await lab.stop_worker()
    assert (await run.approve(request, decided_by="lead")).state == "stored"
    async with asyncio.timeout(WITHIN_S):
        async with tasks_given_up(lab, 12) as enough:
            await enough.wait()
        while await taken_task(lab) is None:  # and it is never answered
            continue
        await lab.start_worker()
    async with asyncio.timeout(SOON_S):
        assert (await run.result()).output == "done"
    assert effects == ["wipe tmp"]
