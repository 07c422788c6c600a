"""The activity `handfast.call_model`: one model call, and a plan for every call in its reply."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, Literal

from temporalio import activity
from temporalio.exceptions import ApplicationError

from handfast.activities.model.attributes import AttributeProbe
from handfast.activities.model.in_turn import Asked, ModelsInTurn
from handfast.activities.model.model_input import filtered, prompt_of, sent, to_be_compacted
from handfast.activities.model.plans import Planner, after_tools_plan, asks, servers
from handfast.activities.model.provider_history import FullTranscript, KeptConversation, history_port, refuse_unfit
from handfast.activities.model.replies import answerable, drop_last_thoughts, offered_kinds, says_something, used_ids
from handfast.activities.model.request import (
    answered,
    asked_models,
    bounded_tools,
    failure_of_call,
    input_guardrails,
    instructions_of,
    offered_now,
    port_of,
    refuse_unpriced,
    request_settings,
    settings_of,
    structured,
    transport_of,
    with_spent,
)
from handfast.activities.runtime.beats import Saying, kept_alive
from handfast.activities.runtime.hooks import model_end, model_start, rejection_of
from handfast.activities.runtime.runtime import Runtime
from handfast.activities.runtime.user_errors import Place, set_place
from handfast.definitions.agents.agent import Agent
from handfast.definitions.agents.handoff import Handoff
from handfast.definitions.agents.hooks import AgentStart, HandoffTaken
from handfast.definitions.agents.model_input import ModelInput
from handfast.definitions.context import RunContext
from handfast.definitions.tools.offered import Offered
from handfast.errors import ArtifactError, McpUnavailableError, PayloadInvalidError, UnknownAgentError
from handfast.models.input_items import own_id, wire_items
from handfast.models.port import (
    Background,
    ModelAnswer,
    ModelCallError,
    ModelDelta,
    ModelPort,
    ModelRequest,
    OnDelta,
    StillUnderwayError,
    most_tools_of,
)
from handfast.models.prices import priced
from handfast.payloads.base import json_size
from handfast.payloads.call_items import CALLS
from handfast.payloads.json_profile import JsonObject
from handfast.payloads.mcp import MCP_UNAVAILABLE
from handfast.payloads.media import with_references
from handfast.payloads.model_call import REPLY_BROKEN, ModelCall, ModelReply, ToldHooks
from handfast.payloads.transcript import READ_OUTPUT
from handfast.workflows.frame.items import refusal_text

REPLY_BYTES: Final = 1_800_000
"""Largest reply that is recorded. Above 2 MB the server would refuse it, and the paid call would be made again."""


class CallModel:
    """The activity, as its method `run`, with the runtime of its worker."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._attributes = AttributeProbe()

    @activity.defn(name="handfast.call_model")
    async def run(self, arg: object) -> JsonObject:
        """Load the agent and the missing transcript, call the model, and plan what follows.

        Raises:
            ApplicationError: Typed; each kind says whether a retry can help.
        """
        call = _read(arg)
        set_place(Place(call.origin.agent, call.origin.turn + 1))
        cancelled = ApplicationError("the model call was cancelled", type="ModelCallCancelled", non_retryable=True)
        saying = Saying()
        work = self._told(call, self._agent(call), saying)
        return await kept_alive(self._runtime.beats, work, cancelled, saying)

    async def _told(self, call: ModelCall, agent: Agent, saying: Saying) -> JsonObject:
        """Call the model, and where the run is streamed tell what it writes while it writes it."""
        pen = self._runtime.deltas.pen(call.origin, turn=call.origin.turn + 1) if call.stream else None
        if pen is None:
            return await self._reply(call, agent, saying)
        async with pen:
            return await self._reply(call, agent, saying, lambda delta: pen.model(_with_own_id(delta)))

    async def _reply(
        self, call: ModelCall, agent: Agent, saying: Saying, on_delta: OnDelta | None = None
    ) -> JsonObject:
        kept = self._kept(call, agent)
        if kept is not None and (ready := await kept.prepared()) is not None:
            return self._without_items(history=ready)
        guarded = input_guardrails(agent) if call.guard else None
        if guarded is not None:
            return self._without_items(input_guardrails=guarded, history=call.history)
        context = await self._runtime.run_context(call.origin, agent.context_type)
        context.turn += 1
        offered = dict(await offered_now(agent, context, self._runtime.threads))
        facts = await self._runtime.facts(call.origin)
        models = asked_models(self._runtime, agent, facts)
        offered |= await self._of_servers(agent, offered, models)
        if call.by_reference:
            offered[READ_OUTPUT] = self._runtime.read_output
        blocks = await (kept or FullTranscript(self._runtime.blocks, call)).blocks()
        conversation = sent(agent, blocks)
        instructions = await instructions_of(self._runtime, agent, context)
        given = await filtered(self._runtime, agent, context, ModelInput(conversation.items, instructions))
        prompt = await prompt_of(self._runtime, agent, context)
        tools = [*self._definitions(offered), *(each.definition() for each in agent.hosted)]
        settings = settings_of(agent, facts)
        turn = await ModelsInTurn(call, models, self._runtime.outages, saying).begin()
        client = turn.choice.client
        port = port_of(self._runtime, agent, client)
        refuse_unpriced(agent, port, turn.choice, limited=bool(call.costs))
        request = ModelRequest(
            model=turn.choice.model,
            instructions=given.instructions,
            items=wire_items(await self._runtime.blocks.with_data(list(given.items)), client),
            tools=bounded_tools(agent, port, tools),
            settings=request_settings(agent, settings, prompt, called=bool(call.called)),
            transport=transport_of(settings),
            on_delta=on_delta,
            background=background_of(turn, saying) if agent.background else None,
        )
        observers = self._runtime.observers(agent.name)
        await self._tell(call.told or (), context, [item for _, block in blocks for item in block])
        await observers.tell("on_model_start", context, model_start(request))
        began = time.monotonic()
        try:
            answer = await _asked(turn, kept or port, request, port)
        except StillUnderwayError as still:
            return self._without_items(underway=turn.waited_for(still.response))
        took_s = time.monotonic() - began
        model = request.model or f"prompt {(prompt or {}).get('id')}"
        try:
            used = {each for _, block in blocks for each in used_ids(block)}
            items = answerable(_whole(answer), used, offered_kinds(agent), servers(agent), client)
            planner = Planner(agent, offered, context, self._runtime)
            reply = await self._planned(agent, planner, items, answer)
            if kept is not None:
                reply = reply.model_copy(update={"history": await kept.position(answer, reply)})
            reply = await self._fitting(reply)
            known: dict[str, Any] = {
                "model": model,
                "passed_over": turn.passed_over,
                "read_from": conversation.read_from,
                **_place(),
            }
            known.update(signed=self._runtime.signed)
            wire = _bounded(reply.model_copy(update={**await self._probed(call, agent), **known}))
        except ApplicationError as error:
            raise with_spent(error, answer.usage, model) from None
        self._runtime.blocks.cache.put(reply.block, reply.items)
        if conversation.read_from is not None:
            self._runtime.blocks.leave_out(call.origin, conversation.read_from)
        await observers.tell("on_model_end", context, model_end(model, reply, took_s))
        return wire

    async def _fitting(self, reply: ModelReply) -> ModelReply:
        """Keep the images of a reply outside the history where it would be too large with them."""
        if json_size(reply.items) <= REPLY_BYTES or not self._runtime.artifacts.kept_here:
            return reply
        data: dict[str, bytes] = {}
        items = with_references(reply.items, data)
        try:
            await self._runtime.artifacts.keep_all(data)
        except ArtifactError:  # logged; the reply is refused as too large
            return reply
        return reply.model_copy(update={"items": items})

    async def _tell(self, told: Sequence[ToldHooks], context: RunContext[Any], items: Sequence[JsonObject]) -> None:
        """Let hooks hear of what happened since the last model call."""
        observers = self._runtime.observers(context.agent)
        for each in told:
            if each.what == "rejected":
                await observers.tell("on_call_rejected", context, rejection_of(each, items))
                continue
            if each.by is not None:
                both = observers.beside(self._runtime.observers(each.by))
                await both.tell("on_handoff", context, HandoffTaken(by=each.by, to=context.agent))
            await observers.tell("on_agent_start", context, AgentStart(handed_over_by=each.by))

    def _without_items(self, **said: Any) -> JsonObject:
        """Return a reply without items: it answers before the model is asked."""
        known = {**self._deployed, "signed": self._runtime.signed}
        return ModelReply(block=uuid.uuid4().hex, items=[], **known, **said).to_wire()

    @property
    def _deployed(self) -> dict[str, Any]:
        """The options of the worker that a run takes over once and keeps."""
        return {"archive": self._runtime.archives, "notify": self._runtime.notifies}

    async def _planned(
        self, agent: Agent, planner: Planner, items: list[JsonObject], answer: ModelAnswer
    ) -> ModelReply:
        """Plan a reply's calls; of one that refuses, none is carried out."""
        refused = refusal_text(items) is not None
        if refused:
            items = [item for item in items if item["type"] not in CALLS]
            drop_last_thoughts(items)
        calls = await planner.plan(items)
        return ModelReply(
            block=uuid.uuid4().hex,
            items=items,
            calls=calls,
            after_tools=after_tools_plan(agent) if calls else None,
            max_parallel=agent.max_parallel_calls if calls else None,
            max_open=agent.max_open_requests if any(map(asks, calls)) else None,
            forms=planner.forms(items, calls),
            definitions=planner.definitions(items, calls),
            usage=answer.usage,
            refusal=None if not refused else "failed" if agent.on_refusal is None else "handled",
            handles_max_turns=True if agent.on_max_turns is not None else None,
            response_id=answer.response_id,
            left_out=list(answer.left_out) or None,
            structured=None if calls or refused else await structured(agent, items, self._runtime),
            output_guardrails=[each.name for each in agent.output_guardrails] or None,
            compact=to_be_compacted(agent, answer.usage),
            hears=self._heard(agent),
        )

    def _heard(self, agent: Agent) -> list[Literal["end", "rejected"]] | None:
        observers = self._runtime.observers(agent.name)
        heard: list[Literal["end", "rejected"]] = []
        if observers.hear("on_agent_end"):
            heard.append("end")
        if observers.hear("on_call_rejected"):
            heard.append("rejected")
        return heard or None

    async def _probed(self, call: ModelCall, agent: Agent) -> dict[str, Any]:
        """Return facts that the workflow needs once: search attributes, and the agent's own limits."""
        if not call.probe:
            return {}
        return {
            **self._deployed,
            "attributes": await self._attributes.existing(activity.client()),
            "max_turns": agent.max_turns or 0,
            "max_tokens": agent.max_tokens,
            "max_cost": agent.max_cost,
            "max_seconds": None if agent.max_duration is None else agent.max_duration.total_seconds(),
            "on_limit": "ask" if agent.on_limit == "ask" else None,
            "keeps": True if self._runtime.artifacts.kept_here else None,
        }

    def _agent(self, call: ModelCall) -> Agent:
        try:
            return self._runtime.registry.agent(call.origin.agent)
        except UnknownAgentError as error:
            first = call.guard is not None and len(call.origin.agent_path) == 1
            # A worker of an older deploy may lack an agent that others have: the workflow tries those.
            raise ApplicationError(
                str(error), type="UnknownAgent" if first else "AgentMissing", non_retryable=True
            ) from None

    def _definitions(self, offered: Mapping[str, Offered]) -> list[JsonObject]:
        """Return the tools that the model is offered; a handoff by name has the description of its target."""
        definitions: list[JsonObject] = []
        for each in offered.values():
            definition = each.definition()
            if isinstance(each, Handoff) and not each.description:
                target = self._runtime.registry.agents.get(each.to)
                said = target.description if target is not None else ""
                definition["description"] = said or f"Give the conversation to the agent {each.to}."
            definitions.append(definition)
        return definitions

    async def _of_servers(
        self, agent: Agent, offered: Mapping[str, Offered], models: Sequence[Asked]
    ) -> Mapping[str, Offered]:
        """Return the tools that the agent's MCP servers list, as far as one request to any of *models* takes them.

        They come beside those *offered*.

        Raises:
            ApplicationError: `MCP_UNAVAILABLE`: one of them cannot be reached.
        """
        servers = self._runtime.registry.servers_of(agent)
        if not servers:
            return {}
        try:
            found = await self._runtime.mcp.offered(servers, (*offered, READ_OUTPUT))
        except McpUnavailableError as error:
            raise ApplicationError(str(error), type=MCP_UNAVAILABLE) from None
        bounds = [most_tools_of(port_of(self._runtime, agent, each.client)) for each in models]
        most = min((bound for bound in bounds if bound is not None), default=None)
        if most is None:
            return found
        room = max(0, most - len(offered) - len(agent.hosted))
        if len(found) > room:
            self._runtime.mcp.warn(
                f"agent {agent.name}: {len(found) - room} tools of its MCP servers are not offered, as one request to "
                f"its model takes {most}; choose with tools=[…]"
            )
        return dict(list(found.items())[:room])

    def _kept(self, call: ModelCall, agent: Agent) -> KeptConversation | None:
        """Return the conversation as the agent's provider keeps it; None where it is sent in full."""
        if call.history is None:
            return None
        refuse_unfit(agent, self._runtime.registry)
        port = history_port(agent, port_of(self._runtime, agent, agent.client))
        return KeptConversation(self._runtime.blocks, call, call.history, port, agent.client)


