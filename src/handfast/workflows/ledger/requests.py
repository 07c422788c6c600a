"""Shapes requests and the identities around a call. Pure, but for what is given to it."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime, timedelta
from typing import Any, Final

from handfast.payloads import call_items
from handfast.payloads.changed import ChangedFacts
from handfast.payloads.json_profile import JsonObject
from handfast.payloads.model_call import ApprovalPlan, DoubtPlan
from handfast.payloads.requests import Approve, BudgetFacts, Request, RequestKind
from handfast.payloads.review import Review, ReviewPlan
from handfast.payloads.tool_call import INLINE_ARGUMENTS_BYTES, ArgumentsAt
from handfast.workflows.frame.frame import Call, Frame, Reached
from handfast.workflows.ledger import escalation
from handfast.workflows.ledger.binding import Asker, bound_to, policy_of, sealed
from handfast.workflows.ledger.entry import Entry
from handfast.workflows.ledger.standing_decisions import is_changed

PREVIEW_CHARACTERS = 2000
DESCRIPTION_CHARACTERS = 300
"""Of what a server says of its tool: every request of it carries that."""
_WHO: Final = {"approvers", "quorum", "exclude_requester", "veto", "on_edit"}
_BY_RULE: Final = {*_WHO, "kind", "verdicts", "reason", "deadline", "on_deadline", "schedule"}
"""Fields of a request that its approval rule decides."""


def of_call(frame: Frame, call: Call, item: JsonObject, asker: Asker) -> Request:
    """The request of a call that waits for a person: to be approved, or to be answered."""
    arguments = arguments_of(call, item)
    request = _gated(frame, call, item, arguments, asker)
    if call.plan.kind == "question":
        form = frame.forms.get(call.tool)
        facts = None if form is None else {"schema": form}
        request = request.model_copy(update={"kind": "question", "verdicts": ["answer", "reject"], "facts": facts})
    policy = policy_of(_rule_of(call))
    return sealed(request, arguments, schema=call.plan.schema_digest, policy=policy)


def _gated(frame: Frame, call: Call, item: JsonObject, arguments: JsonObject, asker: Asker) -> Request:
    now = asker.now()
    request = _about_call(frame, call, arguments, asker, now)
    plan = _held(call, _rule_of(call) or ApprovalPlan())
    if call.plan.hosted:
        facts = {"server_label": item["server_label"], "name": item["name"]}
        return request.model_copy(update={**_asked_by(plan, "hosted_mcp", now), "facts": facts})
    kind: RequestKind = "handoff" if call.plan.kind == "handoff" else "approval"
    return request.model_copy(update={**_asked_by(plan, kind, now), "facts": _of_server(frame, call) or None})


def again(
    frame: Frame,
    call: Call,
    request: Request,
    *,
    arguments: JsonObject,
    rule: ApprovalPlan | None,
    editor: str | None,
    asker: Asker,
) -> Request:
    """The request that takes the place of *request* once a person has edited the arguments.

    Args:
        frame: Where the call stands.
        call: What is asked about.
        request: Was open for it.
        arguments: Now proposed.
        rule: What the approval rule said of them. Where nobody would have to be asked, the old rule and its deadline
            hold on: an edit must not take the others out.
        editor: Who proposed them: from now on one of those who ask.
        asker: The run's.
    """
    now = asker.now()
    old = {name: getattr(request, name) for name in sorted(_BY_RULE)}
    asked = _asked_by(_held(call, rule), request.kind, now) if rule is not None else old
    editors = [*(request.editors or []), *([editor] if editor else [])]
    new = _about_call(frame, call, arguments, asker, now).model_copy(
        update={**asked, **_still_shown(frame, call, request), "editors": list(dict.fromkeys(editors)) or None}
    )
    if rule is None and request.review is not None:  # under the old rule, and anew
        terms = request.review.model_dump(include=set(ReviewPlan.model_fields))
        new = new.model_copy(update={"review": Review(**terms)})
    before = request.bound.policy_digest
    policy = before if rule is None else policy_of(rule)
    return sealed(new, arguments, schema=call.plan.schema_digest, policy=policy)


def changed(
    frame: Frame, call: Call, arguments: JsonObject, asker: Asker, *, approved: Entry | None, facts: ChangedFacts
) -> Request:
    """The request that takes the place of an approval which no longer holds, or (None) of no question at all.

    Who may decide stays as it was, and the deadline is a fresh one. A default of approve does not hold on: nobody has
    seen what has changed.
    """
    now, policy = asker.now(), _rule_of(call)
    plan = policy or ApprovalPlan()
    plan = _silence_rejects(plan)
    editors = [] if approved is None else _editors_by(approved, call)
    since = "the agent called it" if approved is None else f"{facts.by or 'somebody'} approved it"
    shown = {
        **_asked_by(plan, "approval", now),
        "reason": f"changed since {since}: {facts.why}",
        "facts": {**_of_server(frame, call), "changed": facts.to_wire()},
        "editors": list(dict.fromkeys(editors)) or None,
    }
    request = _about_call(frame, call, arguments, asker, now).model_copy(update=shown)
    return sealed(request, arguments, schema=call.plan.schema_digest, policy=policy_of(policy))


def _editors_by(approved: Entry, call: Call) -> list[str]:
    """Who has changed the arguments of a call by the time of its approval."""
    editors = list(approved.request.editors or []) if approved.request.call_id == call.call_id else []
    if isinstance(approved.verdict, Approve) and approved.verdict.arguments is not None and approved.closed_by:
        editors.append(approved.closed_by)
    return editors


def _of_server(frame: Frame, call: Call) -> JsonObject:
    """What people are told of the MCP tool that is called, in its server's words; nothing for other calls."""
    if call.plan.mcp is None:
        return {}
    told = frame.definitions.get(call.tool, {})
    description = str(told.get("description") or "")[:DESCRIPTION_CHARACTERS]
    hints = told.get("annotations")
    said = {"tool": told.get("name"), "description": description or None, "annotations": hints or None}
    return {"mcp": {"server": call.plan.mcp, **{name: value for name, value in said.items() if value is not None}}}


