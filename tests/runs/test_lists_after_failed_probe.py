"""A run finds its way into lists although the server would not say at first which search attributes it has."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from handfast.activities.model import attributes as probing
from handfast.server import EmbeddedServer
from handfast.temporal.namespace import ensure_namespace, missing_search_attributes
from handfast.testing import Lab, Reply, call
from support.desk import DONE, desk
from support.evidence import failed_tasks
from support.labs import Effects, MakeLab
from support.lists import WIPE, eventually

AGAIN = Reply(call("wipe", {"target": "u"}, "c2"))


def refuse_first(monkeypatch: pytest.MonkeyPatch, failures: int) -> Callable[[], int]:
    """Let the server refuse the first probes; return a count of all."""
    asked = 0

    async def probe(client: Client) -> Any:
        nonlocal asked
        asked += 1
        if asked <= failures:
            raise RPCError("the frontend restarts", RPCStatusCode.UNAVAILABLE, b"")
        return await missing_search_attributes(client)

    monkeypatch.setattr(probing, "missing_search_attributes", probe)
    return lambda: asked


async def in_two_turns(lab: Lab) -> Any:
    """A run that asks a person once in each of two turns, at the second request."""
    run = await lab.start("desk", labels={"lab": lab.task_queue})
    first = await lab.next_request(run)
    await run.approve(first, decided_by="lead")
    await lab.model.wait_for_request(2)
    return run


async def test_one_failed_probe_does_not_hide_a_run_from_lists(
    make_lab: MakeLab, effects: Effects, cache: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A run whose first probe for search attributes failed is in the lists from its next turn on; a warning tells."""
    asked = refuse_first(monkeypatch, 1)
    lab = await make_lab([desk(effects)], script=[WIPE, AGAIN, DONE], max_cached_workflows=cache)
    with caplog.at_level(logging.WARNING, logger="handfast"):
        run = await in_two_turns(lab)

        async def listed() -> list[str]:
            return [info.id for info in await lab.hf.runs(label=f"lab={lab.task_queue}", status="waiting")]

        assert await eventually(listed) == [run.id]
    assert [record.levelname for record in caplog.records if record.name == probing.__name__] == ["WARNING"]
    await run.reject(await lab.next_request(run), decided_by="lead")
    assert (await run.result()).output == "done"
    assert asked() == 2
    assert await failed_tasks(lab, run) == 0


async def test_a_namespace_without_attributes_is_asked_once(
    make_lab: MakeLab, effects: Effects, server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the answer is that the attributes are missing, a run does not ask again."""
    asked = refuse_first(monkeypatch, 0)
    plain = await Client.connect(server.address)
    await ensure_namespace(plain, "bare-probe", timedelta(days=1))
    client = await Client.connect(server.address, namespace="bare-probe")
    lab = await make_lab([desk(effects)], script=[WIPE, AGAIN, DONE], client=client)
    run = await in_two_turns(lab)
    await run.reject(await lab.next_request(run), decided_by="lead")
    assert (await run.result()).output == "done"
    assert asked() == 1
