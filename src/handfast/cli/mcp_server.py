"""Handfast as an MCP server: an assistant starts runs, and is the inbox of the one person whose session it is."""

from __future__ import annotations

import logging
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from importlib.metadata import version
from typing import Annotated, Any, Final

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations
from pydantic import Field

from handfast.cli.asker import why_barred
from handfast.cli.decide import find
from handfast.cli.exits import OK, InputError
from handfast.cli.options import Where
from handfast.cli.output import plain
from handfast.cli.place import handfast
from handfast.cli.show import look
from handfast.client.client import Handfast
from handfast.errors import HandfastError
from handfast.payloads.json_profile import JsonObject
from handfast.payloads.requests import Request, Verdict

__all__ = ["Inbox", "serve"]

MOST_LISTED: Final = 200
LONGEST_WAIT_S: Final = 50.0
INSTRUCTIONS: Final = (
    "Starts runs of agents and shows what waits for a person. Show a request to the person, with its arguments, before "
    "you decide it, and decide only what they have told you to: the decision is theirs, and recorded under their name."
)
_READS: Final = ToolAnnotations(read_only_hint=True, open_world_hint=False)
_STARTS: Final = ToolAnnotations(read_only_hint=False, destructive_hint=False, open_world_hint=False)
_DECIDES: Final = ToolAnnotations(read_only_hint=False, destructive_hint=True, open_world_hint=False)

RequestId = Annotated[str, Field(description="Id of the request, or the start of it where that fits one only.")]
RunId = Annotated[str, Field(description="Id of the run.")]


class Inbox:
    """The tools of the server.

    What is listed and shown needs no identity. A decision needs one, which whoever starts the server gives it: nobody
    who calls its tools can choose another.
    """

    def __init__(self, hf: Handfast, by: str | None) -> None:
        """Take a client, and the person whose session it is; None may decide nothing."""
        self._hf = hf
        self._by = by

    async def start_run(
        self,
        agent: Annotated[str, Field(description="Name of the agent.")],
        input: Annotated[str, Field(description="What it is to do.")],
        labels: Annotated[dict[str, str] | None, Field(description="To find the run by.")] = None,
        context: Annotated[
            dict[str, Any] | None, Field(description="The run's own data, if the agent wants it.")
        ] = None,
    ) -> JsonObject:
        """Start a run of an agent. It goes on by itself; show_run says how it stands."""
        async with _worded():
            run = await self._hf.start(agent, input, labels=labels, context=context, requested_by=self._by)
            return {"run": run.id}

    async def show_run(
        self,
        run: RunId,
        wait_s: Annotated[float, Field(ge=0, le=LONGEST_WAIT_S, description="Wait so long for its end.")] = 0,
    ) -> JsonObject:
        """Show how a run stands: its answer, how it failed, or what it waits for."""
        async with _worded():
            if wait_s > 0:
                with suppress(HandfastError, TimeoutError):  # what became of it is shown below
                    await self._hf.run(run).result(timeout=timedelta(seconds=wait_s), wait_for_people=False)
            shown = plain(await look(self._hf, run))
            return {name: value for name, value in shown.items() if value is not None}

    async def list_approvals(
        self,
        agent: Annotated[str | None, Field(description="Only requests of runs of this agent.")] = None,
        run: Annotated[str | None, Field(description="Only those of this run.")] = None,
        mine: Annotated[bool, Field(description="Only what the person of this session may decide.")] = False,
    ) -> JsonObject:
        """List what waits for a person: approvals, questions, calls in doubt, limits."""
        async with _worded():
            if run is not None:
                found = [(run, each) for each in await self._hf.run(run).pending()]
            else:
                listed = await self._hf.requests(agent=agent, limit=MOST_LISTED)
                found = [(each.run, each.request) for each in listed]
            lines = [self._line(of, each) for of, each in found if agent is None or each.agent_path[0] == agent]
            return {"requests": [line for line in lines if not mine or "may_not_decide" not in line]}

    async def show_approval(
        self, request: RequestId, run: Annotated[str | None, Field(description="Id of its run, if known.")] = None
    ) -> JsonObject:
        """Show everything about one request: the call with its arguments, why it is asked, who may decide, and how."""
        async with _worded():
            of, found = await self._found(request, run)
            barred = self._barred(found)
            return {"run": of, **found.to_wire(), **({} if barred is None else {"may_not_decide": barred})}

    async def decide(
        self,
        request: RequestId,
        digest: Annotated[str, Field(description="As show_approval gave it: what was shown is what is decided.")],
        verdict: Annotated[Verdict, Field(description="One of the kinds that the request's `verdicts` lists.")],
        run: Annotated[str | None, Field(description="Id of its run, if known.")] = None,
        note: Annotated[str | None, Field(description="Recorded beside it.")] = None,
    ) -> JsonObject:
        """Decide a request in the name of the person whose session this is. It cannot be taken back."""
        async with _worded():
            of, found = await self._found(request, run)
            barred = self._barred(found)
            if self._by is None or barred is not None:
                raise InputError(barred or "this session may decide nothing")
            told = note or "by an assistant (MCP)"
            receipt = await self._hf.run(of).decide(found, verdict, decided_by=self._by, note=told, digest=digest)
            return {"run": of, "receipt": receipt.to_wire()}

    async def _found(self, request: str, run: str | None) -> tuple[str, Request]:
        of, found = await find(self._hf, request, run)
        if not isinstance(found, Request):
            raise InputError(f"no request {request} is open in {of}")
        if found.arguments_preview is not None or "schema_bytes" in (found.facts or {}):
            found = await self._hf.run(of).in_full(found)
        return of, found

    def _barred(self, request: Request) -> str | None:
        """Return why the person of this session may not decide a request; None where they may, as far as is known."""
        if self._by is None:
            return "this session has no identity; start `handfast mcp --by NAME` for one that decides"
        return why_barred(request, self._by)

    def _line(self, run: str, request: Request) -> JsonObject:
        barred = self._barred(request)
        return {
            "run": run,
            "request": request.id,
            "kind": request.kind,
            "agent": request.agent,
            "tool": request.tool,
            "reason": request.reason,
            "requested_at": request.requested_at.isoformat(),
            **({} if barred is None else {"may_not_decide": barred}),
        }


@asynccontextmanager
async def _worded() -> AsyncGenerator[None]:
    """Let the assistant read what an error of ours says."""
    try:
        yield
    except HandfastError as error:
        raise ToolError(f"{type(error).__name__}: {error}") from error


def server_of(inbox: Inbox) -> MCPServer:
    """Make the server of an inbox."""
    server = MCPServer("handfast", instructions=INSTRUCTIONS, version=version("handfast"), log_level="WARNING")
    for function in (inbox.list_approvals, inbox.show_approval, inbox.show_run):
        server.add_tool(function, annotations=_READS)
    server.add_tool(inbox.start_run, annotations=_STARTS)
    server.add_tool(inbox.decide, annotations=_DECIDES)
    return server


async def serve(where: Where, by: str | None, task_queue: str) -> int:
    """Serve on stdin and stdout, until stdin ends."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    await server_of(Inbox(await handfast(where, task_queue), by)).run_stdio_async()
    return OK
