"""A change between an approval and its effect, as a request shows it."""

from __future__ import annotations

from handfast.payloads.base import Payload
from handfast.payloads.json_profile import JsonValue

WHY_BYTES = 600
"""Of the words that say what has changed."""
SHOWN_BYTES = 600
"""Of each value that is shown with them; of a larger one the start, as text. All of it goes into the memo."""


class Difference(Payload):
    """The difference by which an approval no longer holds.

    Attributes:
        before: What was true then, as far as it is said; `now` likewise.
    """

    why: str
    before: JsonValue = None
    now: JsonValue = None


class ChangedFacts(Difference):
    """Facts of a request that opened because what had been approved has changed, as its ``facts["changed"]``.

    Attributes:
        request: The one that had been approved; None where nobody had to be asked before.
        by: Who had approved it, where that was said.
    """

    request: str | None = None
    by: str | None = None
