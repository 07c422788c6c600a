"""An archive or a store of artifacts that is down holds up neither workers nor those who decide."""

from __future__ import annotations

import logging

import pytest

from handfast import Handfast
from handfast.cli import exits
from handfast.errors import ArtifactsUnavailableError, DefinitionError
from handfast.storage.artifacts import artifact_store
from handfast.testing import Reply, call, text
from support.command_desk import DESK, on
from support.commands import Cli
from support.labs import MakeLab

AWAY = "ftp://127.0.0.1:1/kept"
"""A store whose file system connects as soon as it is made, at a port where nothing listens."""
ASKS = Reply(call("wipe", {"target": "temp"}, "c1"))
DONE = Reply(text("all done"))


async def test_a_run_goes_on_while_its_stores_are_away(make_lab: MakeLab, caplog: pytest.LogCaptureFixture) -> None:
    """Worker and client start, a request is decided, and the run ends; its events and its conversation are read
    from the server and the worker."""
    with caplog.at_level(logging.ERROR, logger="handfast"):
        lab = await make_lab([DESK], script=[ASKS, DONE], archive=AWAY, artifacts=AWAY)
        run = await lab.start("desk")
        await run.approve(await lab.next_request(run), decided_by="lead")
        assert (await run.result()).output == "all done"
        assert [event.type async for event in run.events(wait=False)][-1] == "run_finished"
        assert [item["type"] for item in await run.transcript()][-1] == "message"


async def test_commands_go_on_while_the_stores_are_away(make_lab: MakeLab, cli: Cli) -> None:
    """`start`, `approvals`, `approve` and `show` need none of them; `doctor` names both; what does need them says
    which one cannot be reached."""
    lab = await make_lab([DESK], script=[ASKS, DONE])
    here = cli.with_({"HANDFAST_ARCHIVE": AWAY, "HANDFAST_ARTIFACTS": AWAY})
    started = await here("start", "desk", "go", "--no-wait", *on(lab))
    assert (started.code, started.err) == (exits.OK, "")
    run = lab.watch(lab.hf.run(started.out.strip()))
    request = await lab.next_request(run)
    assert request.id[:8] in (await here("approvals", "--run", run.id)).out
    assert (await here("approve", request.id[:8], "--run", run.id, "--by", "lead")).code == exits.OK
    assert (await run.result()).output == "all done"
    assert (await here("show", run.id)).code == exits.OK
    looked = await here("doctor", *on(lab), "--json")
    wrong = {each["check"]: each["said"] for each in looked.document["findings"] if each["state"] == "wrong"}
    assert looked.code == exits.UNHEALTHY
    for store in ("archive", "artifacts"):
        assert "cannot be read from here" in wrong[store]
    exported = await here("export", run.id)
    assert exported.code == exits.NOT_SET_UP
    assert "the store of artifacts cannot be reached (ConnectionRefusedError)" in exported.err


async def test_a_run_that_is_erased_says_which_store_is_away(make_lab: MakeLab) -> None:
    """Its history is gone, and the error names the store; once that is back, erasing again erases the rest."""
    lab = await make_lab([DESK], script=[DONE], replay=False)
    run = await lab.hf.start("desk", "go")
    await run.result()
    hf = Handfast(lab.client, artifacts=AWAY, archive=AWAY)
    with pytest.raises(ArtifactsUnavailableError, match="ConnectionRefusedError"):
        await hf.erase(run.id)
    assert (await lab.hf.erase(run.id)).run == run.id


@pytest.mark.parametrize("url", ["ftp://user:pass@word:port/x", "nowhere-known://x", "simplecache::nowhere-known://x"])
def test_a_place_that_can_never_be_opened_is_refused_at_once(url: str) -> None:
    """Only what may come back is waited for; what the URL holds is not repeated."""
    with pytest.raises(DefinitionError, match="cannot be opened by fsspec") as refused:
        artifact_store(url)
    assert "pass" not in str(refused.value)
