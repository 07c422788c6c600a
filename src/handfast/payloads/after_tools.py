"""The question to an agent's `after_tools` function."""

from __future__ import annotations

from typing import Literal

from handfast.payloads.base import Payload
from handfast.payloads.json_profile import JsonValue
from handfast.payloads.model_call import Origin


class AfterTools(Payload):
    """Says whether the run ends after its tools.

    Attributes:
        final: It ends with `output`.
        problem: Why the run fails.
    """

    final: bool | None = None
    output: JsonValue = None
    problem: str | None = None


class AskAfterTools(Payload):
    """Ask the agent's `after_tools` function for a final output.

    Attributes:
        results: A block for each call, in the model's order: one item with `tool`, `call_id`, `arguments`, `output`
            and `ok`.
    """

    kind: Literal["after_tools"] = "after_tools"
    origin: Origin
    results: list[str]

    def read(self, answer: object) -> AfterTools:
        """See `Question`."""
        return AfterTools.from_wire(answer)
