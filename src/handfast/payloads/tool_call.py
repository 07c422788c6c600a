"""Argument and answer of the activities `handfast.tool.<name>` and `handfast.mcp.<server>`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Final, Literal, Self

from handfast.payloads.base import Instant, Payload
from handfast.payloads.binding import Binding
from handfast.payloads.context_edits import ContextEdit
from handfast.payloads.cutting import cut
from handfast.payloads.errors import PayloadInvalidError
from handfast.payloads.json_profile import JsonObject, JsonValue, scrub
from handfast.payloads.mcp import McpAsked, McpChange, McpShown
from handfast.payloads.model_call import Effect, Origin
from handfast.payloads.requests import Decision
from handfast.payloads.transcript import Artifact


class Proofs(Payload):
    """The signed decisions behind a call.

    Attributes:
        decisions: Those that released it, one for each person.
        at: Block where they stand that are too large to travel.
        quorum: How many people it takes; None is one.
        expired: The deadline that released it, by its default.
        again: The decision to run it again, where there has to be one (`reruns`) as it had begun before; `doubt` is
            what the digest of that request covers besides the arguments.
    """

    decisions: list[Decision] = []
    at: str | None = None
    quorum: int | None = None
    expired: Instant | None = None
    again: Decision | None = None
    doubt: Binding | None = None
    reruns: bool | None = None


INLINE_ARGUMENTS_BYTES = 16 * 1024
"""Arguments up to this size travel in the activity's input; larger ones are fetched from their block."""
EXISTING_ARGUMENT_BYTES = 256 * 1024
"""Largest argument of an activity that exists already: it cannot fetch a block."""
RESULT_BYTES = 256 * 1024
"""Largest tool output that enters the history."""
ERROR_TEXT_BYTES = 8 * 1024
"""Largest error text that enters the history."""
TOOL_TIMEOUT: Final = timedelta(minutes=10)
"""Limit for the body of a tool that names none; a plan names only others."""


WORKER_BYTES: Final = 256
"""Most bytes of a worker's identity that a request repeats."""


class Attempt(Payload):
    """Facts of an attempt that entered the tool's body: the first detail of each of its heartbeats.

    That it is said is the mark; what it says is for people.

    Attributes:
        worker: Identity of the worker.
        attempt: Its number, from 1.
        started_at: When the server gave it to the worker.
        alive_at: When the worker's event loop last said that it was alive, by the worker's own clock; a tool that
            blocks the loop holds that up, and the attempt may have lived longer.
    """

    begun: int = 1
    worker: str | None = None
    attempt: int | None = None
    started_at: Instant | None = None
    alive_at: Instant | None = None

    @classmethod
    def among(cls, details: Sequence[object]) -> Self | None:
        """Read heartbeat details; None where they cannot be read, or are of another kind."""
        try:
            return cls.from_wire(details[0]) if details and isinstance(details[0], dict) else None
        except PayloadInvalidError:
            return None

    def facts(self) -> JsonObject:
        """Return the facts for a request, without the mark itself."""
        known = {name: value for name, value in self.to_wire().items() if name != "begun"}
        return known if self.worker is None else {**known, "worker": cut(scrub(self.worker), WORKER_BYTES)[0]}


class ArgumentsAt(Payload):
    """Place of arguments that are too large to travel: a call item of a reply block."""

    block: str
    index: int


class LostStart(Payload):
    """A start of a call whose attempt timed out without a known heartbeat.

    Attributes:
        run: Temporal run id of the history.
        event: The event in it by which the attempt started.
    """

    run: str
    event: int


TOOL_TYPE: Final = "handfast.tool."
"""Beginning of the type of a tool's activity, before the tool's name."""
MCP_TYPE: Final = "handfast.mcp."
"""Beginning of the type of an MCP server's activity, before the server's name."""
CALL_TYPES: Final = (TOOL_TYPE, MCP_TYPE)


