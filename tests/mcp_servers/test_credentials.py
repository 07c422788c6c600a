"""What a server is given to be reached with, and what its calls have to prove."""

from __future__ import annotations

from typing import Any

import pytest

from handfast import Agent, Approve, Handfast, McpServer, Secret
from handfast.errors import DecisionUnsignedError
from handfast.testing import Reply, call, text
from support.desk import outputs
from support.labs import MakeLab
from support.mcp.packages import program
from support.mcp.world import World, said
from support.signed_desk import GATEWAY
from support.signing import ring

DONE = Reply(text("done"))
WRITE = Reply(call("write", {"name": "a"}, "c1"))


def resolve(reference: str) -> str:
    """Keeps one secret."""
    return {"vault:notes": "s3cret-token"}[reference]


@pytest.mark.parametrize("auth", ["s3cret-token", Secret("vault:notes")], ids=["text", "secret"])
async def test_a_token_goes_with_every_request(make_lab: MakeLab, world: World, auth: Any) -> None:
    """``auth`` is sent as a bearer token, as it stands or as the worker finds it."""
    world.answers = None
    async with world.served() as served:
        agent = Agent("desk", model="m", mcp=[served.http(approval=False, auth=auth)])
        lab = await make_lab([agent], script=[WRITE, DONE], secrets=resolve)
        run = await lab.start("desk")
        called = await world.called()
        assert called.authorization == "Bearer s3cret-token"
        called.answer(said("written"))
        assert (await run.result()).output == "done"


async def test_a_secret_goes_to_the_process_and_nowhere_else(
    make_lab: MakeLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server has few of the worker's variables, and those that it is given; what it says of a secret is hidden."""
    monkeypatch.setenv("OF_THE_WORKER", "not for servers")
    server = McpServer.stdio("everything", program("mcp-server-everything"), env={"TOKEN": Secret("vault:notes")})
    lab = await make_lab(
        [Agent("desk", model="m", mcp=[server])], script=[Reply(call("get-env", {}, "c1")), DONE], secrets=resolve
    )
    assert (await (await lab.start("desk")).result()).output == "done"
    [(_, output)] = outputs(lab)
    assert '"TOKEN": "[secret]"' in output
    assert "s3cret-token" not in output
    assert "not for servers" not in output


async def test_a_secret_that_is_missing_is_named(make_lab: MakeLab, caplog: pytest.LogCaptureFixture) -> None:
    """A server that is not required is left out, and the log names the secret."""
    server = McpServer.stdio("everything", "any", env={"TOKEN": Secret("vault:other")}, required=False)
    lab = await make_lab([Agent("desk", model="m", mcp=[server])], script=[DONE], secrets=resolve)
    assert (await (await lab.start("desk")).result()).output == "done"
    assert "the MCP server everything needs vault:other, which is missing on this worker" in caplog.text


async def test_in_production_a_call_runs_on_a_signed_approval(make_lab: MakeLab, world: World) -> None:
    """A decision that is not signed is refused; a signed one lets the call run, once."""
    agent = Agent("desk", model="m", mcp=[world.stdio()])
    lab = await make_lab([agent], script=[WRITE, DONE], trusted_keys=ring(GATEWAY), signer=GATEWAY)
    run = await lab.start("desk")
    request = await lab.next_request(run)
    with pytest.raises(DecisionUnsignedError):
        await Handfast(lab.client).run(run.id).approve(request, decided_by="lead")
    assert world.effects == []
    await run.decide(request, Approve(), decided_by="lead")
    assert (await run.result()).output == "done"
    assert world.effects == ["write a"]
