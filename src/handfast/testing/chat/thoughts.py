"""The reasoning that a server has shown, and what it wants back of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

from handfast.testing.record import Json
from handfast.testing.responses.refusal import ApiRefusal

OWN_FIELDS: Final = (
    *("reasoning_content", "reasoning", "reasoning_details", "thinking_blocks", "extra_content"),
    "provider_specific_fields",
)
"""Fields of a message that some servers add to the API's, and take back."""
_GUIDE: Final = "https://api-docs.deepseek.com/guides/thinking_mode#tool-calls"


class Thoughts:
    """The reasoning that the server has shown.

    A field of its own is taken back by a server that has sent one, and by no other. Reasoning that led to a call comes
    back with it until the turn ends, as DeepSeek wants it of texts, and Anthropic of parts with a signature.

    Args:
        field: The field in which it comes back; None for a server that does not miss it.
    """

    def __init__(self, field: str | None) -> None:
        self._field = field
        self._fields: set[str] = set()
        self._led_to: dict[str, list[object]] = {}

    def sent(self, body: str) -> None:
        """Note which fields of its own a body of the server's has."""
        self._fields |= {name for name in OWN_FIELDS if f'"{name}"' in body}

    def shown(self, message: Json) -> None:
        """Note the reasoning of a whole message."""
        self.sent(json.dumps(message))
        for call in message.get("tool_calls") or ():
            self._led_to.setdefault(_key(call), []).append(message.get(self._field) if self._field else None)

    def without(self, message: Json) -> Json:
        """Return *message* without the fields that the server has sent before."""
        if message.get("role") != "assistant":
            return message
        bare = {name: value for name, value in message.items() if name not in self._fields}
        if isinstance(calls := message.get("tool_calls"), list) and "extra_content" in self._fields:
            bare["tool_calls"] = [
                {name: value for name, value in call.items() if name != "extra_content"} for call in calls
            ]
        return bare

    def check(self, messages: Sequence[Json]) -> None:
        """Refuse a call of this turn without the reasoning that led to it.

        Raises:
            ApiRefusal: It is missing, or not what the server has sent.
        """
        users = [number for number, message in enumerate(messages) if message["role"] == "user"]
        for number in range(users[-1] if users else 0, len(messages)):
            message = messages[number]
            for call in message.get("tool_calls") or ():
                shown = self._led_to.get(_key(call), [None])
                if None in shown or message.get(self._field or "") in shown:
                    continue
                if self._field == "reasoning_content":
                    told = f"Missing `reasoning_content` field in the assistant message at message index {number}."
                    raise ApiRefusal(f"{told} For more information, please refer to {_GUIDE}", "messages")
                kinds = "`thinking` or `redacted_thinking` blocks"
                told = f"{kinds} in the latest assistant message cannot be modified ({self._field})."
                raise ApiRefusal(f"messages.{number}.content.0: {told}", "messages")


def _key(call: Json) -> str:
    return json.dumps([call["id"], call[call["type"]]], sort_keys=True)
