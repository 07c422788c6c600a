"""Plans the calls of a reply: which run, which wait for a person, and which no tool can answer."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from typing import Any, Final

from pydantic import BaseModel

from handfast.activities.runtime.calls import of_call
from handfast.activities.runtime.rules import KeyFailedError, ask_rule, own_key
from handfast.activities.runtime.runtime import Runtime
from handfast.activities.runtime.user_errors import set_tool
from handfast.activities.runtime.validation import ValidatorFailedError, validated
from handfast.activities.tool.guardrails import ask_input
from handfast.definitions.agents.after_tools import StopAt
from handfast.definitions.agents.agent import Agent
from handfast.definitions.agents.agent_tool import AgentTool
from handfast.definitions.agents.handoff import Handoff
from handfast.definitions.context import RunContext
from handfast.definitions.gates.doubt import plan_of, policy_of
from handfast.definitions.tools.existing_activity import ActivityTool
from handfast.definitions.tools.function_tool import Tool
from handfast.definitions.tools.hosted import HostedMcp, McpCall
from handfast.definitions.tools.offered import Offered
from handfast.definitions.tools.options import Retry
from handfast.definitions.tools.question import Question
from handfast.errors import ArgumentsInvalidError, JsonProfileError
from handfast.mcp.tool import McpTool
from handfast.payloads.binding import text_digest
from handfast.payloads.call_items import CALLS, MCP_APPROVAL, arguments_of, arguments_text, id_of
from handfast.payloads.canonical import sha256_digest
from handfast.payloads.json_profile import JsonObject, parse_json
from handfast.payloads.model_call import AfterToolsPlan, ApprovalPlan, ExistingActivity, PlannedCall, RetryPlan
from handfast.payloads.tool_call import EXISTING_ARGUMENT_BYTES, TOOL_TIMEOUT
from handfast.payloads.transcript import READ_OUTPUT

MOST_CALLS: Final = 256
"""Calls of one reply that are carried out; the others are sent back to the model."""


class Planner:
    """Looks up each call of one reply in the agent, validates it, and asks its approval rule exactly once."""

    def __init__(
        self, agent: Agent, offered: Mapping[str, Offered], context: RunContext[Any], runtime: Runtime
    ) -> None:
        self._agent = agent
        self._offered = offered
        self._context = context
        self._runtime = runtime
        self._threads = runtime.threads

    async def plan(self, items: Sequence[JsonObject]) -> list[PlannedCall]:
        """Plan every call among *items*, in their order; rules of one reply are asked side by side."""
        calls = [(index, item) for index, item in enumerate(items) if item["type"] in CALLS]
        return list(
            await asyncio.gather(*(self._plan(index, item, place) for place, (index, item) in enumerate(calls)))
        )

    async def _plan(self, index: int, item: JsonObject, place: int) -> PlannedCall:
        if place >= MOST_CALLS:
            return PlannedCall(
                index=index,
                kind="invalid",
                text=f"Error: more than {MOST_CALLS} calls in one reply; this one was not run.",
            )
        if item["type"] == MCP_APPROVAL:
            return await plan_hosted(index, item, self._agent, self._context, self._threads)
        offered = self._offered.get(item["name"])
        if offered is None or offered.call_type != item["type"]:
            known = ", ".join(sorted(self._offered)) or "none"
            return PlannedCall(
                index=index,
                kind="unknown",
                text=f"Error: there is no tool {item['name'][:64]!r}; there are: {known}",
            )
        set_tool(offered.name)

        def read(text: str) -> tuple[JsonObject, BaseModel]:
            arguments = offered.parse_text(text)
            return arguments, offered.validate(arguments)

        try:
            arguments, model = await validated(
                read, arguments_text(item), of=offered, threads=self._runtime.validation_threads
            )
        except (ArgumentsInvalidError, ValidatorFailedError) as error:
            return PlannedCall(index=index, kind="invalid", text=f"Error: {error}")
        plan = await self._planned(index, item, offered, model, arguments)
        if isinstance(offered, McpTool):
            plan = plan.model_copy(update={"mcp": offered.server.name, "schema_digest": offered.digest})
        if not asks(plan):
            return plan
        digests = {
            "schema_digest": plan.schema_digest or text_digest(offered.parameters),
            "arguments_digest": sha256_digest(arguments_of(item)),
        }
        return plan.model_copy(update=digests)

    async def _planned(
        self, index: int, item: JsonObject, offered: Offered, model: BaseModel, arguments: JsonObject
    ) -> PlannedCall:
        match offered:
            case Tool():
                return await self._stopped(index, item, offered, model) or await self._tool(index, offered, model)
            case AgentTool():
                return await self._agent_tool(index, offered, model)
            case Handoff():
                return await self._handoff(index, offered, model)
            case Question():
                return PlannedCall(index=index, kind="question", approval=await self._approval(offered, model))
            case ActivityTool():
                return await self._existing(index, offered, model, arguments)
        raise AssertionError(f"{type(offered).__name__} has no plan")

    def forms(self, items: Sequence[JsonObject], calls: Sequence[PlannedCall]) -> dict[str, JsonObject] | None:
        """The JSON schemas of answers to planned questions, once for each tool."""
        asked = {items[call.index]["name"] for call in calls if call.kind == "question"}
        named = ((name, self._offered[name]) for name in sorted(asked))
        forms = {name: each.form_schema for name, each in named if isinstance(each, Question)}
        return {name: form for name, form in forms.items() if form is not None} or None

    def definitions(self, items: Sequence[JsonObject], calls: Sequence[PlannedCall]) -> dict[str, JsonObject] | None:
        """Return what the model was told of each MCP tool that it calls, once each, however often it is called."""
        called = {items[call.index]["name"] for call in calls if call.mcp is not None}
        named = ((name, self._offered[name]) for name in sorted(called))
        return {name: tool.kept for name, tool in named if isinstance(tool, McpTool)} or None

    async def _tool(self, index: int, tool: Tool[..., Any], arguments: BaseModel) -> PlannedCall:
        try:
            key = await own_key(tool, self._context, arguments, self._threads)
        except KeyFailedError as error:
            return PlannedCall(index=index, kind="invalid", text=f"Error: {error}")
        approval = await self._approval(tool, arguments)
        return PlannedCall(
            index=index,
            kind="run" if approval is None else "ask",
            approval=approval,
            effect=None if tool.effect == "at_most_once" else tool.effect,
            on_unknown=policy_of(tool.on_unknown),
            doubt=plan_of(tool.on_unknown),
            verified=True if tool.verify is not None else None,
            on_error="fail" if tool.on_error == "fail" else None,
            timeout_s=None if tool.timeout == TOOL_TIMEOUT else tool.timeout.total_seconds(),
            key=key,
            worded=self._worded(approval),
            task_queue=tool.task_queue,
            guarded=True if tool.input_guardrails else None,
            output_guarded=True if tool.output_guardrails else None,
            retry=None if tool.retry is None else _retry_plan(tool.retry),
            reads=True if tool.name == READ_OUTPUT else None,
            revalidates=True if tool.revalidate is not None and approval is not None else None,
        )

    async def _agent_tool(self, index: int, tool: AgentTool, arguments: BaseModel) -> PlannedCall:
        approval = await self._approval(tool, arguments)
        on_error = tool.on_error if isinstance(tool.on_error, str) else "word"
        return PlannedCall(
            index=index,
            kind="agent",
            approval=approval,
            agent=tool.agent.name,
            max_turns=tool.max_turns,
            input="built" if tool.input_builder is not None else None if tool.takes_text else "json",
            extracted=True if tool.output_extractor is not None else None,
            on_error=None if on_error == "tell_model" else on_error,
            worded=self._worded(approval),
        )

    async def _handoff(self, index: int, handoff: Handoff, arguments: BaseModel) -> PlannedCall:
        approval = await self._approval(handoff, arguments)
        return PlannedCall(
            index=index,
            kind="handoff",
            approval=approval,
            agent=handoff.to,
            told=True if handoff.on_handoff is not None else None,
            filtered=True if handoff.filter is not None else None,
            worded=self._worded(approval),
        )

    async def _existing(self, index: int, tool: ActivityTool, model: BaseModel, arguments: JsonObject) -> PlannedCall:
        problem = too_large(tool, arguments)
        if problem is not None:
            return PlannedCall(index=index, kind="invalid", text=problem)
        approval = await self._approval(tool, model)
        return plan_existing(index, tool, approval, worded=self._worded(approval))

    async def _stopped(
        self, index: int, item: JsonObject, tool: Tool[..., Any], arguments: BaseModel
    ) -> PlannedCall | None:
        """Ask the guardrails with `before_approval`."""
        guardrails = [each for each in tool.input_guardrails if each.before_approval]
        if not guardrails:
            return None
        context = of_call(
            self._context,
            tool.name,
            call_id=id_of(item),
            arguments=arguments_of(item),
            key="",
            attempt=1,
            resources=self._runtime.resources,
        )
        stopped = await ask_input(guardrails, context, arguments, self._threads)
        if stopped is None:
            return None
        if stopped.reason is not None:
            return PlannedCall(index=index, kind="tripped", text=stopped.reason)
        return PlannedCall(index=index, kind="blocked", text=stopped.output)

    def _worded(self, approval: ApprovalPlan | None) -> bool | None:
        return True if approval is not None and self._agent.rejection_text is not None else None

    async def _approval(self, offered: Offered, arguments: BaseModel) -> ApprovalPlan | None:
        return await ask_rule(offered.approval, self._context, arguments, of=offered.name, threads=self._threads)


def _retry_plan(retry: Retry) -> RetryPlan:
    return RetryPlan(
        attempts=retry.attempts,
        first_pause_s=retry.first_pause.total_seconds(),
        longest_pause_s=retry.longest_pause.total_seconds(),
    )


def asks(call: PlannedCall) -> bool:
    """Return True where a person is asked about *call*."""
    return call.approval is not None or call.kind in ("ask", "question")


def after_tools_plan(agent: Agent) -> AfterToolsPlan | None:
    """Return what follows when the calls of a reply are settled; None for another model call."""
    match agent.after_tools:
        case "run_again":
            return None
        case "stop_on_first":
            return AfterToolsPlan(kind="stop_on_first")
        case StopAt(names=names):
            return AfterToolsPlan(kind="stop_at", names=list(names))
    return AfterToolsPlan(kind="ask")


def too_large(tool: ActivityTool, arguments: JsonObject) -> str | None:
    """Tell the model why *arguments* cannot be sent, as this activity fetches no block; None where they can."""
    size = len(json.dumps(arguments))
    if size <= EXISTING_ARGUMENT_BYTES:
        return None
    return (
        f"Error: the arguments of {tool.name} take {size:,} bytes, and at most {EXISTING_ARGUMENT_BYTES:,} can be sent"
    )


def plan_existing(index: int, tool: ActivityTool, approval: ApprovalPlan | None, *, worded: bool | None) -> PlannedCall:
    """Return the facts with which the workflow starts the activity itself."""
    beat = tool.heartbeat_timeout
    return PlannedCall(
        index=index,
        kind="run" if approval is None else "ask",
        approval=approval,
        effect=None if tool.effect == "at_most_once" else tool.effect,
        on_unknown=policy_of(tool.on_unknown),
        doubt=plan_of(tool.on_unknown),
        verified=True if tool.verify is not None else None,
        on_error=None if tool.on_error == "tell_model" else tool.on_error,
        timeout_s=tool.timeout.total_seconds(),
        worded=worded,
        task_queue=tool.task_queue,
        activity=ExistingActivity(
            type=tool.activity,
            argument=tool.takes_argument,
            heartbeat_s=None if beat is None else beat.total_seconds(),
            start_within_s=tool.start_within.total_seconds(),
            key_field=tool.key_field,
        ),
    )


def servers(agent: Agent) -> dict[str, HostedMcp]:
    """Return the hosted MCP servers that *agent* offers, by label."""
    return {each.server_label: each for each in agent.hosted if isinstance(each, HostedMcp)}


async def plan_hosted(
    index: int, item: JsonObject, agent: Agent, context: RunContext[Any], threads: Executor
) -> PlannedCall:
    """Ask the server's approval rule; where it needs nobody, the answer is yes. Nothing runs here."""
    server = servers(agent)[item["server_label"]]
    try:
        arguments = parse_json(arguments_text(item))
    except JsonProfileError as error:
        return _refused(index, error.problem)
    if not isinstance(arguments, dict):
        return _refused(index, "not a JSON object")
    asked = McpCall(server.server_label, item["name"], arguments)
    set_tool(item["name"])
    of = f"the MCP server {server.server_label}"
    approval = await ask_rule(server.approval, context, asked, of=of, threads=threads)
    return PlannedCall(
        index=index,
        kind="run" if approval is None else "ask",
        approval=approval,
        hosted=True,
    )


def _refused(index: int, problem: str) -> PlannedCall:
    return PlannedCall(index=index, kind="invalid", text=f"The arguments cannot be shown to a person: {problem}")
