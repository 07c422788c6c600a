"""A response that the provider is still making."""

from __future__ import annotations

from handfast.payloads.base import Payload


class Underway(Payload):
    """A background response that a model call waits for.

    Attributes:
        response: Its id at the provider.
        calls: How many activities have waited for it.
        choice: Position of its model in the agent's list; None is the first.
    """

    response: str
    calls: int = 0
    choice: int | None = None
