"""Saying something to a run while it works."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import model_validator

from handfast.payloads.base import Instant, Name, Payload
from handfast.payloads.canonical import sha256_digest
from handfast.payloads.errors import JsonProfileError, PayloadInvalidError
from handfast.payloads.json_profile import JsonObject, JsonValue, check_json
from handfast.payloads.refusals import MessageInvalidError
from handfast.payloads.transcript import user_message

MESSAGE_BYTES: Final = 64 * 1024
"""Largest message that is taken: more than that belongs where a tool can read it."""

When = Literal["next", "now", "after"]
"""*next*: before the next model call. *now*: the model call under way is cancelled, and made again with the message.
*after*, in a session: in a turn of its own, after those that came before it."""
OnMessage = Literal["follow_up", "refuse"]
"""Fate of a message when no model call is to come: it opens a further turn, or it is refused."""

_ROLES: Final = ("user", "developer", "system")
_KEYS: Final = {"type", "role", "content"}
_PARTS: Final = ("input_text", "input_image", "input_file")


class Message(Payload):
    """The argument of the update and the signal `send`: a text, or messages as the Responses API takes them.

    Attributes:
        when: None stands for *next*; in a session, for what the session's `on_message` says.
        id: Makes a repetition harmless; None takes a random one.
        frame: Which loop, where several are at work; None means the one that was started, where there is only one.
        by: Who sends it: a claimed name.
    """

    text: str | None = None
    items: list[JsonObject] | None = None
    when: When | None = None
    id: Name | None = None
    by: Name | None = None
    frame: Name | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Message:
        if (self.text is None) == (self.items is None):
            raise ValueError("give a text, or items")
        if self.text is not None and not self.text.strip():
            raise ValueError("the text is empty")
        if self.items is not None:
            _check_items(self.items)
        return self

    @property
    def content(self) -> list[JsonObject]:
        """Return the items that the model reads."""
        if self.text is not None:
            return [user_message(self.text)]
        return [{"type": "message", **item} for item in self.items or []]

    @property
    def size(self) -> int:
        """Bytes on the wire; at most `MESSAGE_BYTES` are taken."""
        return len(self.model_dump_json(exclude_none=True).encode())

    @property
    def digest(self) -> str:
        """Digest of the message without its id and sender: two with one id must say the same."""
        return sha256_digest(self.model_dump(mode="json", exclude={"id", "by"}, exclude_none=True))


class MessageReceipt(Payload):
    """The answer to a message.

    Attributes:
        state: *queued*: it waits for the next model call. *placed*: it stands where the model reads it. *refused*: it
            was taken, and then refused; `why` says the reason. *stored*: the server keeps it until a worker returns;
            send it again with the same id to hear what became of it.
        duplicate: The same message had been taken before; this is what became of it.
        frame: The loop that it was sent to; None before the run has begun.
        interrupts: It made a model call that was under way be made again.
    """

    id: str
    state: Literal["queued", "placed", "refused", "stored"]
    duplicate: bool = False
    at: Instant | None = None
    frame: str | None = None
    interrupts: bool | None = None
    why: str | None = None


def checked_message(value: object) -> Message:
    """Read a message, from wherever it comes.

    Raises:
        MessageInvalidError: It is empty, too large, or none at all.
    """
    try:
        check_json(value)
        message = Message.from_wire(value)
    except (JsonProfileError, PayloadInvalidError) as error:
        raise MessageInvalidError(str(error)) from None
    if message.size > MESSAGE_BYTES:
        raise MessageInvalidError(
            f"a message may have {MESSAGE_BYTES // 1024} KiB at most; give a reference and a tool that reads it, and "
            "keep images and files outside it with Handfast(artifacts=…)",
            message_id=message.id,
        )
    return message


def _check_items(items: list[JsonObject]) -> None:
    """Let through what a model can be asked with at any place of a conversation: messages, and no calls or outputs."""
    if not items:
        raise ValueError("there are no items")
    for item in items:
        if item.get("type", "message") != "message" or item.get("role") not in _ROLES or not item.keys() <= _KEYS:
            raise ValueError(f"an item is a message with the role {', '.join(_ROLES)} and a content, nothing else")
        content = item.get("content")
        parts = [{"type": "input_text", "text": content}] if isinstance(content, str) else content
        if not isinstance(parts, list) or not parts or not all(_is_part(part) for part in parts):
            raise ValueError(f"an item's content is a text, or a list of {', '.join(_PARTS)}")


def _is_part(part: JsonValue) -> bool:
    if not isinstance(part, dict) or part.get("type") not in _PARTS:
        return False
    text = part.get("text")
    return part["type"] != "input_text" or (isinstance(text, str) and bool(text.strip()))
