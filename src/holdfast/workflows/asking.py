"""Shapes requests and the identities around a call. Pure, but for what is given to it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from holdfast.payloads import call_items
from holdfast.payloads.canonical import sha256_digest
from holdfast.payloads.json_profile import JsonObject
from holdfast.payloads.model_call import ApprovalPlan
from holdfast.payloads.requests import BudgetFacts, Request, RequestKind
from holdfast.payloads.tool_call import INLINE_ARGUMENTS_BYTES, ArgumentsAt
from holdfast.workflows.frames import Call, Frame
from holdfast.workflows.limits import Reached

PREVIEW_CHARACTERS = 2000


@dataclass(frozen=True)
class Asker:
    """What every request of a run shares."""

    workflow_id: str
    workflow_run: str
    now: Callable[[], datetime]
    new_id: Callable[[], str]


def digest_of(
    request_id: str, agent_path: list[str], tool: str | None, arguments: JsonObject | None, workflow_run: str
) -> str:
    """Bind a decision to what was shown: computed when the request opens, then only stored and compared."""
    return sha256_digest(
        {
            "request": request_id,
            "agent_path": agent_path,
            "tool": tool,
            "arguments": arguments,
            "run": workflow_run,
        }
    )


def approval(frame: Frame, call: Call, item: JsonObject, asker: Asker) -> Request:
    """The request of a gated call."""
    plan = call.plan.approval or ApprovalPlan()
    now = asker.now()
    request = _about_call(frame, call, item, asker, now)
    return request.model_copy(
        update={
            "kind": "handoff" if call.plan.kind == "handoff" else "approval",
            "verdicts": ["approve", "reject"] if call.plan.kind == "handoff" else ["approve", "reject", "answer"],
            "reason": plan.reason,
            "deadline": None if plan.deadline_s is None else now + timedelta(seconds=plan.deadline_s),
            "on_deadline": plan.on_deadline or "reject",
        }
    )


def in_doubt(frame: Frame, call: Call, item: JsonObject, asker: Asker, *, reason: str, facts: JsonObject) -> Request:
    """The request of a call whose outcome is unknown, or that no worker can start."""
    request = _about_call(frame, call, item, asker, asker.now())
    return request.model_copy(update={"reason": reason, "facts": facts})


def missing_agent(frame: Frame, asker: Asker) -> Request:
    """The request of a frame whose agent no worker has."""
    return _about_frame(
        frame,
        asker,
        kind="in_doubt",
        reason=f"no worker has the agent {frame.agent}; deploy one and run again, or give up",
        verdicts=["run_again", "give_up"],
        facts={"ended": "agent_missing"},
    )


def budget(frame: Frame, limit: Reached, asker: Asker) -> Request:
    """The request of a frame that has no turns or tokens left."""
    return _about_frame(
        frame,
        asker,
        kind="budget",
        reason=f"{frame.agent} has used {limit.used:,} of {limit.limit:,} {limit.what}; grant more, or reject",
        verdicts=["grant", "reject"],
        facts=BudgetFacts(what=limit.what, used=limit.used, limit=limit.limit).to_wire(),
    )


def _about_frame(
    frame: Frame, asker: Asker, *, kind: RequestKind, reason: str, verdicts: list[str], facts: JsonObject
) -> Request:
    request_id = asker.new_id()
    return Request(
        id=request_id,
        kind=kind,
        agent=frame.agent,
        agent_path=frame.agent_path,
        digest=digest_of(request_id, frame.agent_path, None, None, asker.workflow_run),
        frame=frame.id,
        turn=frame.turn,
        requested_at=asker.now(),
        requested_by=frame.requested_by,
        reason=reason,
        verdicts=verdicts,
        facts=facts,
    )


def _about_call(frame: Frame, call: Call, item: JsonObject, asker: Asker, now: datetime) -> Request:
    request_id = asker.new_id()
    arguments = arguments_of(call, item)
    text = json.dumps(arguments, ensure_ascii=False)
    size = len(text.encode())
    inline = size <= INLINE_ARGUMENTS_BYTES
    return Request(
        id=request_id,
        kind="in_doubt",
        agent=frame.agent,
        agent_path=frame.agent_path,
        tool=call.tool,
        call_id=call.call_id,
        arguments=arguments if inline else None,
        arguments_preview=None if inline else text[:PREVIEW_CHARACTERS],
        arguments_bytes=None if inline else size,
        digest=digest_of(request_id, frame.agent_path, call.tool, arguments, asker.workflow_run),
        frame=frame.id,
        turn=frame.turn,
        position=call.plan.index,
        requested_at=now,
        requested_by=frame.requested_by,
        verdicts=["ran", "run_again", "give_up"],
    )


def arguments_of(call: Call, item: JsonObject) -> JsonObject:
    """What the call runs with: a person's arguments, else the model's (checked when the reply was planned)."""
    if call.arguments is not None:
        return call.arguments
    return call_items.arguments_of(item)


def place_of(frame: Frame, call: Call) -> ArgumentsAt | None:
    """Where the model's arguments of *call* stand in the transcript; None for those that a person wrote."""
    if call.arguments is not None or frame.reply is None:
        return None
    return ArgumentsAt(block=frame.reply, index=call.plan.index)


def idempotency_key(asker: Asker, frame: Frame, call: Call) -> str:
    """Stable over every attempt of one call, different for every other."""
    identity = "\n".join((asker.workflow_id, asker.workflow_run, frame.id, str(frame.turn), call.call_id))
    return "hf_" + hashlib.sha256(identity.encode()).hexdigest()[:40]
