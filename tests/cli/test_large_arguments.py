"""Fault row XD6: arguments that are too long for a list."""

from __future__ import annotations

import hashlib
import json

import pytest

from handfast import Agent, Approve, tool
from handfast.errors import StaleDigestError
from handfast.testing import Reply, call, text
from support.commands import Cli
from support.labs import Effects, MakeLab

BODY = "".join(f"{n:05} " for n in range(50_000)) + "the end"


async def test_arguments_of_300_kb_can_be_read_to_their_end(make_lab: MakeLab, cli: Cli, effects: Effects) -> None:
    """XD6: a list shows how long arguments of 300 KB are and where they begin, `show` and `in_full` have them to their
    end, and an approval is bound to the whole: exactly that runs."""

    @tool(approval=True)
    async def store(body: str) -> str:
        """Store a text."""
        effects.append(hashlib.sha256(body.encode()).hexdigest())
        return "stored"

    lab = await make_lab([Agent("desk", model="m", tools=[store])], script=[_asks(BODY), _asks(BODY + "!"), _done()])
    run = await lab.start("desk")
    request = await lab.next_request(run)
    assert (request.arguments, request.arguments_bytes) == (None, len(json.dumps({"body": BODY})))
    assert (await run.in_full(request)).arguments == {"body": BODY}
    listed = await cli("approvals", "--run", run.id)
    assert f"({request.arguments_bytes} bytes in all)" in " ".join(listed.out.split())
    assert "the end" not in listed.out
    assert "the end" in (await cli("show", run.id)).out
    shown = (await cli("show", run.id, "--json")).document
    assert [each["arguments"] for each in shown["pending"]] == [{"body": BODY}]
    await run.approve(request, decided_by="lead")
    other = await lab.next_request(run)
    assert other.digest != request.digest
    with pytest.raises(StaleDigestError):
        await run.decide(other.id, Approve(), decided_by="lead", digest=request.digest)
    await run.reject(other, decided_by="lead")
    await run.result()
    assert effects == [hashlib.sha256(BODY.encode()).hexdigest()]


def _asks(body: str) -> Reply:
    return Reply(call("store", {"body": body}))


def _done() -> Reply:
    return Reply(text("done"))
