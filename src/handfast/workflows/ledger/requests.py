"""Shapes requests and the identities around a call. Pure, but for what is given to it."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any, Final

from handfast.payloads import call_items
from handfast.payloads.binding import text_digest
from handfast.payloads.cutting import cut
from handfast.payloads.json_profile import JsonObject
from handfast.payloads.model_call import ApprovalPlan, DoubtPlan
from handfast.payloads.requests import Approve, BudgetFacts, ChangedFacts, Request, RequestKind
from handfast.payloads.review import Review, ReviewPlan
from handfast.payloads.tool_call import INLINE_ARGUMENTS_BYTES, ArgumentsAt
from handfast.workflows.frame.frame import Call, Frame, Reached
from handfast.workflows.frame.identity import Identity
from handfast.workflows.ledger import escalation
from handfast.workflows.ledger.binding import bound_to, policy_of, with_digest
from handfast.workflows.ledger.entry import Entry
from handfast.workflows.ledger.standing_decisions import is_changed

PREVIEW_CHARACTERS = 2000
DESCRIPTION_CHARACTERS = 300
"""Most characters of a server's description of its tool: every request of it carries that."""
REASON_BYTES: Final = 1000
_WHO: Final = {"approvers", "quorum", "exclude_requester", "veto", "on_edit"}
_BY_RULE: Final = {*_WHO, "kind", "verdicts", "reason", "deadline", "on_deadline", "schedule"}
"""Fields of a request that its approval rule decides."""


def for_call(frame: Frame, call: Call, item: JsonObject, identity: Identity) -> Request:
    """Return the request to approve a call, or to answer a question."""
    arguments = arguments_of(call, item)
    request = _gated(frame, call, item, arguments, identity)
    if call.plan.kind == "question":
        form = frame.forms.get(call.tool)
        facts = None if form is None else {"schema": form}
        request = request.model_copy(update={"kind": "question", "verdicts": ["answer", "reject"], "facts": facts})
    policy = policy_of(_rule_of(call))
    return with_digest(request, arguments, schema=call.plan.schema_digest, policy=policy)


def _gated(frame: Frame, call: Call, item: JsonObject, arguments: JsonObject, identity: Identity) -> Request:
    now = identity.now()
    request = _about_call(frame, call, arguments, identity, now)
    plan = _held(call, _rule_of(call) or ApprovalPlan())
    if call.plan.hosted:
        facts = {"server_label": item["server_label"], "name": item["name"]}
        return request.model_copy(update={**_asked_by(plan, "hosted_mcp", now), "facts": facts})
    kind: RequestKind = "handoff" if call.plan.kind == "handoff" else "approval"
    return request.model_copy(update={**_asked_by(plan, kind, now), "facts": _of_server(frame, call) or None})


def after_edit(
    frame: Frame,
    call: Call,
    request: Request,
    *,
    arguments: JsonObject,
    rule: ApprovalPlan | None,
    editor: str | None,
    identity: Identity,
) -> Request:
    """Return the request that takes the place of *request* when a person has edited the arguments.

    Args:
        frame: Where the call stands.
        call: What is asked about.
        request: Was open for it.
        arguments: Now proposed.
        rule: What the approval rule said of them. Where nobody would have to be asked, the old rule and its deadline
            hold on: an edit must not take the others out.
        editor: Who proposed them: from now on one of those who ask.
        identity: Of the workflow.
    """
    now = identity.now()
    old = {name: getattr(request, name) for name in sorted(_BY_RULE)}
    asked = _asked_by(_held(call, rule), request.kind, now) if rule is not None else old
    editors = [*(request.editors or []), *([editor] if editor else [])]
    new = _about_call(frame, call, arguments, identity, now).model_copy(
        update={**asked, **_still_shown(frame, call, request), "editors": list(dict.fromkeys(editors)) or None}
    )
    if rule is None and request.review is not None:  # under the old rule, and anew
        terms = request.review.model_dump(include=set(ReviewPlan.model_fields))
        new = new.model_copy(update={"review": Review(**terms)})
    before = request.bound.policy_digest
    policy = before if rule is None else policy_of(rule)
    return with_digest(new, arguments, schema=call.plan.schema_digest, policy=policy)


