"""Fault row XG5: new code changes the arguments of a call between its approval and its effect."""

from __future__ import annotations

import pytest
from pydantic import BaseModel
from temporalio import activity

from handfast import Agent, activity_tool
from handfast.errors import RunFailedError, StaleDigestError
from handfast.payloads.json_profile import JsonObject
from handfast.testing import Reply, call
from handfast.workflows.ledger import requests
from support.desk import desk
from support.labs import Effects, MakeLab


class Target(BaseModel):
    """What is deleted."""

    target: str


async def test_arguments_that_a_deploy_changed_after_the_approval(
    make_lab: MakeLab, effects: Effects, monkeypatch: pytest.MonkeyPatch, cache: int
) -> None:
    """XG5: a worker whose code reads other arguments in an approved call stops before its effect (ApprovalMismatch):
    for a tool, for an activity that exists already, and for edited arguments; also where it replays the run, and
    computes the digest of those others as if they had been shown."""

    @activity.defn(name="destroy")
    async def destroy(target: JsonObject) -> str:
        effects.append("destroyed")
        return "destroyed"

    existing = activity_tool("destroy", input=Target, description="Destroy a target.", approval=True)
    agent = Agent("desk", model="m", tools=[*desk(effects).tools, existing])
    lab = await make_lab(
        [agent],
        script=[Reply(call(tool, {"target": "t"}, "c1")) for tool in ("wipe", "destroy", "wipe")],
        activities=[destroy],
        replay=False,
        max_cached_workflows=cache,
    )
    for edited in (None, None, {"target": "u"}):
        run = await lab.start("desk")
        request = await lab.next_request(run)
        with monkeypatch.context() as deploy:
            deploy.setattr(requests, "arguments_of", lambda *_: {"target": "everything"})
            if cache == 0:
                with pytest.raises(StaleDigestError):
                    await run.approve(request, decided_by="lead")
            told = {"id": request.id} if edited is None else {"id": request.id, "arguments": edited}
            await lab.client.get_workflow_handle(run.id).signal("approve", told)
            with pytest.raises(RunFailedError) as failed:
                await run.result()
        assert failed.value.kind == "ApprovalMismatch"
    assert effects == []
