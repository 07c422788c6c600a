"""What a frame knows of the history that the model's provider keeps. Pure."""

from __future__ import annotations

from handfast.payloads.history import Chain, Conversation, KeptHistory
from handfast.payloads.model_call import ModelReply
from handfast.workflows.frame.frame import Frame


def begin(given: Chain | Conversation | None) -> KeptHistory | None:
    """What is known of it before the first call."""
    match given:
        case Chain(previous_response_id=base):
            return KeptHistory(kind="chain", response=base, base=base)
        case Conversation(id=known):
            return KeptHistory(kind="conversation", conversation=known, given=True if known else None)
    return None


def asked(frame: Frame) -> KeptHistory | None:
    """What a call is told of it. Until its reply is recorded, nobody knows what the call has left there."""
    told = frame.history
    if told is not None and told.kind == "conversation":
        frame.history = told.model_copy(update={"uncertain": True})
    return told


def take(frame: Frame, reply: ModelReply) -> bool:
    """Take over what a reply says of it; whether it says that alone, and the model is yet to be asked."""
    if frame.history is None or reply.history is None:
        return False
    frame.history = reply.history
    if reply.items or reply.input_guardrails:
        return False
    if frame.history_before is not None and not frame.history_before.ready:
        frame.history_before = reply.history
    frame.phase = "model"
    return True


def go_back(frame: Frame, before: KeptHistory | None) -> None:
    """Take it up again as it was *before* what has just been taken out of the conversation."""
    now = frame.history
    if now is None or before is None:
        return
    if now.kind == "chain":
        frame.history = before.model_copy(update={"rebuilt": now.rebuilt})
    elif now.conversation == before.conversation:  # what stands there after that item is deleted by the next call
        frame.history = now.model_copy(update={"item": before.item, "holds": before.holds, "uncertain": True})
    else:  # it was made anew meanwhile, with what has been taken out
        frame.history = now.model_copy(update={"conversation": None, "item": None, "holds": None})


def shown(frame: Frame | None) -> KeptHistory | None:
    """The same for people."""
    if frame is None or frame.history is None:
        return None
    return frame.history.model_copy(update={"uncertain": None})