def after_change(
    frame: Frame, call: Call, arguments: JsonObject, identity: Identity, *, approved: Entry | None, facts: ChangedFacts
) -> Request:
    """Return the request that takes the place of an approval which no longer holds, or (None) of no question at all.

    Who may decide stays as it was, and the deadline is a fresh one. A default of approve does not hold on: nobody has
    seen what has changed.
    """
    now, policy = identity.now(), _rule_of(call)
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
    request = _about_call(frame, call, arguments, identity, now).model_copy(update=shown)
    return with_digest(request, arguments, schema=call.plan.schema_digest, policy=policy_of(policy))


def _editors_by(approved: Entry, call: Call) -> list[str]:
    """Return who had changed the arguments of a call by the time of its approval."""
    editors = list(approved.request.editors or []) if approved.request.call_id == call.call_id else []
    if isinstance(approved.verdict, Approve) and approved.verdict.arguments is not None and approved.closed_by:
        editors.append(approved.closed_by)
    return editors


def _of_server(frame: Frame, call: Call) -> JsonObject:
    """Return the facts about the MCP tool that is called, in its server's words; none for other calls."""
    if call.plan.mcp is None:
        return {}
    told = frame.definitions.get(call.tool, {})
    description = str(told.get("description") or "")[:DESCRIPTION_CHARACTERS]
    hints = told.get("annotations")
    said = {"tool": told.get("name"), "description": description or None, "annotations": hints or None}
    return {"mcp": {"server": call.plan.mcp, **{name: value for name, value in said.items() if value is not None}}}


def after_failed_proof(
    frame: Frame, call: Call, item: JsonObject, identity: Identity, *, reason: str, closed: Request | None
) -> Request:
    """Return the request that takes the place of an approval which could not be verified.

    Args:
        frame: Where the call stands.
        call: Is asked about anew; what did not hold is counted in it already.
        item: Its item in the reply.
        identity: Of the workflow.
        reason: What people are told.
        closed: The request by which it was approved, where that is known: who edited the arguments and what had
            changed by then is still so.
    """
    request = for_call(frame, call, item, identity)
    shown = {} if closed is None or closed.call_id != call.call_id else _still_shown(frame, call, closed)
    editors = None if closed is None else closed.editors
    return request.model_copy(update={"reason": reason, "editors": editors, **shown})


def _held(call: Call, plan: ApprovalPlan) -> ApprovalPlan:
    """Return the rule of a call. Silence approves nothing any more when an approval of the call did not hold.

    Where one could not be verified, people alone decide: a reviewer would say the same again, with the same key.
    """
    held = _silence_rejects(plan) if call.reasked or call.unproven else plan
    return held.model_copy(update={"review": None}) if call.unproven else held


def _silence_rejects(plan: ApprovalPlan) -> ApprovalPlan:
    return plan.model_copy(update={"on_deadline": None}) if plan.on_deadline == "approve" else plan


def _still_shown(frame: Frame, call: Call, former: Request) -> dict[str, Any]:
    """Return the facts for whoever is asked in place of *former*, with the difference that they have not seen."""
    shown = _of_server(frame, call)
    if is_changed(former):
        assert former.facts is not None
        shown["changed"] = former.facts["changed"]
    return {"facts": shown} if shown else {}


def _rule_of(call: Call) -> ApprovalPlan | None:
    """Return the rule's answer about the arguments that the call runs with, which a person may have edited."""
    return call.policy or call.plan.approval


def _asked_by(plan: ApprovalPlan, kind: RequestKind, now: datetime) -> dict[str, Any]:
    """Return the fields of a request that its approval rule decides."""
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


def for_doubt(
    frame: Frame,
    call: Call,
    item: JsonObject,
    identity: Identity,
    *,
    reason: str,
    facts: JsonObject,
    released: Request | None,
) -> Request:
    """Return the request about a call whose outcome is unknown, or that no worker can start.

    Who had to let the call run has to say what became of it: to run it again is to let it run. One of them is enough.
    Where its tool names others for that, it is they. Nobody's silence runs it again.
    """
    arguments = arguments_of(call, item)
    request = _about_call(frame, call, arguments, identity, identity.now())
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
    return with_digest(request, arguments, schema=call.plan.schema_digest, policy=policy)


