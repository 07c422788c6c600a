"""Compacts a conversation, by its provider or by an agent that writes a summary, and packs blocks."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from typing import Any, Final

from temporalio.exceptions import ApplicationError

from handfast.activities.model.model_input import OrderedBlocks, prompt_of
from handfast.activities.model.request import (
    body_settings,
    failure_of_call,
    first_model,
    instructions_of,
    port_of,
    read_again,
    settings_of,
    transport_of,
    with_spent,
)
from handfast.activities.runtime.runtime import Runtime
from handfast.definitions.agents.agent import Agent
from handfast.definitions.agents.compaction import Compact
from handfast.errors import ArtifactError
from handfast.models.input_items import wire_items
from handfast.models.port import CompactingPort, ModelAnswer, ModelCallError, ModelRequest
from handfast.models.prices import priced
from handfast.payloads.base import json_size
from handfast.payloads.conversation import is_from_model, start_of_turns
from handfast.payloads.evaluation import CompactHistory, HistoryCompacted, PackBlocks, Packed
from handfast.payloads.json_profile import JsonObject
from handfast.payloads.model_call import Origin
from handfast.payloads.transcript import BLOCK_BYTES, Block, Pack, user_message
from handfast.payloads.usage import Spent
from handfast.workflows.frame.items import text_of_reply

SUMMARY_HEAD: Final = "This is a summary of the conversation so far, which you no longer see as it was:"
ASKED: Final = "Sum up the following conversation, so that it can go on from your summary alone."


async def compact_history(asked: CompactHistory, runtime: Runtime) -> HistoryCompacted:
    """Make the start of a conversation short.

    Raises:
        ApplicationError: It could not be done; its type says why, as of a model call.
    """
    agent = runtime.registry.agent(asked.origin.agent)
    rule = agent.compaction
    if rule is None or rule.within_replies:
        return HistoryCompacted()  # a worker of another deploy wanted it, or the agent that handed over
    blocks = await runtime.blocks.ordered(asked.origin)
    items, until = _start(blocks, rule)
    if until is None or not any(is_from_model(item) and item.get("type") != "compaction" for item in items):
        return HistoryCompacted()  # all of it has to stay, or is short already
    answer, model = await _short(runtime, asked.origin, agent, rule, items)
    spent = Spent(usage=answer.usage, model=model)
    size = json_size(answer.items)
    if size > BLOCK_BYTES:
        problem = f"what is left has {size:,} bytes, more than the {BLOCK_BYTES:,} that a run can record"
        return HistoryCompacted(problem=problem, spent=spent)
    return HistoryCompacted(block=uuid.uuid4().hex, items=answer.items, until=until, spent=spent)


def _start(blocks: OrderedBlocks, rule: Compact) -> tuple[list[JsonObject], str | None]:
    """Return the items to compact, which are whole blocks, and the last of these blocks."""
    items = [item for _, block in blocks for item in block]
    start = start_of_turns(items, rule.keep_turns)
    taken: list[JsonObject] = []
    until: str | None = None
    for block_id, block in blocks:
        if len(taken) + len(block) > start:
            break
        taken += block
        until = block_id
    return taken, until


async def _short(
    runtime: Runtime, origin: Origin, agent: Agent, rule: Compact, items: list[JsonObject]
) -> tuple[ModelAnswer, str]:
    by = agent if rule.agent is None else runtime.registry.agent(rule.agent)
    context = await runtime.run_context(origin, by.context_type)
    facts = await runtime.facts(origin)
    settings = settings_of(by, facts)
    asked = first_model(runtime, by, facts)
    request = ModelRequest(
        model=asked.model,
        instructions=await instructions_of(runtime, by, context),
        items=wire_items(await runtime.blocks.with_data(items), asked.client)
        if rule.agent is None
        else _to_sum_up(items),
        settings=body_settings(by, settings, await prompt_of(runtime, by, context)),
        transport=transport_of(settings),
    )
    port = port_of(runtime, by, asked.client)
    try:
        if rule.agent is not None:
            answer = priced(read_again(await port.answer(request)), port, request.model)
            return _summary(answer, request.model), request.model
        if not isinstance(port, CompactingPort):
            raise ApplicationError(
                f"the model client {asked.client!r} cannot compact; let an agent do it: Compact(by=…)",
                type="ModelRefused",
                non_retryable=True,
            )
        return priced(await port.compact(request), port, request.model), request.model
    except ModelCallError as error:
        raise failure_of_call(error, request.model, port) from None


def _summary(answer: ModelAnswer, model: str) -> ModelAnswer:
    text = text_of_reply(answer.items)
    if not text or answer.incomplete is not None:
        why = "is empty" if not text else f"stopped in the middle ({answer.incomplete})"
        error = ApplicationError(f"the summary {why}", type="ModelReplyInvalid", non_retryable=True)
        raise with_spent(error, answer.usage, model)
    return ModelAnswer(items=[user_message(f"{SUMMARY_HEAD}\n\n{text}")], usage=answer.usage)


# --- the conversation as text ---


def _to_sum_up(items: Sequence[JsonObject]) -> list[JsonObject]:
    """Write the conversation as text for the agent that sums it up: its model may not know the items and reasoning.

    Items that a provider has compacted are passed on as they are."""
    compacted = [item for item in items if item.get("type") == "compaction"]
    told = "\n\n".join(line for line in map(_told, items) if line)
    return [*compacted, user_message(f"{ASKED}\n\n<conversation>\n{told}\n</conversation>")]


def _told(item: JsonObject) -> str:
    kind = str(item.get("type", "message"))
    match kind:
        case "message":
            return f"{item.get('role')}: {_text(item.get('content'))}"
        case "reasoning" | "compaction":
            return ""
        case "function_call":
            return f"call {item.get('name')}: {item.get('arguments')}"
        case "custom_tool_call":
            return f"call {item.get('name')}: {item.get('input')}"
        case "function_call_output" | "custom_tool_call_output":
            return f"output: {_text(item.get('output'))}"
    return f"{kind}: {json.dumps({key: value for key, value in item.items() if key not in ('type', 'id')})}"


def _text(content: Any) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return json.dumps(content)
    return "\n".join(_part(part) for part in content)


def _part(part: Any) -> str:
    if not isinstance(part, dict):
        return ""
    for name in ("text", "refusal"):
        if isinstance(part.get(name), str):
            return str(part[name])
    return f"[{part.get('type', 'content')}]"


async def pack_blocks(asked: PackBlocks, runtime: Runtime) -> Packed:
    """Keep blocks as one artifact; equal blocks have equal content, so that a retry changes nothing.

    Raises:
        ApplicationError: ``ArtifactFailed``: they could not be kept.
    """
    found = await runtime.blocks.some(asked.origin, asked.ids)
    pack = Pack(blocks=[Block(id=block_id, items=items) for block_id, items in found])
    data = json.dumps(pack.to_wire(), separators=(",", ":"), sort_keys=True).encode()
    try:
        packed = await runtime.artifacts.keep(data)
    except ArtifactError as error:
        raise ApplicationError(str(error), type="ArtifactFailed") from None
    runtime.blocks.cache.forget(asked.ids)  # from now on they are read as one
    return Packed(packed=packed)