class ToolCall(Payload):
    """Input of the activities `handfast.tool.<name>` and `handfast.mcp.<server>`.

    Attributes:
        arguments: Inline arguments, else None with `at` set.
        request: The request that released this call, if a person was asked; `digest` then binds the arguments.
        binding: What the digest covers besides them; there where `digest` is.
        key: Idempotency key, stable over every attempt of this call.
        stream: Its progress is told to whoever watches.
        proofs: The signed decisions behind it, where the run has some, or has to.
        asked_in: Run id of the history in which a person was asked about it.
        lost: Starts that seem never to have begun, whose attempts timed out: what is known of them is looked at once
            more before the body.
        output_guarded: It was planned with output guardrails.
        signed: A person was asked about it by a run that takes signed decisions only.
        mcp: The MCP tool as it was shown.
        asked: What its server has asked for, and the answers with which the call goes on.
    """

    origin: Origin
    tool: str
    call_id: str
    arguments: JsonObject | None = None
    at: ArgumentsAt | None = None
    effect: Effect
    timeout_s: float
    key: str
    request: str | None = None
    digest: str | None = None
    binding: Binding | None = None
    asked_in: str | None = None
    stream: bool | None = None
    proofs: Proofs | None = None
    lost: list[LostStart] | None = None
    output_guarded: bool | None = None
    signed: bool | None = None
    mcp: McpShown | None = None
    asked: McpAsked | None = None


class ToolOutcome(Payload):
    """Output of the activities `handfast.tool.<name>` and `handfast.mcp.<server>`.

    Every ending has a type, none is an exception.

    Attributes:
        kind: *ok*; *error*: the tool failed and says so in `output`; *cancelled*: stopped on request; *not_begun*: the
            body was never entered; *unknown*: it was entered and may have taken effect; *refused*: the arguments in
            hand are not those that were approved; *unproven*: no signed decision that counts here lets it run;
            *changed*: the MCP tool is no longer what was shown, and it was not called; *asked*: its server asks a
            person before it goes on.
        block: Id for the output's block, made by this attempt.
        output: For the model: a text, or content parts as the Responses API takes them.
        form: *json*: the text is JSON, of a value that was no text. As text and not as the value itself, because
            converters sort an object's keys, and the model reads them in the order in which the tool gave them.
        bytes: Size of the output before it was cut to `RESULT_BYTES`, when it was.
        artifact: Where the whole of it is kept, and `output` is its start with this name.
        context: What the tool changed in the run's context.
        context_refused: Why a change of the run's context cannot be kept.
        withheld: What the tool returned, where a guardrail that failed keeps it from the model.
        tripped: Why an output guardrail ends the run.
        known: Of *unknown*: what is known of the attempt that may have taken effect.
        reset: Where it is *refused* because its run was reset after a person had been asked: the run id by now.
        absent: Of *not_begun*: what the tool needs is not there for now, and may be on another worker.
        change: Of *changed*: what it is by now.
        asked: Of *asked*: the questions.
    """

    kind: Literal["ok", "error", "cancelled", "not_begun", "unknown", "refused", "unproven", "changed", "asked"]
    block: str
    output: JsonValue = None
    form: Literal["json"] | None = None
    reason: str | None = None
    bytes: int | None = None
    artifact: Artifact | None = None
    worker: str | None = None
    context: list[ContextEdit] | None = None
    context_refused: str | None = None
    withheld: JsonValue = None
    tripped: str | None = None
    known: Attempt | None = None
    reset: str | None = None
    absent: bool | None = None
    change: McpChange | None = None
    asked: McpAsked | None = None

    @property
    def value(self) -> JsonValue:
        """Return the tool's value: decoded where the output is JSON text, else the text or parts."""
        if self.form == "json" and isinstance(self.output, str):
            value: JsonValue = json.loads(self.output)
            return value
        return self.output


PROGRESS_BYTES = 1000
"""Most bytes of a progress text, in UTF-8."""


class ToolProgress(Payload):
    """The newest progress of one call that runs.

    Attributes:
        done: How much of `total`, in a unit of the tool's.
        at: When the tool said so, by its worker's clock.
    """

    tool: str
    call_id: str
    text: str
    done: float | None = None
    total: float | None = None
    at: Instant
