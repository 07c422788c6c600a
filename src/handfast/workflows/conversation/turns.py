"""The one frame of a conversation: reopened for each message, and closed when that is answered. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from handfast.payloads.base import json_size
from handfast.payloads.guardrails import GuardrailKind
from handfast.payloads.history import KeptHistory
from handfast.payloads.json_profile import JsonObject, JsonValue
from handfast.payloads.model_call import ToldHooks
from handfast.payloads.usage import Usage
from handfast.workflows.frame.frame import Frame

PER_MESSAGE: Final = (
    *("granted_turns", "granted_tokens", "granted_seconds", "granted_cost", "limit_refused", "callers", "reply"),
    *("forms", "after_tools", "max_parallel", "max_open", "held", "worked_s", "clock_at", "resting"),
    *("request", "missing_since", "broken_replies", "invalid_outputs", "resume_at", "waits"),
    *("output", "answer", "answer_structured", "answered_by"),
    *("guards", "guards_known", "output_guards", "guardrails", "usage", "nested_usage", "underway"),
)
"""Fields of a frame that begin anew with each message. The blocks, what the model has seen of them, the agent who has
the conversation and the count of its turns go on: that count makes idempotency keys, so it must never repeat."""

LEFT_OUT: Final = "This came in, and is left out: the request that held it was refused."
LONG_BYTES: Final = 16_000
"""Above this a text may be why a request was refused."""


def reopen(frame: Frame, block: str) -> None:
    """Let the frame answer the message in *block*, which is to be placed next."""
    for name in PER_MESSAGE:
        setattr(frame, name, Frame.model_fields[name].get_default(call_default_factory=True))
    frame.turns_before = frame.turn
    frame.input, frame.untold = block, [ToldHooks(what="started")]
    frame.history_before = frame.history
    frame.phase = "filter" if frame.handoff is not None else "model"


def readable(items: Sequence[JsonObject]) -> list[JsonObject]:
    """Replace content that a provider may have refused: in outputs and messages, all that is no text, and long texts.

    Each call keeps its output, so that the model knows that it took place.
    """
    left: list[JsonObject] = []
    for item in items:
        field = "output" if "output" in item else "content"
        left.append({**item, field: LEFT_OUT} if _may_be_refused(item.get(field)) else item)
    return left


def _may_be_refused(content: JsonValue) -> bool:
    parts = content if isinstance(content, list) else []
    other = any(not isinstance(part, dict) or part.get("type") != "input_text" for part in parts)
    return other or json_size(content) > LONG_BYTES


def close(frame: Frame, spent: Usage) -> None:
    """Leave the frame so that the next message finds a whole conversation: every call with its output.

    Args:
        frame: It has finished or failed; its calls have all been settled.
        spent: By it and everything below it, for this message.
    """
    _keep_outputs(frame)
    if frame.failure is not None and (frame.turn == frame.turns_before or tripped_at(frame, "input")):
        _take_back(frame)
    frame.spent_before = frame.spent_before.plus(spent)
    frame.usage, frame.nested_usage = Usage(), Usage()
    frame.phase, frame.failure, frame.stop, frame.calls = "finished", None, None, []


def _keep_outputs(frame: Frame) -> None:
    """Append the outputs of a turn that broke off: the model must read one output for each of its calls."""
    frame.blocks.extend(call.output for call in frame.calls if call.output is not None)
    if frame.calls and frame.handoff is not None:
        frame.agent = frame.handoff.agent
        frame.agent_path = [*frame.agent_path[:-1], frame.handoff.agent]
        if not frame.handoff.filtered:
            frame.handoff = None


def tripped_at(frame: Frame, kind: GuardrailKind) -> bool:
    """Return whether a guardrail of that kind has stopped what the frame was reopened for."""
    return any(
        each.kind == kind and each.outcome in ("fail", "error") and each.message is None for each in frame.guardrails
    )


def since(block: str | None, blocks: Sequence[str]) -> list[str]:
    """Return the blocks from *block* on; none where it is not among them."""
    return list(blocks[blocks.index(block) :]) if block is not None and block in blocks else []


def _take_back(frame: Frame) -> None:
    """Drop a message that the model never answered, or was not to see, from what it reads next time.

    Otherwise what the provider refuses once would be refused with every message after it.
    """
    if frame.input not in frame.blocks:
        return
    cut(frame, frame.blocks.index(frame.input), frame.history_before)


def cut(frame: Frame, at: int, history: KeptHistory | None) -> None:
    """Take the blocks from *at* on out of what the model reads.

    Args:
        frame: The loop; nothing of it is under way.
        at: Position of the first one.
        history: What the model's provider kept when that was yet to come.
    """
    del frame.blocks[at:]
    frame.take_history_back(history)
    if frame.cursor <= at:
        return
    held = None if frame.history is None else frame.history.holds  # with a history, what is new follows on that block
    frame.cursor = frame.blocks.index(held) if held is not None and held in frame.blocks else at
    frame.seen = frame.blocks[frame.cursor - 1] if frame.cursor else None
