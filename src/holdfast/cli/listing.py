"""Lists across runs: from visibility, no worker is asked."""

from __future__ import annotations

from holdfast.cli import exits
from holdfast.cli.options import Where
from holdfast.cli.output import say, write_json
from holdfast.cli.place import holdfast, whole
from holdfast.cli.tables import requests_table, runs_table, utc_now
from holdfast.cli.terminal import console
from holdfast.lists import OpenRequest
from holdfast.payloads.people import named
from holdfast.payloads.runs import RunPhase


async def runs(
    where: Where, *, status: RunPhase | None, agent: str | None, label: str | None, limit: int, as_json: bool
) -> int:
    """List runs.

    Raises:
        SearchAttributesMissingError: The namespace lacks our search attributes.
    """
    hf = await holdfast(where)
    found = await hf.runs(status=status, agent=agent, label=label, limit=limit)
    if as_json:
        write_json(found)
    elif found:
        console().print(runs_table(found, utc_now()))
    else:
        say("no runs")
    return exits.OK


async def approvals(where: Where, *, run: str | None, agent: str | None, approver: str | None, as_json: bool) -> int:
    """List what waits for a person.

    Raises:
        RunNotFoundError: There is no such run.
        SearchAttributesMissingError: The namespace lacks our search attributes, and no run was named.
    """
    hf = await holdfast(where)
    if run is None:
        found = await hf.requests(agent=agent, approver=approver)
    else:
        pending = await hf.run(run).pending()
        if any(request.arguments_preview is not None for request in pending):
            described = await hf.client.get_workflow_handle(run).describe()
            pending = await whole(hf.client, run, described.workflow_type, pending)
        found = [
            OpenRequest(run, request)
            for request in pending
            if agent in (None, request.agent) and (approver is None or named(approver, request.approvers or ()))
        ]
    if as_json:
        write_json(found)
    elif found:
        console().print(requests_table(found, utc_now()))
        say("decide with `holdfast approve REQUEST` or `holdfast reject REQUEST --reason TEXT`")
    else:
        say("nothing waits for a person")
    return exits.OK
