"""The activities `handfast.tool.<name>` and `handfast.mcp.<server>`: one wrapper around every tool's body."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Final

from temporalio import activity
from temporalio.exceptions import ApplicationError

from handfast.activities.runtime.beats import NotAcknowledgedError
from handfast.activities.runtime.calls import tool_context
from handfast.activities.runtime.hooks import ObservedCall
from handfast.activities.runtime.redaction import hidden_in
from handfast.activities.runtime.references import by_reference, with_media
from handfast.activities.runtime.runtime import Runtime
from handfast.activities.runtime.secrets import resolved
from handfast.activities.runtime.user_errors import Place, log_answer, set_place
from handfast.activities.runtime.validation import ValidatorFailedError, validated
from handfast.activities.tool.attempts import held_back, is_once, unkept, unprovable
from handfast.activities.tool.begun import Begun, ProgressReport
from handfast.activities.tool.body import ToolBody, outcome
from handfast.activities.tool.context_watch import ContextWatch
from handfast.activities.tool.errors import worded
from handfast.activities.tool.guardrails import Ended, guarded_output, unhurried, withheld
from handfast.activities.tool.lineage import Lineage, LineageUnknownError
from handfast.activities.tool.mcp import found_tool
from handfast.definitions.context import ToolContext
from handfast.definitions.tools.function_tool import Tool
from handfast.errors import (
    ArgumentsInvalidError,
    JsonProfileError,
    KeysUnavailableError,
    PayloadInvalidError,
    SecretMissingError,
    SecretUnavailableError,
    UnknownToolError,
)
from handfast.mcp.tool import McpTool
from handfast.payloads.binding import difference
from handfast.payloads.call_items import arguments_text
from handfast.payloads.json_profile import JsonObject, parse_json
from handfast.payloads.tool_call import MCP_TYPE, TOOL_TYPE, ToolCall, ToolOutcome
from handfast.payloads.transcript import READ_OUTPUT

logger = logging.getLogger(__name__)

FETCH_S: Final = 2.0
"""Time limit for fetching arguments, context and secrets: less than the heartbeat timeout."""
SHORTEST_S: Final = 0.2
"""For the validators of the arguments, where the rest took long."""


@dataclass(frozen=True)
class _Prepared:
    arguments: JsonObject
    context: ToolContext[Any] | None
    bound: dict[str, Any]


class ToolActivities:
    """Makes one activity per tool of the registry."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._lineage = Lineage()

    def all(self) -> list[Callable[..., Any]]:
        """Return the activities, one type per tool, and one per MCP server."""
        tools = [self._activity(f"{TOOL_TYPE}{name}") for name in (*self._runtime.registry.tools, READ_OUTPUT)]
        return [*tools, *(self._activity(f"{MCP_TYPE}{name}") for name in self._runtime.registry.servers)]

    def _activity(self, name: str) -> Callable[[object], Coroutine[Any, Any, JsonObject]]:
        @activity.defn(name=name)
        async def run(arg: object) -> JsonObject:
            return (await self._run(arg)).to_wire()

        return run

    async def _run(self, arg: object) -> ToolOutcome:
        """Run one call. Every ending is a typed outcome, but for failures that Temporal retries."""
        began = asyncio.get_running_loop().time()
        try:
            call = ToolCall.from_wire(arg)
        except PayloadInvalidError as error:
            return outcome("refused", reason=str(error))
        set_place(Place.of(call.origin, tool=call.tool))
        if call.effect == "at_most_once" and (held := await held_back(call.lost or ())) is not None:
            return held
        tool = await self._tool(call)
        if isinstance(tool, ToolOutcome):
            return tool
        if call.effect != "at_most_once" and is_once(call, tool) and (held := await held_back(())) is not None:
            return held
        if (lacking := unkept(call, tool)) is not None:
            return lacking
        prepared = await self._prepared(call, tool, began)
        if isinstance(prepared, ToolOutcome):
            return prepared
        refused = await self._refused(call, tool, prepared.arguments)
        if refused is not None:
            return refused
        if not tool.secrets:
            ended = await self._execute(call, tool, prepared.bound, prepared.context)
            return ToolOutcome.from_wire(hidden_in(ended.to_wire())) if isinstance(tool, McpTool) else ended
        left_s = FETCH_S - (asyncio.get_running_loop().time() - began)
        try:
            secrets = await resolved(call.tool, tool.secrets, self._runtime.secrets, left_s, self._runtime.threads)
        except SecretMissingError as error:
            logger.error("%s", error)
            return outcome("error", output=f"Error: {error}")
        except SecretUnavailableError as error:
            logger.warning("%s", error)
            return outcome("not_begun", reason=str(error))
        ended = await self._execute(call, tool, prepared.bound | secrets, prepared.context)
        return ToolOutcome.from_wire(hidden_in(ended.to_wire()))

    async def _tool(self, call: ToolCall) -> Tool[..., Any] | ToolOutcome:
        kind = activity.info().activity_type
        if kind.startswith(MCP_TYPE):
            return await found_tool(call, kind.removeprefix(MCP_TYPE), self._runtime.mcp)
        try:
            return self._runtime.tool(call.tool)
        except UnknownToolError as error:
            return outcome("refused", reason=str(error))

    async def _prepared(self, call: ToolCall, tool: Tool[..., Any], began: float) -> _Prepared | ToolOutcome:
        """Fetch and validate the arguments and context of the body; return the outcome where that fails.

        Nothing beats meanwhile: a beat without the mark could overtake the first one with it.
        """
        # A fetch that is cut off here goes on, and the next attempt finds the block in the cache.
        fetching = asyncio.ensure_future(self._fetched(call, tool))
        try:
            arguments, context = await asyncio.wait_for(asyncio.shield(fetching), FETCH_S)
            left_s = FETCH_S - (asyncio.get_running_loop().time() - began)
            bound = await validated(
                tool.bind,
                arguments,
                of=tool,
                threads=self._runtime.validation_threads,
                within=max(left_s, SHORTEST_S),
            )
        except TimeoutError:
            fetching.add_done_callback(_heard)
            return outcome("not_begun", reason=f"the run's transcript did not come within {FETCH_S:g} s")
        except ArgumentsInvalidError as error:
            return outcome("error", output=f"Error: {error}")
        except ValidatorFailedError as error:
            if error.timed_out:  # of the little time before the first beat; it had more when the call was planned
                return outcome("not_begun", reason=str(error))
            return outcome("error", output=f"Error: {error}")
        except ApplicationError as error:
            if error.non_retryable:
                return outcome("error", output=f"Error: {error.message}")
            return outcome("not_begun", reason=error.message)
        return _Prepared(arguments, context, bound)

    async def _refused(self, call: ToolCall, tool: Tool[..., Any], arguments: JsonObject) -> ToolOutcome | None:
        """Return the outcome of a call that is not the one a person approved; None where it is, or nobody was asked."""
        changed = None if call.digest is None else _changed(call, tool, call.digest, arguments)
        if changed is not None:
            return outcome("refused", reason=changed)
        return await self._unproven(call, tool, arguments) or await self._after_reset(call)

    async def _after_reset(self, call: ToolCall) -> ToolOutcome | None:
        try:
            if call.digest is not None and await self._lineage.was_reset(call):
                reset = outcome("refused", reason="the run was reset")
                return reset.model_copy(update={"reset": activity.info().workflow_run_id})
        except LineageUnknownError as error:
            return outcome("not_begun", reason=str(error))
        return None

    async def _unproven(self, call: ToolCall, tool: Tool[..., Any], arguments: JsonObject) -> ToolOutcome | None:
        """Return the outcome of a call without a proven approval; None where it has one, or needs none."""
        if self._runtime.trusted is None:
            return unprovable(call)
        from handfast.activities.tool.proofs import Proving, proofs_of  # noqa: PLC0415 - needs an optional extra

        try:
            proofs = await asyncio.wait_for(proofs_of(call, self._runtime), FETCH_S)
            problem = Proving(call, tool.approval, arguments, self._runtime.trusted).problem(proofs)
        except (TimeoutError, ApplicationError):
            return outcome("not_begun", reason=f"the decisions behind it did not come within {FETCH_S:g} s")
        except KeysUnavailableError as error:
            return outcome("not_begun", reason=error.message)
        return None if problem is None else outcome("unproven", reason=problem)

    async def _execute(
        self, call: ToolCall, tool: Tool[..., Any], bound: dict[str, Any], context: ToolContext[Any] | None
    ) -> ToolOutcome:
        """Enter the body, once the server has the mark; heartbeats go on to the end of the call."""
        origin = call.origin
        watch = None if context is None else ContextWatch((await self._runtime.facts(origin)).context, context.context)
        body = ToolBody(tool, context, bound, self._runtime)
        observed = ObservedCall(self._runtime.observers(origin.agent), context)
        pen = self._runtime.deltas.pen(origin, turn=origin.turn) if call.stream and context is not None else None
        report = (
            None if context is None else ProgressReport(call.tool, call.call_id, None if pen is None else pen.progress)
        )
        if context is not None and report is not None:
            context.reporter = report.tell
        once = is_once(call, tool)
        begun = Begun(report, at_most_once=once)
        renewed = begun.renewed if begun.is_renewed else None
        try:
            async with (
                self._runtime.beats.kept(begun.details(), body.stop, renewed=renewed),
                pen or nullcontext(),
            ):
                if not await observed.start(body.stop):
                    return outcome("not_begun", reason="the worker shut down before the tool began")
                result = await body.run(call.timeout_s, at_most_once=once)
                kept = Ended(result, body.whole, body.media)
                if context is not None and watch is not None:
                    kept = await self._after(tool, context, watch, body, kept)
                ended = begun.told_by(kept.outcome)
                if kept.whole is not None:
                    ended = await unhurried(by_reference(self._runtime.artifacts, kept.outcome, kept.whole)) or ended
                if kept.media and kept.outcome.kind == "ok" and kept.outcome.withheld is None:
                    ended = await unhurried(with_media(self._runtime.artifacts, ended, kept.media)) or ended
                if not body.stopping:
                    await observed.end(ended)
                return ended
        except NotAcknowledgedError as error:
            return outcome("not_begun", reason=str(error))

    async def _fetched(self, call: ToolCall, tool: Tool[..., Any]) -> tuple[JsonObject, ToolContext[Any] | None]:
        arguments = await self._arguments(call)
        return arguments, await self._context(call, tool, arguments)

    async def _arguments(self, call: ToolCall) -> JsonObject:
        if call.arguments is not None:
            return call.arguments
        if call.at is None:
            raise ArgumentsInvalidError(call.tool, ["no arguments came with the call"])
        items = await self._runtime.blocks.block(call.origin, call.at.block)
        try:
            arguments = parse_json(arguments_text(items[call.at.index]))
        except JsonProfileError as error:
            raise ArgumentsInvalidError(call.tool, [error.problem]) from None
        if not isinstance(arguments, dict):
            raise ArgumentsInvalidError(call.tool, ["arguments: Input should be a JSON object"])
        return arguments

    async def _context(self, call: ToolCall, tool: Tool[..., Any], arguments: JsonObject) -> ToolContext[Any] | None:
        if not (tool.needs_context or self._runtime.observers(call.origin.agent).hear("on_tool_start", "on_tool_end")):
            return None
        return await tool_context(
            self._runtime,
            call.origin,
            tool,
            call_id=call.call_id,
            arguments=arguments,
            key=call.key,
            attempt=activity.info().attempt,
        )

    async def _after(
        self, tool: Tool[..., Any], context: ToolContext[Any], watch: ContextWatch, body: ToolBody, ended: Ended
    ) -> Ended:
        """Word the exception of an ended body, or ask the output guardrails and read its change of the context."""
        if body.raised is not None and not body.stopping:
            text = await unhurried(worded(self._runtime, tool, context, body.raised, ended.outcome))
            return Ended(text or ended.outcome)
        if ended.outcome.kind != "ok":
            return ended
        if tool.output_guardrails:
            asking = guarded_output(tool.output_guardrails, context, body.returned, ended, self._runtime.threads)
            guarded = await unhurried(asking)
            shut_down = "the worker shut down before a guardrail had seen it"
            ended = guarded or Ended(withheld(ended.outcome, shut_down))
        change = watch.change(context.context)
        if change.refused is not None:
            log_answer(f"the tool {tool.name}", "changed ctx.context to what the run cannot keep", "the change is lost")
        update = {"context": change.edits or None, "context_refused": change.refused}
        return Ended(ended.outcome.model_copy(update=update), ended.whole, ended.media)


def _heard(fetching: asyncio.Future[Any]) -> None:
    """Read how an abandoned fetch ended: asyncio warns of an exception that nobody has read."""
    if not fetching.cancelled():
        fetching.exception()


def _changed(call: ToolCall, tool: Tool[..., Any], digest: str, arguments: JsonObject) -> str | None:
    """Return why the call in hand is not the one that was approved; None where it is."""
    if call.binding is None:
        return "not what was approved: binding"
    origin, info = call.origin, activity.info()
    of_server = {"schema_digest": tool.digest} if isinstance(tool, McpTool) else {}
    return difference(
        digest,
        call.binding,
        arguments,
        namespace=info.namespace,
        workflow=info.workflow_id,
        run=origin.workflow_run,
        request=call.request,
        agent_path=origin.agent_path,
        tool=tool.name if of_server else info.activity_type.removeprefix(TOOL_TYPE),
        call=call.call_id,
        **of_server,
    )