def for_server(frame: Frame, call: Call, item: JsonObject, identity: Identity) -> Request:
    """Return the request of a call whose MCP server asks something before it goes on.

    Who may let the call run may answer; one of them is enough, and nobody's silence answers.
    """
    question = None if call.asked is None else call.asked.next_question
    assert question is not None
    arguments, now = arguments_of(call, item), identity.now()
    plan = _silence_rejects(_rule_of(call) or ApprovalPlan()).model_copy(update={"quorum": None, "veto": None})
    asks = {"question": question.message, "schema": question.form, "url": question.url}
    shown = {
        **_asked_by(plan, "question", now),
        "on_edit": None,
        "review": None,
        "verdicts": ["answer", "reject"],
        "reason": cut(f"the MCP server {call.plan.mcp} asks: {question.message}", REASON_BYTES)[0],
        "facts": {**_of_server(frame, call), **{name: fact for name, fact in asks.items() if fact is not None}},
    }
    request = _about_call(frame, call, arguments, identity, now).model_copy(update=shown)
    return with_digest(request, arguments, schema=text_digest(question.to_wire()), policy=policy_of(_rule_of(call)))


def for_missing_agent(frame: Frame, identity: Identity) -> Request:
    """Return the request about a frame whose agent no worker has."""
    return _about_frame(
        frame,
        identity,
        kind="in_doubt",
        reason=f"no worker has the agent {frame.agent}; deploy one and run again, or give up",
        verdicts=["run_again", "give_up"],
        facts={"ended": "agent_missing"},
    )


def for_limit(frame: Frame, limit: Reached, identity: Identity) -> Request:
    """Return the request of a frame that has no turns, tokens or time left."""
    unit = "seconds" if limit.what == "time" else limit.what
    who = "the session" if limit.session else frame.agent
    return _about_frame(
        frame,
        identity,
        kind="budget",
        reason=f"{who} has used {limit.used:,} of {limit.limit:,} {unit}; grant more, or reject",
        verdicts=["grant", "reject"],
        facts=BudgetFacts(
            what=limit.what, used=limit.used, limit=limit.limit, session=True if limit.session else None
        ).to_wire(),
    )


def _about_frame(
    frame: Frame, identity: Identity, *, kind: RequestKind, reason: str, verdicts: list[str], facts: JsonObject
) -> Request:
    request = Request(
        id=identity.new_id(),
        kind=kind,
        agent=frame.agent,
        agent_path=frame.agent_path,
        digest="",
        bound=bound_to(frame, identity),
        frame=frame.id,
        turn=frame.turn,
        requested_at=identity.now(),
        requested_by=frame.requested_by,
        reason=reason,
        verdicts=verdicts,
        facts=facts,
    )
    return with_digest(request, None)


def _about_call(frame: Frame, call: Call, arguments: JsonObject, identity: Identity, now: datetime) -> Request:
    """Return a request about a call, without its digest, which is to cover what follows on this."""
    text = json.dumps(arguments, ensure_ascii=False)
    size = len(text.encode())
    inline = size <= INLINE_ARGUMENTS_BYTES
    return Request(
        id=identity.new_id(),
        kind="in_doubt",
        agent=frame.agent,
        agent_path=frame.agent_path,
        tool=call.tool,
        call_id=call.call_id,
        arguments=arguments if inline else None,
        arguments_preview=None if inline else text[:PREVIEW_CHARACTERS],
        arguments_bytes=None if inline else size,
        digest="",
        bound=bound_to(frame, identity),
        frame=frame.id,
        turn=frame.turn,
        position=call.plan.index,
        requested_at=now,
        requested_by=frame.requested_by,
        verdicts=["ran", "run_again", "give_up"],
    )


def arguments_of(call: Call, item: JsonObject) -> JsonObject:
    """Return the arguments of a call: a person's, else the model's, which were checked when the reply was planned."""
    if call.arguments is not None:
        return call.arguments
    return call_items.arguments_of(item)


def place_of(frame: Frame, call: Call) -> ArgumentsAt | None:
    """Return where the model's arguments of *call* stand in the transcript; None for a person's."""
    if call.arguments is not None or frame.reply is None:
        return None
    return ArgumentsAt(block=frame.reply, index=call.plan.index)