def unproven(
    frame: Frame, call: Call, item: JsonObject, asker: Asker, *, reason: str, closed: Request | None
) -> Request:
    """The request that takes the place of an approval which could not be verified.

    Args:
        frame: Where the call stands.
        call: Is asked about anew; what did not hold is counted in it already.
        item: Its item in the reply.
        asker: The run's.
        reason: What people are told.
        closed: The request by which it was approved, where that is known: who edited the arguments and what had
            changed by then is still so.
    """
    request = of_call(frame, call, item, asker)
    shown = {} if closed is None or closed.call_id != call.call_id else _still_shown(frame, call, closed)
    editors = None if closed is None else closed.editors
    return request.model_copy(update={"reason": reason, "editors": editors, **shown})


def _held(call: Call, plan: ApprovalPlan) -> ApprovalPlan:
    """What the rule says of a call, whose silence lets nothing run where an approval of it did not hold.

    Where one could not be verified, people alone decide: a reviewer would say the same again, with the same key.
    """
    held = _silence_rejects(plan) if call.reasked or call.unproven else plan
    return held.model_copy(update={"review": None}) if call.unproven else held


def _silence_rejects(plan: ApprovalPlan) -> ApprovalPlan:
    return plan.model_copy(update={"on_deadline": None}) if plan.on_deadline == "approve" else plan


def _still_shown(frame: Frame, call: Call, former: Request) -> dict[str, Any]:
    """The facts for whoever is asked in place of *former*: what has changed since an approval they have not seen."""
    shown = _of_server(frame, call)
    if is_changed(former):
        assert former.facts is not None
        shown["changed"] = former.facts["changed"]
    return {"facts": shown} if shown else {}


def _rule_of(call: Call) -> ApprovalPlan | None:
    """What the approval rule said of the arguments that the call runs with, which a person may have edited."""
    return call.policy or call.plan.approval


