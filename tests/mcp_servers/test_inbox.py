"""`handfast mcp`: an assistant starts runs, and decides what waits in the name of the person whose session it is."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from mcp import Client, StdioServerParameters, stdio_client

from handfast import Agent, Approval, question, tool
from handfast.payloads.events import RequestDecided
from handfast.testing import Lab, Reply, call, text
from support.labs import Effects, MakeLab

DONE = Reply(text("done"))
WIPE = Reply(call("wipe", {"target": "temp"}, "c1"))


def desk(effects: Effects, approval: Any = True) -> Agent:
    """An agent with a gated tool, and a question."""

    @tool(approval=approval)
    async def wipe(target: str) -> str:
        """Delete a target."""
        effects.append(target)
        return "wiped"

    return Agent("desk", model="m", tools=[wipe, question()])


class Assistant:
    """Calls the tools of a session."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def __call__(self, name: str, **arguments: Any) -> Any:
        """What a tool says, which has to work."""
        result = await self._client.call_tool(name, arguments)
        assert not result.is_error, result.content
        return result.structured_content or json.loads(getattr(result.content[0], "text", ""))

    async def refused(self, name: str, **arguments: Any) -> str:
        """Why it does not."""
        result = await self._client.call_tool(name, arguments)
        assert result.is_error
        return str(getattr(result.content[0], "text", ""))

    async def tools(self) -> dict[str, Any]:
        """Every tool with its hints."""
        return {each.name: each.annotations for each in (await self._client.list_tools()).tools}


@asynccontextmanager
async def assistant(lab: Lab, by: str | None) -> AsyncIterator[Assistant]:
    """A session of ``handfast mcp``, as an assistant's program starts it."""
    parameters = StdioServerParameters(
        command=sys.executable,
        args=["-m", "handfast", "mcp", *(["--by", by] if by else [])],
        env={
            **{name: value for name, value in os.environ.items() if name != "HANDFAST_USER"},
            "TEMPORAL_ADDRESS": lab.client.service_client.config.target_host,
            "TEMPORAL_NAMESPACE": lab.client.namespace,
            "HANDFAST_TASK_QUEUE": lab.task_queue,
        },
    )
    async with Client(stdio_client(parameters)) as client:
        yield Assistant(client)


async def test_an_assistant_is_the_inbox(make_lab: MakeLab) -> None:
    """It starts a run, lists what waits, shows it, decides what was shown, and reads the answer."""
    effects: Effects = []
    lab = await make_lab([desk(effects)], script=[WIPE, DONE])
    async with assistant(lab, "lead") as ask:
        hints = await ask.tools()
        assert sorted(hints) == ["decide", "list_approvals", "show_approval", "show_run", "start_run"]
        assert [name for name, each in hints.items() if not each.read_only_hint] == ["start_run", "decide"]
        run = (await ask("start_run", agent="desk", input="wipe temp", labels={"team": "it"}))["run"]
        request = await lab.next_request(lab.hf.run(run))
        [line] = (await ask("list_approvals", run=run))["requests"]
        assert (line["request"], line["tool"], line.get("may_not_decide")) == (request.id, "wipe", None)
        shown = await ask("show_approval", request=request.id[:8], run=run)
        assert (shown["arguments"], shown["requested_by"], shown["run"]) == ({"target": "temp"}, "lead", run)
        stale = await ask.refused("decide", request=request.id, run=run, digest="0" * 64, verdict={"kind": "approve"})
        assert "StaleDigestError" in stale
        assert effects == []
        decided = await ask(
            "decide", request=request.id, run=run, digest=shown["digest"], verdict={"kind": "approve"}, note="so be it"
        )
        assert decided["receipt"]["state"] == "recorded"
        ended = await ask("show_run", run=run, wait_s=30)
        assert (ended["result"]["output"], ended["pending"]) == ("done", [])
    assert effects == ["temp"]
    log = [event async for event in lab.hf.run(run).events() if isinstance(event, RequestDecided)]
    assert [(event.by, event.why) for event in log] == [("lead", "so be it")]


@pytest.mark.parametrize(
    ("by", "approval", "why"),
    [
        pytest.param(None, True, "this session has no identity; start `handfast mcp --by NAME`", id="nobody"),
        pytest.param("ana", Approval(approvers=["cfo"]), "ana may not decide it; it waits for", id="somebody-else"),
        pytest.param("ana", Approval(exclude_requester=True), "ana asked for it or changed it", id="who-asked"),
        pytest.param("ana", Approval(approvers=["group:it"]), "NotAnApproverError", id="not-of-the-group"),
    ],
)
async def test_who_may_not_decide_is_refused(make_lab: MakeLab, by: str | None, approval: Any, why: str) -> None:
    """The identity is the session's, and no argument of a call changes it; what waits can be seen all the same."""
    effects: Effects = []
    lab = await make_lab([desk(effects, approval)], script=[WIPE, DONE], groups={"it": ["bob"]})
    run = await lab.start("desk", requested_by="ana")
    request = await lab.next_request(run)
    async with assistant(lab, by) as ask:
        [line] = (await ask("list_approvals", run=run.id))["requests"]
        assert line["request"] == request.id
        refused = await ask.refused(
            "decide", request=request.id, run=run.id, digest=request.digest, verdict={"kind": "approve"}
        )
        assert why in refused
        assert why in line.get("may_not_decide", "NotAnApproverError")
    assert effects == []
    assert [each.id for each in await run.pending()] == [request.id]


async def test_other_verdicts_and_what_is_wrong_with_them(make_lab: MakeLab) -> None:
    """A rejection has its reason, a question its answer; what no request takes is refused in a sentence."""
    effects: Effects = []
    asks = Reply(call("ask_person", {"question": "Which?"}, "c2"))
    lab = await make_lab([desk(effects)], script=[WIPE, asks, DONE])
    run = await lab.start("desk")
    request = await lab.next_request(run)
    async with assistant(lab, "lead") as ask:
        about = {"request": request.id, "run": run.id, "digest": request.digest}
        assert "VerdictNotAllowedError" in await ask.refused("decide", **about, verdict={"kind": "give_up"})
        assert "no request 0000" in await ask.refused("show_approval", request="00000000", run=run.id)
        assert "RunNotFoundError" in await ask.refused("show_run", run="nothing")
        await ask("decide", **about, verdict={"kind": "reject", "reason": "not today"})
        asked = await lab.next_request(run)
        answer = {"kind": "answer", "output": "the green one"}
        await ask("decide", request=asked.id, run=run.id, digest=asked.digest, verdict=answer)
        assert (await run.result()).output == "done"
        assert "no request" in await ask.refused("decide", **about, verdict={"kind": "approve"})
    assert effects == []
