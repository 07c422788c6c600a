"""A reviewer, as the command line shows it."""

from __future__ import annotations

import asyncio
import json

from handfast import Agent, Approval, Opinion, ReviewInput, RunContext, tool
from handfast.cli import exits
from handfast.testing import Reply, call, text
from support.commands import Cli
from support.evidence import logged
from support.labs import MakeLab


def judge(ctx: RunContext, review: ReviewInput) -> Opinion:
    """Approve what is temporary, and be unsure of the rest."""
    return Opinion("approve", "it looks temporary", 0.9 if review.arguments["target"] == "temp" else 0.4)


async def never(ctx: RunContext, review: ReviewInput) -> Opinion:
    """Take long."""
    await asyncio.Event().wait()
    raise AssertionError


@tool(approval=Approval(review=judge))
async def wipe(target: str) -> str:
    """Delete a target."""
    return f"wiped {target}"


@tool(approval=Approval(review=never))
async def burn(target: str) -> str:
    """Burn a target."""
    return f"burnt {target}"


async def test_a_reviewers_opinion_is_shown_wherever_requests_are(make_lab: MakeLab, cli: Cli) -> None:
    """`approvals`, `show` and `watch` say which reviewer is asked, what it thinks, and why people decide;
    nobody can decide under its name."""
    calls = Reply(
        *(call("wipe", {"target": each}, each) for each in ("temp", "logs")), call("burn", {"target": "x"}, "b")
    )
    lab = await make_lab([Agent("desk", model="m", tools=[wipe, burn])], script=[calls, Reply(text("done"))])
    run = await lab.start("desk", id=f"reviewed-{lab.task_queue}")
    await logged(lab, run, "reviewed", 2)
    logs, burning = await run.pending()
    listed, shown, document = await asyncio.gather(
        cli("approvals", "--run", run.id), cli("show", run.id), cli("show", run.id, "--json")
    )
    assert "REVIEWER" in listed.out
    assert "approve: low_confidence" in " ".join(listed.out.split())
    assert "is asked" in listed.out
    opinion = "approve with confidence 0.40, left to people (low confidence): it looks temporary"
    assert f"reviewer:judge: {opinion}" in shown.out
    assert "reviewer:never is asked, for 60 s at most" in shown.out
    assert document.document["pending"][0]["review"]["left"] == "low_confidence"
    forged = await cli("approve", logs.id, "--run", run.id, "--by", "reviewer:judge")
    assert forged.code != exits.OK
    assert "say which person it is" in forged.line
    for each in (logs, burning):
        assert (await cli("reject", each.id, "--run", run.id, "--by", "lead")).code == exits.OK
    await run.result()
    watched, told = await asyncio.gather(cli("watch", run.id), cli("watch", run.id, "--json"))
    assert "wipe reviewed by reviewer:judge: approve with confidence 0.90: it looks temporary" in watched.out
    assert "wipe decided approve by reviewer:judge (it looks temporary)" in watched.out
    assert f"wipe reviewed by reviewer:judge: {opinion}" in watched.out
    events = [json.loads(line) for line in told.out.splitlines()]
    assert [each["confidence"] for each in events if each["type"] == "request_reviewed"] == [0.9, 0.4]
