"""Questions to guardrails of an agent, and their verdicts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from handfast.payloads.base import Payload, json_size
from handfast.payloads.json_profile import JsonObject, JsonValue
from handfast.payloads.model_call import Origin, StructuredOutput
from handfast.payloads.tool_call import ArgumentsAt

KEPT_RESULTS: Final = 100
"""Most guardrail results that a run keeps: the latest ones."""
KEPT_BYTES: Final = 128 * 1024
"""Most bytes of them together: they go into the run's result, beside its output."""
INFO_BYTES: Final = 2048
"""Most bytes of a guardrail's info; a larger one is left out, and says so."""

GuardrailKind = Literal["input", "output", "tool_input", "tool_output"]
GuardrailOutcome = Literal["allow", "replace", "fail", "error"]


class GuardrailResult(Payload):
    """Verdict of one guardrail.

    Attributes:
        guardrail: Its name.
        agent: Whose guardrail it is.
        outcome: *error*: it raised, took too long, or answered something else; that stops the run like *fail*.
        reason: Why it stopped the run.
        info: What it found, as JSON.
        message: The id of the message that it looked at, where that was sent to the run; one that it stops is refused,
            and the run goes on.
    """

    guardrail: str
    kind: GuardrailKind
    agent: str
    outcome: GuardrailOutcome
    reason: str | None = None
    info: JsonValue = None
    message: str | None = None


def kept(results: Sequence[GuardrailResult]) -> list[GuardrailResult]:
    """Return the latest of *results*, as many as a run keeps."""
    room = KEPT_BYTES
    latest: list[GuardrailResult] = []
    for each in reversed(results[-KEPT_RESULTS:]):
        room -= json_size(each.to_wire())
        if room < 0:
            break
        latest.append(each)
    return latest[::-1]


class CheckInput(Payload):
    """Ask an input guardrail about a run's input.

    Attributes:
        block: Where the input stands.
    """

    kind: Literal["input_guardrail"] = "input_guardrail"
    origin: Origin
    guardrail: str
    block: str

    def read(self, answer: object) -> Judged:
        """See `Question`."""
        return Judged.from_wire(answer)


class AboutOutput(Payload):
    """Fields of every question about a run's output.

    Attributes:
        reply: The block of the reply that is the output; `structured` says how its text reads.
        arguments: Otherwise the output, as ``{"output": …}``; where it is large None, and `at` says where that stands.
    """

    origin: Origin
    reply: str | None = None
    structured: StructuredOutput | None = None
    arguments: JsonObject | None = None
    at: ArgumentsAt | None = None


class CheckOutput(AboutOutput):
    """Ask an output guardrail about a run's output."""

    kind: Literal["output_guardrail"] = "output_guardrail"
    guardrail: str

    def read(self, answer: object) -> Judged:
        """See `Question`."""
        return Judged.from_wire(answer)


class EndTold(Payload):
    """Hooks have heard of the end."""


class TellEnd(AboutOutput):
    """Tell hooks that an agent has ended with an output, which nothing changes any more."""

    kind: Literal["tell_end"] = "tell_end"

    def read(self, answer: object) -> EndTold:
        """See `Question`."""
        return EndTold.from_wire(answer)


class Judged(Payload):
    """The answer of a guardrail.

    Attributes:
        value: On *replace*: the output, or the input as a text or items.
    """

    outcome: GuardrailOutcome
    value: JsonValue = None
    reason: str | None = None
    info: JsonValue = None
