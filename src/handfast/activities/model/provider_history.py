"""One model call on a conversation that the provider keeps: it sends new items only, and leaves none there twice."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError

from handfast.activities.model.model_input import OrderedBlocks
from handfast.activities.model.request import to_application_error
from handfast.activities.runtime.blocks import Blocks
from handfast.definitions.agents.agent import Agent
from handfast.definitions.agents.registry import Registry
from handfast.models.input_items import wire_items
from handfast.models.port import HistoryPort, ModelAnswer, ModelCallError, ModelPort, ModelRequest
from handfast.payloads.history import KeptHistory
from handfast.payloads.json_profile import JsonObject
from handfast.payloads.model_call import ModelCall, ModelReply

logger = logging.getLogger(__name__)

FROM_MODEL = frozenset({"function_call", "custom_tool_call", "reasoning", "mcp_approval_request"})


class FullTranscript:
    """The conversation as it is sent where no provider keeps it."""

    def __init__(self, blocks: Blocks, call: ModelCall) -> None:
        self._blocks = blocks
        self._call = call

    async def blocks(self) -> OrderedBlocks:
        """Return every block."""
        return await self._blocks.transcript(self._call.origin, self._call.after, self._call.ids)


class KeptConversation:
    """A chain or a conversation at the provider, for one attempt of one call.

    An attempt may have been accepted and then lost. Of a chain nothing has to be mended: the next one continues the
    same response. From a conversation everything after the last recorded item is deleted first.
    """

    def __init__(self, blocks: Blocks, call: ModelCall, history: KeptHistory, port: HistoryPort, client: str) -> None:
        self._full = FullTranscript(blocks, call)
        self._blocks = blocks
        self._call = call
        self._now = history
        self._port = port
        self._client = client
        self._conversations = port.conversations
        again = history.uncertain is True or activity.info().attempt > 1
        self._sent: Sequence[JsonObject] = ()
        self._uncertain = history.kind == "conversation" and again

    async def prepared(self) -> KeptHistory | None:
        """Find or make the conversation before its first request; None where an earlier call has done so.

        What it ends with is recorded before anything is sent, so that a lost attempt can be told from what was there.

        Raises:
            ApplicationError: It does not exist, or the provider does not answer.
        """
        now = self._now
        if now.kind == "chain" or now.ready:
            return None
        try:
            if now.conversation is None:
                return now.model_copy(update={"conversation": await self._conversations.create(), "ready": True})
            last = await self._conversations.last_item(now.conversation)
        except ModelCallError as error:
            raise to_application_error(error) from None
        return now.model_copy(update={"item": last, "ready": True})

    async def blocks(self) -> OrderedBlocks:
        """Return the blocks that the next request sends."""
        now, ids = self._now, self._call.ids
        if now.holds is None:
            return await self._full.blocks()
        if ids and ids[0] == now.holds:
            return await self._blocks.some(self._call.origin, ids[1:])
        self._restart(now.model_copy(update={"conversation": None}))  # a reply in between is not kept there
        return await self._full.blocks()

    async def answer(self, request: ModelRequest) -> ModelAnswer:
        """Call the model once; where the provider has forgotten the conversation, send all of it.

        Raises:
            ModelCallError: It did not answer, or cannot be sent what it has forgotten.
        """
        try:
            if self._now.kind == "conversation" and self._now.conversation is None:
                await self._anew()
            elif self._uncertain and (request.background is None or request.background.resume is None):
                await self._mend()
            return await self._port.answer(self._placed(request))
        except ModelCallError as error:
            if error.kind == "ModelRefused" and await self._came_late():
                raise _late() from error
            if error.kind != "HistoryLost" or self._now.given or self._now.response == self._now.base is not None:
                raise
            logger.warning("%s: %s; the conversation is sent in full", activity.info().workflow_id, error.kind)
        items = await self._blocks.with_data([item for _, block in await self._full.blocks() for item in block])
        await self._anew()
        return await self._port.answer(self._placed(replace(request, items=wire_items(items, self._client))))

    async def position(self, answer: ModelAnswer, reply: ModelReply) -> KeptHistory:
        """Return what the provider keeps after a reply; Handfast may have read the reply otherwise than it came.

        Raises:
            ApplicationError: A conversation could not be brought into order; the call is made again.
        """
        read = wire_items(reply.items, self._client)
        as_it_came = read == answer.items
        now = self._now.model_copy(update={"uncertain": None, "holds": reply.block})
        if now.kind == "chain":
            if as_it_came and answer.kept and answer.response_id is not None:
                return now.model_copy(update={"response": answer.response_id})
            return now.model_copy(update={"response": now.base, "holds": None})
        assert now.conversation is not None
        try:
            if self._uncertain:
                await self._refuse_strangers(answer)
            last = await self._last(answer.items) if as_it_came else await self._mended(answer.items, read)
        except ModelCallError as error:
            raise to_application_error(error) from None
        return now.model_copy(update={"item": last})

    # --- inside ---

    def _placed(self, request: ModelRequest) -> ModelRequest:
        now = self._now
        self._sent = request.items
        return replace(request, store=True, previous_response_id=now.response, conversation=now.conversation)

    def _restart(self, now: KeptHistory) -> None:
        if now.given:
            raise ApplicationError(
                "a reply was given by a worker of an older version and is missing in the conversation, which was there "
                "before the run and cannot be made anew",
                type="HistoryLost",
                non_retryable=True,
            )
        rebuilt = (now.rebuilt or 0) + 1
        self._now = now.model_copy(update={"response": now.base, "holds": None, "item": None, "rebuilt": rebuilt})

    async def _anew(self) -> None:
        """Begin anew at the provider."""
        if self._now.holds is not None or self._now.kind == "chain":
            self._restart(self._now)
        if self._now.kind == "conversation":
            self._now = self._now.model_copy(update={"conversation": await self._conversations.create(), "item": None})
            self._uncertain = False

    async def _mend(self) -> None:
        """Delete the items of an attempt whose outcome was lost, the newest first."""
        conversation = self._now.conversation or ""
        for item in reversed(await self._conversations.items_after(conversation, self._now.item)):
            await self._conversations.delete_item(conversation, str(item.get("id")))

    async def _came_late(self) -> bool:
        """Return True where items of a lost attempt arrived after `_mend`: the provider refused those, not ours."""
        if not self._uncertain:
            return False
        return bool(await self._conversations.items_after(self._now.conversation or "", self._now.item))

    async def _refuse_strangers(self, answer: ModelAnswer) -> None:
        """Refuse a reply to which an earlier attempt has added its own: the model may have read both."""
        own = set(_ids(answer.items))
        if not own or any(_is_from_model(item) for item in self._sent):
            return
        for item in await self._conversations.items_after(self._now.conversation or "", self._now.item):
            if _is_from_model(item) and item.get("id") not in own:
                raise _late()

    async def _last(self, items: Sequence[JsonObject]) -> str | None:
        last = items[-1].get("id") if items else None
        return last if isinstance(last, str) else await self._conversations.last_item(self._now.conversation or "")

    async def _mended(self, came: Sequence[JsonObject], read: Sequence[JsonObject]) -> str | None:
        """Replace the items of a reply at the provider by the items that were read of it."""
        conversation = self._now.conversation or ""
        for item in reversed(list(_ids(came))):
            await self._conversations.delete_item(conversation, item)
        added = await self._conversations.add_items(conversation, read)
        return added or await self._conversations.last_item(conversation)


def _late() -> ModelCallError:
    message = "the reply of a lost attempt came into the conversation meanwhile; it is deleted by the next attempt"
    return ModelCallError("ModelBusy", message, retryable=True)


def _is_from_model(item: JsonObject) -> bool:
    return item.get("role") == "assistant" or item.get("type") in FROM_MODEL


def _ids(items: Sequence[JsonObject]) -> Iterator[str]:
    return (item["id"] for item in items if isinstance(item.get("id"), str))


def history_port(agent: Agent, port: ModelPort) -> HistoryPort:
    """Return the agent's model client as one that keeps histories.

    Raises:
        ApplicationError: ``HistoryExcluded``: it keeps none.
    """
    if isinstance(port, HistoryPort):
        return port
    raise _excluded([f"the model client {agent.client!r} keeps no history"])


def refuse_unfit(agent: Agent, registry: Registry) -> None:
    """Refuse an agent that would change a history at the provider, or may hand over to one that would.

    Raises:
        ApplicationError: ``HistoryExcluded``: it names everything that does not go together.
    """
    problems: list[str] = []
    seen, waiting = {agent.name}, [agent]
    while waiting:
        each = waiting.pop()
        if each.output_guardrails:
            problems.append(f"agent {each.name} has output guardrails, whose replacement it would not know")
        if each.compaction is not None:
            problems.append(f"agent {each.name} has a compaction, which cannot shorten it")
        if each.truncation is not None:
            problems.append(f"agent {each.name} has a truncation, which cannot shorten it")
        if each.input_filter is not None:
            problems.append(f"agent {each.name} has an input filter, which cannot change it")
        for client in each.clients:
            if client != agent.client:
                problems.append(f"agent {each.name} has another model client ({client!r}), which does not know it")
        for handoff in each.handoffs:
            if handoff.filter is not None:
                problems.append(f"the handoff {handoff.name} of {each.name} has a filter, which cannot change it")
            target: Any = registry.agents.get(handoff.to)
            if target is not None and target.name not in seen:
                seen.add(target.name)
                waiting.append(target)
    if problems:
        raise _excluded(problems)


def _excluded(problems: Sequence[str]) -> ApplicationError:
    return ApplicationError(
        f"the run's history is kept by the model's provider, and {'; '.join(problems)}; start it without history=, or "
        "change the agent",
        type="HistoryExcluded",
        non_retryable=True,
    )
