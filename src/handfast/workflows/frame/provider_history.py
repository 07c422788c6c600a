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
    frame.phase = "model"
    return True


def shown(frame: Frame | None) -> KeptHistory | None:
    """The same for people."""
    if frame is None or frame.history is None:
        return None
    return frame.history.model_copy(update={"uncertain": None})
