"""Fault rows XD2 to XD5: conversations and comments that are too large, and the server's limits of messages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from temporalio.client import Client
from temporalio.service import RPCError

from handfast import Agent, Approve, Handfast, ToolContext, tool
from handfast.errors import DecisionInvalidError, MessageInvalidError, SignalLimitError, UpdateLimitError
from handfast.server import EmbeddedServer
from handfast.testing import Reply, call, text
from support.evidence import failed_tasks, plain, send_signal
from support.labs import Effects, MakeLab

DONE = Reply(text("done"))
WIPE = Reply(call("wipe", {"target": "t"}, "c1"))
SIGNALS = 60
UPDATES = 120
SEGMENT = 40
NOBODY = "127.0.0.1:1"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def narrow_server() -> AsyncIterator[EmbeddedServer]:
    """A server whose limits are met soon: 60 signals and 120 updates in one history, not 10,000 and 2,000."""
    limits = (f"history.maximumSignalsPerExecution={SIGNALS}", f"history.maxTotalUpdates={UPDATES}")
    options = [option for limit in limits for option in ("--dynamic-config-value", limit)]
    async with await EmbeddedServer.start(persistent=False, port=0, ui=False, extra_args=options) as running:
        yield running


def desk(effects: Effects) -> Agent:
    """An agent with one gated tool."""

    @tool(approval=True)
    async def wipe(target: str) -> str:
        """Delete a target."""
        effects.append(target)
        return "wiped"

    return Agent("desk", model="m", tools=[wipe], max_turns=5)


@pytest.mark.parametrize("segment_events", [None, 40], ids=["one-history", "fresh-histories"])
async def test_a_conversation_of_megabytes_reaches_the_model(
    make_lab: MakeLab, tmp_path: Path, segment_events: int | None
) -> None:
    """XD2: twenty outputs of 200 KB grow a conversation far beyond what one message to the server may have; the model
    gets all of it in each turn, in one history and over fresh ones, and no workflow task fails."""

    @tool(effect="read_only")
    async def read(page: int) -> str:
        """Read a page."""
        return str(page % 10) * 200_000

    pages = [Reply(call("read", {"page": n}, f"c{n}")) for n in range(20)]
    lab = await make_lab([Agent("desk", model="m", tools=[read])], script=[*pages, DONE], artifacts=tmp_path)
    run = await lab.start("desk", segment_events=segment_events or 2000)
    assert (await run.result()).output == "done"
    outputs = lab.model.requests[-1].tool_outputs
    assert [outputs[f"c{n}"] for n in range(20)] == [str(n % 10) * 200_000 for n in range(20)]
    assert (len(await lab.histories(run)) > 1) == (segment_events is not None)
    assert await failed_tasks(lab, run) == 0


@pytest.mark.parametrize("size", [64 * 1024 + 1, 2_200_000, 5_000_000])
async def test_a_comment_that_is_too_large_never_leaves(size: int) -> None:
    """XD3: a decision above 64 KiB, and a note above its own limit, are refused before anything is sent: the client has
    no server that could hear of it."""
    run = Handfast(await Client.connect(NOBODY, lazy=True)).run("any")
    words = "x" * size
    with pytest.raises(DecisionInvalidError, match="64 KiB"):
        await run.reject("any", decided_by="lead", reason=words)
    with pytest.raises(DecisionInvalidError, match="note"):
        await run.decide("any", Approve(), decided_by="lead", note=words)
    with pytest.raises(DecisionInvalidError, match="64 KiB"):
        await run.answer("any", words, decided_by="lead")
    with pytest.raises(MessageInvalidError):
        await run.send(words)


async def test_a_flood_of_signals_keeps_nobody_from_deciding(
    narrow_server: EmbeddedServer, make_lab: MakeLab, effects: Effects
) -> None:
    """XD4: a run is sent signals until the server takes no more, which it says to their sender; a decision by update
    still counts."""
    lab = await make_lab([desk(effects)], script=[WIPE, DONE], server=narrow_server)
    run = await lab.start("desk")
    request = await lab.next_request(run)
    for _ in range(SIGNALS):
        await send_signal(lab, run, "approve", [plain("no-such-request")])
    with pytest.raises(RPCError, match="limit for signal events"):
        await send_signal(lab, run, "approve", [plain(request.id)])
    with pytest.raises(SignalLimitError, match="as many signals as the server takes"):
        await run.stop("enough")
    await lab.stop_worker()
    with pytest.raises(SignalLimitError, match="no worker answers"):
        await run.approve(request, decided_by="lead", decision_id="d1")
    await lab.start_worker()
    receipt = await run.approve(request, decided_by="lead", decision_id="d1")
    assert receipt.state == "recorded"
    assert (await run.result()).output == "done"
    assert effects == ["t"]


async def test_a_run_that_waits_never_meets_the_limit_of_updates(
    narrow_server: EmbeddedServer, make_lab: MakeLab, effects: Effects
) -> None:
    """XD5: far more updates than one history may have: a run that waits goes on in a fresh one before, each is taken,
    and the request that was open all the time is decided."""
    lab = await make_lab([desk(effects)], script=[WIPE, DONE], server=narrow_server)
    run = await lab.start("desk", segment_events=SEGMENT)
    request = await lab.next_request(run)
    for n in range(UPDATES + UPDATES // 2):
        raised = await run.raise_limits(turns=1, by="lead")
        assert raised.max_turns == 5 + n + 1
    assert len(await lab.histories(run)) > 1
    assert (await run.approve(request, decided_by="lead")).state == "recorded"
    assert (await run.result()).output == "done"
    assert effects == ["t"]


async def test_where_it_is_met_it_is_a_typed_error(
    narrow_server: EmbeddedServer, make_lab: MakeLab, effects: Effects
) -> None:
    """XD5: a run that cannot leave its history, as a tool is at work, meets the limit: whoever raises its limits then
    gets a typed error, a decision is kept as a signal, and the run ends well."""
    go_on = asyncio.Event()

    @tool(effect="idempotent")
    async def work(ctx: ToolContext) -> str:
        """Work until told otherwise."""
        await go_on.wait()
        return "worked"

    busy = Agent("busy", model="m", tools=[*desk(effects).tools, work], max_turns=5)
    script = [Reply(call("wipe", {"target": "t"}, "c1"), call("work", {}, "c2")), DONE]
    lab = await make_lab([busy], script=script, server=narrow_server)
    run = await lab.start("busy")
    request = await lab.next_request(run)
    for _ in range(UPDATES):
        await run.raise_limits(turns=1, by="lead")
    with pytest.raises(UpdateLimitError, match="as many updates as the server takes"):
        await run.raise_limits(turns=1, by="lead")
    assert (await run.approve(request, decided_by="lead")).state == "stored"
    go_on.set()
    assert (await run.result()).output == "done"
    assert effects == ["t"]
