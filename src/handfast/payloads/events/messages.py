"""Messages that were sent to the run."""

from __future__ import annotations

from typing import Literal

from handfast.payloads.events.base import Event
from handfast.payloads.json_profile import JsonObject


class MessageSent(Event):
    """A message to the run was taken.

    Attributes:
        message: Its id.
        when: *next*: before the next model call. *now*: the model call under way is stopped first.
        input: What it says: a text, or items.
    """

    type: Literal["message_sent"] = "message_sent"
    message: str
    by: str | None = None
    when: str | None = None
    frame: str | None = None
    input: str | list[JsonObject] | None = None


class MessagePlaced(Event):
    """A message stands before the next model call of the loop `frame`."""

    type: Literal["message_placed"] = "message_placed"
    message: str
    frame: str | None = None


class MessageRefused(Event):
    """A message was refused, and changed nothing."""

    type: Literal["message_refused"] = "message_refused"
    message: str | None = None
    by: str | None = None
    why: str | None = None


class MessageAnswered(Event):
    """The turn of a session's message has ended.

    Attributes:
        status: *failed*: without an answer; `why` says how.
        block: Id of the reply that answers it, as `ModelReplied.block` has it.
    """

    type: Literal["message_answered"] = "message_answered"
    message: str
    status: Literal["answered", "failed"]
    why: str | None = None
    frame: str | None = None
    block: str | None = None


class MessageTakenBack(Event):
    """A message of a session was taken back after its turn: it, and what was said on it, left the conversation."""

    type: Literal["message_taken_back"] = "message_taken_back"
    message: str
    by: str | None = None
    frame: str | None = None


MessageEvent = MessageSent | MessagePlaced | MessageRefused | MessageAnswered | MessageTakenBack