async def _asked(turn: ModelsInTurn, by: ModelPort, request: ModelRequest, port: ModelPort) -> ModelAnswer:
    """Ask the model of this attempt.

    Args:
        turn: Which model that is.
        by: What makes the request.
        request: The request.
        port: The model entry, which knows prices.

    Raises:
        ApplicationError: It did not answer, or not with a reply; the next attempt may ask another one.
        StillUnderwayError: A background response takes longer than the attempt can wait.
    """
    try:
        answer = await answered(by, request)
    except ModelCallError as error:
        # Without its cause: a vendor's error quotes the body, and one that cannot be recorded would be retried.
        raise await turn.passed(error) or failure_of_call(error, request.model, port) from None
    turn.answered()
    return priced(answer, port, request.model)


def _with_own_id(delta: ModelDelta) -> ModelDelta:
    """Name the call that a piece belongs to as the run will."""
    return delta if delta.call_id is None else replace(delta, call_id=own_id(delta.call_id))


def _place() -> dict[str, str | None]:
    """Return where the reply is recorded: the workflow binds its requests to that place."""
    info = activity.info()
    return {"namespace": info.namespace, "run_id": info.workflow_run_id}


def _read(arg: object) -> ModelCall:
    try:
        return ModelCall.from_wire(arg)
    except PayloadInvalidError as error:
        raise ApplicationError(str(error), type="PayloadInvalid", non_retryable=True) from None