def _asked_by(plan: ApprovalPlan, kind: RequestKind, now: datetime) -> dict[str, Any]:
    """What an approval rule decides of a request."""
    # A handoff has no output to answer for; and one person's answer must not stand in for a call that several approve.
    answered = kind == "approval" and (plan.quorum or 1) == 1
    return {
        "kind": kind,
        "verdicts": ["approve", "reject", "answer"] if answered else ["approve", "reject"],
        "reason": plan.reason,
        "deadline": escalation.deadline_of(plan, now),
        "on_deadline": escalation.default_of(plan, now),
        "schedule": escalation.schedule_of(plan, now),
        "review": None if plan.review is None else Review(**plan.review.model_dump()),
        **plan.model_dump(include=_WHO),
    }


def in_doubt(
    frame: Frame,
    call: Call,
    item: JsonObject,
    asker: Asker,
    *,
    reason: str,
    facts: JsonObject,
    released: Request | None,
) -> Request:
    """The request of a call whose outcome is unknown, or that no worker can start.

    Who had to let the call run has to say what became of it: to run it again is to let it run. One of them is enough.
    Where its tool names others for that, it is they. Nobody's silence runs it again.
    """
    arguments = arguments_of(call, item)
    request = _about_call(frame, call, arguments, asker, asker.now())
    who = {} if released is None else released.model_dump(include={"approvers", "exclude_requester", "editors"})
    plan = call.plan.doubt or DoubtPlan()
    if plan.approvers is not None:
        who["approvers"] = plan.approvers
    if plan.deadline_s is not None:
        who["deadline"] = request.requested_at + timedelta(seconds=plan.deadline_s)
        who["on_deadline"] = plan.on_deadline or "give_up"
    if plan.approvers is None:
        who["schedule"] = escalation.schedule_until(
            who.get("deadline"), _rule_of(call) or ApprovalPlan(), request.requested_at
        )
    request = request.model_copy(update={**who, "reason": reason, "facts": facts})
    policy = policy_of(_rule_of(call))
    return sealed(request, arguments, schema=call.plan.schema_digest, policy=policy)


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
    """The request of a frame that has no turns, tokens or time left."""
    unit = "seconds" if limit.what == "time" else limit.what
    who = "the session" if limit.session else frame.agent
    return _about_frame(
        frame,
        asker,
        kind="budget",
        reason=f"{who} has used {limit.used:,} of {limit.limit:,} {unit}; grant more, or reject",
        verdicts=["grant", "reject"],
        facts=BudgetFacts(
            what=limit.what, used=limit.used, limit=limit.limit, session=True if limit.session else None
        ).to_wire(),
    )


def _about_frame(
    frame: Frame, asker: Asker, *, kind: RequestKind, reason: str, verdicts: list[str], facts: JsonObject
) -> Request:
    request = Request(
        id=asker.new_id(),
        kind=kind,
        agent=frame.agent,
        agent_path=frame.agent_path,
        digest="",
        bound=bound_to(frame, asker),
        frame=frame.id,
        turn=frame.turn,
        requested_at=asker.now(),
        requested_by=frame.requested_by,
        reason=reason,
        verdicts=verdicts,
        facts=facts,
    )
    return sealed(request, None)


def _about_call(frame: Frame, call: Call, arguments: JsonObject, asker: Asker, now: datetime) -> Request:
    """A request about a call, without its digest: what follows on this is covered by it."""
    text = json.dumps(arguments, ensure_ascii=False)
    size = len(text.encode())
    inline = size <= INLINE_ARGUMENTS_BYTES
    return Request(
        id=asker.new_id(),
        kind="in_doubt",
        agent=frame.agent,
        agent_path=frame.agent_path,
        tool=call.tool,
        call_id=call.call_id,
        arguments=arguments if inline else None,
        arguments_preview=None if inline else text[:PREVIEW_CHARACTERS],
        arguments_bytes=None if inline else size,
        digest="",
        bound=bound_to(frame, asker),
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
