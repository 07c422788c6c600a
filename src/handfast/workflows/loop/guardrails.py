"""Rules for guardrails: when each runs, and what waits for it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from handfast.payloads.guardrails import GuardrailResult, Judged, kept
from handfast.payloads.json_profile import JsonValue
from handfast.payloads.model_call import ModelReply
from handfast.workflows.frame.frame import Call, Failure, Frame, Guard, Queued
from handfast.workflows.loop.messages import RefuseMessages


@dataclass(frozen=True)
class RunGuardrail:
    """Start the activity of a guardrail."""

    guard: Guard


def know(frame: Frame, reply: ModelReply) -> bool:
    """Take over which guardrails there are; whether the reply says that instead of being one of the model's."""
    frame.output_guards = [Guard(name=name, agent=frame.agent, kind="output") for name in reply.output_guardrails or []]
    if "end" in (reply.hears or ()):
        frame.output_guards.append(Guard(name="hooks", agent=frame.agent, kind="told"))
    if frame.guards_known:
        return False
    frame.guards_known = True
    if not reply.input_guardrails:
        return False
    frame.guards = [
        Guard(name=each.name, agent=frame.agent, kind="input", parallel=each.parallel)
        for each in reply.input_guardrails
    ]
    frame.phase = "model"
    return True


def next_guards(frame: Frame) -> list[RunGuardrail]:
    """Return the guardrails to start: blocking ones one by one, parallel ones together, those of the output one by one.

    Hooks hear of the output when all have let it pass.
    """
    for kind in ("input", "output", "told"):
        one = next((each for each in _unfinished(frame, kind) if not each.parallel), None)
        if one is not None:
            return [RunGuardrail(one)] if one.state == "waiting" else []
        beside = [each for each in _unfinished(frame, kind) if each.state == "waiting"]
        if beside:
            return [RunGuardrail(each) for each in beside]
    return []


def hold_model(frame: Frame) -> bool:
    """Return whether the model may not be called yet."""
    return any(not each.parallel for each in _unfinished(frame, "input"))


def hold_call(frame: Frame, call: Call) -> bool:
    """Return whether a call may not start yet: one with an effect waits for the input's guardrails."""
    return call.plan.effect != "read_only" and bool(_unfinished(frame, "input"))


def finish(
    frame: Frame, output: JsonValue, reply: ModelReply | None = None, *, blocks: Sequence[str | None] = ()
) -> None:
    """End the frame with *output*, as soon as no guardrail has anything against it.

    Args:
        frame: Of the agent whose output it is.
        output: What the run ends with.
        reply: The reply whose text it is; None where it comes from elsewhere.
        blocks: Then the blocks of the conversation that it was taken from.
    """
    frame.output = output
    frame.answered_by = [each for each in blocks if each is not None] if reply is None else [reply.block]
    frame.answer, frame.answer_structured = (None, None) if reply is None else (reply.block, reply.structured)
    frame.guards.extend(frame.output_guards)
    frame.phase = "checking"
    finish_if_checked(frame)


def finish_if_checked(frame: Frame) -> None:
    """Finish a frame whose guardrails have all spoken, and for which no message waits."""
    if frame.phase == "checking" and not frame.has_to_answer and all(each.state == "done" for each in frame.guards):
        frame.phase = "finished"


def take(frame: Frame, guard: Guard, judged: Judged) -> None:
    """Write what a guardrail said into the frame; a replacement is the caller's to put in place."""
    result = _note(frame, guard, judged)
    if judged.outcome in ("fail", "error"):
        tripped = judged.outcome == "fail"
        said = "stopped the run" if tripped else "failed"
        frame.fail(
            Failure(
                type="GuardrailTripped" if tripped else "GuardrailFailed",
                message=f"{guard.kind} guardrail {guard.name} of {guard.agent} {said}: {judged.reason}",
                facts=result.to_wire(),
            )
        )


def take_message(frame: Frame, message: Queued, guard: Guard, judged: Judged) -> RefuseMessages | None:
    """Write what a guardrail said of a message into the frame; why the message is refused, if it is."""
    _note(frame, guard, judged, message.id)
    if judged.outcome not in ("fail", "error"):
        return None
    said = "stopped it" if judged.outcome == "fail" else "failed"
    return RefuseMessages("guardrail", f"input guardrail {guard.name} of {guard.agent} {said}: {judged.reason}")


def _note(frame: Frame, guard: Guard, judged: Judged, message: str | None = None) -> GuardrailResult:
    guard.state = "done"
    result = GuardrailResult(
        guardrail=guard.name,
        kind="input" if guard.kind == "input" else "output",
        agent=guard.agent,
        outcome=judged.outcome,
        reason=judged.reason,
        info=judged.info,
        message=message,
    )
    frame.guardrails = kept([*frame.guardrails, result])
    return result


def _unfinished(frame: Frame, kind: str) -> list[Guard]:
    return [each for each in frame.guards if each.kind == kind and each.state != "done"]