def _whole(answer: ModelAnswer) -> list[JsonObject]:
    """Return the items of a reply that can be acted on.

    Raises:
        ApplicationError: It is incomplete, or empty.
    """
    if answer.incomplete is not None:
        raise ApplicationError(
            f"the reply stopped in the middle ({answer.incomplete})",
            type="ModelIncomplete",
            non_retryable=True,
        )
    if not says_something(answer.items):
        kinds = ", ".join(sorted({str(item["type"])[:64] for item in answer.items}))
        message = f"the model's reply is empty{f': it holds no word and no call ({kinds})' if kinds else ''}"
        raise ApplicationError(message, type=REPLY_BROKEN, non_retryable=True)
    return answer.items


def _bounded(reply: ModelReply) -> JsonObject:
    wire = reply.to_wire()
    size = len(json.dumps(wire))
    if size > REPLY_BYTES:
        raise ApplicationError(
            f"the model's reply has {size:,} bytes, more than the {REPLY_BYTES:,} that a run can record; "
            "lower max_output_tokens",
            type="ModelReplyTooLarge",
            non_retryable=True,
        )
    return wire


PATIENCE_S: Final = 480.0
"""Time for which one call waits: less than its ten minutes."""


def background_of(turn: ModelsInTurn, saying: Saying) -> Background:
    """Return how to wait for a response; heartbeats hold its id, so that a further attempt picks it up."""

    async def remember(response: str | None) -> None:
        await turn.say(response=response)

    return Background(
        remember=remember,
        withdrawn=lambda: saying.is_withdrawn,
        patience_s=PATIENCE_S,
        resume=turn.response,
    )
