"""Calls of tools: started, ended, or in doubt."""

from __future__ import annotations

from typing import Literal

from handfast.payloads.events.base import Event, OfCall
from handfast.payloads.json_profile import JsonObject, JsonValue
from handfast.payloads.transcript import Artifact


class ToolCalled(OfCall):
    """A call was started.

    Attributes:
        arguments: None where they stand in the transcript alone: a person's own above 16 KB.
        start: 1, and more where it is started again as it had not begun, or somebody said so.
        request: The request that released it.
        repeats: Id of the latest call with the same tool and arguments that an earlier reply of the loop made, as far
            as the run holds its conversation itself.
    """

    type: Literal["tool_called"] = "tool_called"
    arguments: JsonObject | None = None
    start: int = 1
    request: str | None = None
    repeats: str | None = None


class ToolOutput(OfCall):
    """A call has its output: it ran to its end, or a person gave it.

    Attributes:
        output: For the model: a text, or content parts.
        bytes: Its size before it was cut.
        artifact: Where the whole of it is kept.
        by: Who gave it, where it did not come from the tool.
    """

    type: Literal["tool_output"] = "tool_output"
    output: JsonValue = None
    bytes: int | None = None
    artifact: Artifact | None = None
    by: str | None = None


class ToolFailed(OfCall):
    """A start of a call failed.

    Attributes:
        why: *error*: the tool said so, or raised. *timeout*: it took too long. *not_begun*: its body was never entered;
            it is started again, or a person is asked. *unknown*: it may or may not have taken effect; an *in_doubt* or
            a request follows. *refused*: what would have run is not what was approved. *unproven*: no signed decision
            that counts lets it run. *changed*: its MCP server changed the tool since; it did not run, and a request
            follows.
        output: For the model, where it reads one.
        message: What is known beyond it.
    """

    type: Literal["tool_failed"] = "tool_failed"
    why: Literal["error", "timeout", "not_begun", "unknown", "refused", "unproven", "changed"]
    output: JsonValue = None
    message: str | None = None


class ToolAsked(OfCall):
    """The MCP server of a call asks a person before it goes on; its requests of kind *question* follow."""

    type: Literal["tool_asked"] = "tool_asked"


class ToolCancelled(OfCall):
    """A call was stopped on request, or never ran because of one."""

    type: Literal["tool_cancelled"] = "tool_cancelled"
    output: JsonValue = None


class ToolNotRun(OfCall):
    """A call got an output without running.

    Attributes:
        why: *unknown*, *invalid*, *blocked*: as the reply's plan said. *rejected*: by `by`. *expired*: nobody decided.
            *ignored*: another handoff of the same reply took place. *changed*: each time it was approved, something had
            changed by then. *settled*: nothing in the history says more.
        output: What the model reads, where the history shows it.
    """

    type: Literal["tool_not_run"] = "tool_not_run"
    why: Literal["unknown", "invalid", "blocked", "rejected", "expired", "ignored", "changed", "settled"]
    output: JsonValue = None
    by: str | None = None


class CallCancelRequested(Event):
    """Somebody wants one call to end."""

    type: Literal["call_cancel_requested"] = "call_cancel_requested"
    call_id: str
    by: str | None = None
    reason: str | None = None


class InDoubt(Event):
    """A call has an unknown outcome, and nobody is asked: `why` names call and reason."""

    type: Literal["in_doubt"] = "in_doubt"
    frame: str | None = None
    why: str


class EffectVerified(Event):
    """The tool of a call in doubt was asked whether it took effect.

    Attributes:
        verdict: *ran*: it did, and its output follows. *run_again*: it did not, and is started again. None: nobody
            knows; an *in_doubt* or a request follows.
    """

    type: Literal["effect_verified"] = "effect_verified"
    verdict: Literal["ran", "run_again"] | None = None
    frame: str | None = None
    call_id: str | None = None
    why: str


class MayHaveHappened(OfCall):
    """The run was ended from outside, and it is unknown whether this call took effect, or still will.

    Computed from the history alone, where a run was terminated or its own timeout passed. Calls that only read are not
    among them.

    Attributes:
        why: *running*: it had been started, and its end was never recorded; its worker may not even have taken it.
            *in_doubt*: a person was still asked about it.
        request: The request that is meant; or else the one that released the call.
    """

    type: Literal["may_have_happened"] = "may_have_happened"
    why: Literal["running", "in_doubt"]
    arguments: JsonObject | None = None
    request: str | None = None


CallEvent = (
    ToolCalled
    | ToolOutput
    | ToolFailed
    | ToolAsked
    | ToolCancelled
    | ToolNotRun
    | CallCancelRequested
    | InDoubt
    | EffectVerified
    | MayHaveHappened
)
