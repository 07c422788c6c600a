"""Show lists across runs: from visibility, no worker is asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from handfast.cli import exits
from handfast.cli.options import Where
from handfast.cli.output import one_line, say, write_json
from handfast.cli.place import handfast, whole
from handfast.cli.tables import attention_table, requests_table, runs_table, utc_now
from handfast.cli.terminal import console
from handfast.client.lists import OpenRequest, ordered
from handfast.payloads.people import named
from handfast.payloads.runs import RunPhase


async def runs(
    where: Where, *, status: RunPhase | None, agent: str | None, label: str | None, limit: int, as_json: bool
) -> int:
    """List runs.

    Raises:
        SearchAttributesMissingError: The namespace lacks our search attributes.
    """
    hf = await handfast(where)
    found = await hf.runs(status=status, agent=agent, label=label, limit=limit)
    if as_json:
        write_json(found)
    elif found:
        console().print(runs_table(found, utc_now()))
    else:
        say("no runs")
    return exits.OK


async def attention(where: Where, *, limit: int | None, as_json: bool) -> int:
    """List the runs that do not get on by themselves.

    Raises:
        SearchAttributesMissingError: The namespace lacks our search attributes.
    """
    hf = await handfast(where)
    found = [trouble async for trouble in hf.attention(limit=limit)]
    if as_json:
        write_json(found)
    elif found:
        console().print(attention_table(found, utc_now()))
        for remedy in dict.fromkeys(trouble.remedy for trouble in found):
            say(one_line(f"remedy: {remedy}"))
    else:
        say("no run needs attention")
    return exits.OK


@dataclass(frozen=True)
class Filters:
    """The filters and the order of a list of requests."""

    agent: str | None = None
    approver: str | None = None
    tool: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    order_by: Literal["age", "due"] = "age"


async def approvals(where: Where, *, run: str | None, filters: Filters, as_json: bool) -> int:
    """List what waits for a person.

    Raises:
        InputError: Labels, and a run, were given.
        RunNotFoundError: There is no such run.
        SearchAttributesMissingError: The namespace lacks our search attributes, and no run was named.
    """
    if run is not None and filters.labels:
        raise exits.InputError("--label finds runs, and --run names one; give one of them")
    hf = await handfast(where)
    if run is None:
        found = await hf.requests(**vars(filters))
    else:
        pending = await hf.run(run).pending()
        if any(request.arguments_preview is not None for request in pending):
            described = await hf.client.get_workflow_handle(run).describe()
            pending = await whole(hf.client, run, described.workflow_type, pending)
        found = [
            OpenRequest(run, request)
            for request in pending
            if filters.agent in (None, request.agent)
            and filters.tool in (None, request.tool)
            and (filters.approver is None or named(filters.approver, request.approvers or ()))
        ]
        found = ordered(found, filters.order_by)
    if as_json:
        write_json(found)
    elif found:
        console().print(requests_table(found, utc_now()))
        say("decide with `handfast approve REQUEST` or `handfast reject REQUEST --reason TEXT`")
    else:
        say("nothing waits for a person")
    return exits.OK
