"""What a tool talks to dies in the middle of its call."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

import pytest
import pytest_asyncio

from handfast import Ran, RunAgain
from handfast.testing import Reply, Script, call, text
from handfast.testing.script import RecordedRequest, Step
from support.crash.ledger import VARIABLE, Ledger
from support.crash.shop import shop
from support.labs import MakeLab


def play(request: RecordedRequest) -> Step:
    """One call, then the end."""
    if request.tool_outputs:
        return Reply(text("done"))
    return Reply(call("charge", {"run": request.first_user_text}, "c1"))


@pytest_asyncio.fixture(loop_scope="session")
async def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Ledger]:
    """A ledger of the test's own, which may die."""
    async with Ledger(tmp_path) as running:
        monkeypatch.setenv(VARIABLE, running.environment[VARIABLE])
        yield running


@pytest.mark.parametrize(
    ("when", "verdict", "output"),
    [
        pytest.param("before", RunAgain(), "charged", id="it-was-not-kept"),
        pytest.param("after", Ran(output="kept, says the ledger"), "kept, says the ledger", id="it-was-kept"),
    ],
)
async def test_a_connection_that_breaks_in_the_middle_of_a_call_leaves_it_in_doubt(
    make_lab: MakeLab, ledger: Ledger, when: Literal["before", "after"], verdict: RunAgain | Ran, output: str
) -> None:
    """XA18: the service behind an at_most_once tool is killed while it is called: the call is not failed but in doubt,
    nothing is repeated, and a person who looked there says what was the case."""
    lab = await make_lab([shop], script=Script.of(play))
    held = await ledger.hold("charge", when)
    run = await lab.start("shop", "order-7")
    await run.approve(await lab.next_request(run), decided_by="lead")
    assert await held == b"held\n"
    await ledger.kill()
    doubt = await lab.next_request(run)
    assert (doubt.kind, doubt.tool, doubt.verdicts) == ("in_doubt", "charge", ["ran", "run_again", "give_up"])
    assert doubt.facts is not None
    assert "the tool raised ConnectionResetError" in str(doubt.facts["ended"])
    await ledger.start()
    assert ledger.effects("order-7")["charge"] == (when == "after")
    await run.decide(doubt, verdict, decided_by="lead")
    assert (await run.result()).output == "done"
    assert ledger.effects("order-7")["charge"] == 1
    assert lab.model.requests[-1].tool_outputs == {"c1": output}
