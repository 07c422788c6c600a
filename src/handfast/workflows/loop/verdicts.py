"""Applies the verdict of a closed request to its call. Pure."""

from __future__ import annotations

import json
from typing import Final

from handfast.payloads.json_profile import JsonValue
from handfast.payloads.model_call import ToldHooks
from handfast.payloads.requests import DEFAULT_REJECTION, NOT_ANSWERED, Answer, Approve, GiveUp, Ran, Reject, RunAgain
from handfast.payloads.tool_call import Proofs
from handfast.workflows.frame.frame import Call, Failure, Frame
from handfast.workflows.frame.items import is_part
from handfast.workflows.ledger.entry import Entry
from handfast.workflows.loop.steps import SetOutput, Step, WordRejection

OUTCOME_UNKNOWN: Final = (
    "The outcome of this call is unknown: it may or may not have taken effect. "
    "Do not assume either; find out before you repeat it."
)
NOT_RUN: Final = "This call could not be started. It did not run."
NEVER_HELD: Final = "This call did not run: each time it was approved, something had changed by then."
CANCELLED: Final = "This call was cancelled before it finished."


def cancelled_text(call: Call) -> str:
    """Return the output that the model reads of a call that was cancelled."""
    return f"{CANCELLED} {call.cancelling}" if call.cancelling else CANCELLED


def apply_verdict(frame: Frame, call: Call, entry: Entry) -> Step | None:
    """Take a closed request over into its call, which is *ready* where it may go on."""
    if entry.waits:
        return None
    if entry.state == "withdrawn":
        return SetOutput(call, cancelled_text(call))
    if entry.state == "expired" and entry.request.on_deadline == "fail":
        frame.failure = Failure(type="DeadlineExpired", message=f"nobody decided on {call.tool} before its deadline")
        return None
    if entry.request.of_server:
        _answered(call, entry)
        return None
    match entry.verdict:
        case Approve(arguments=arguments):
            call.released_by, call.digest = entry.request.id, entry.digest
            call.binding = entry.binding or entry.request.binding
            call.arguments = call.edited if arguments is None else arguments
            call.proofs = proofs_of_release(entry)
            call.state = "ready"
            return None
        case Reject(reason=reason):
            if "rejected" in frame.hears and call.plan.kind != "question":
                told = ToldHooks(what="rejected", by=_rejected_by(entry), tool=call.tool, call=call.call_id)
                frame.untold.append(told)
            return _rejected(call, entry) if reason is None else SetOutput(call, reason)
        case Ran(output=output):
            call.ok, call.value = True, output
            return SetOutput(call, as_output(output))
        case Answer(output=output):
            return SetOutput(call, as_output(output))
        case RunAgain():
            call.state, call.starts, call.missing_since, call.allowed = "ready", 0, None, False
            again = next((each for each in entry.proofs if isinstance(each.verdict, RunAgain)), None)
            call.proofs = (call.proofs or Proofs()).model_copy(
                update={"again": again, "doubt": entry.request.binding, "reruns": True}
            )
            call.lost = []
            if call.asked is not None and call.asked.held:
                call.asked = None  # its session has ended with that attempt
            call.cancelling = None  # whoever says so knows that it had been cancelled
            return None
        case GiveUp():
            ended = (entry.request.facts or {}).get("ended")
            return SetOutput(call, NOT_RUN if ended in ("not_registered", "not_begun") else OUTCOME_UNKNOWN)
    raise AssertionError(f"{entry.request.id} closed without a verdict")


def _answered(call: Call, entry: Entry) -> None:
    """Take the answer to a question of the call's MCP server over: the call goes on once all of them are answered."""
    assert call.asked is not None
    match entry.verdict:
        case Answer(output=output):
            call.asked = call.asked.answered("accept", output)
        case _:
            call.asked = call.asked.answered("cancel" if entry.state == "expired" else "decline")
    call.state = "ready" if call.asked.next_question is None else "asked"


def _rejected(call: Call, entry: Entry) -> Step:
    """Say what the model reads of a rejection without a reason."""
    if call.plan.kind == "question":
        return SetOutput(call, NOT_ANSWERED)
    if call.plan.hosted:  # what stands as the reason there is taken for a person's words
        return SetOutput(call, False)
    if call.plan.worded:
        return WordRejection(call, _rejected_by(entry))
    return SetOutput(call, DEFAULT_REJECTION)


def _rejected_by(entry: Entry) -> str | None:
    """Return the claimed name of the person who rejected a call; None where its deadline did."""
    return None if entry.state == "expired" else entry.closed_by


def proofs_of_release(entry: Entry) -> Proofs:
    """Return the decisions that prove that a closed request let its call run."""
    if entry.state == "expired":
        return Proofs(expired=entry.request.deadline)
    approvals = [each for each in entry.proofs if isinstance(each.verdict, Approve)]
    return Proofs(decisions=approvals, quorum=entry.request.quorum)


def as_output(value: JsonValue) -> JsonValue:
    """Shape what a person answered as the model reads it: a text or content parts stay, other JSON becomes text."""
    parts = isinstance(value, list) and bool(value) and all(is_part(part) for part in value)
    return value if isinstance(value, str) or parts else json.dumps(value, ensure_ascii=False)
