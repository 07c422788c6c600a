"""Plans of reminders and escalations: who may decide a request from when, and when that ends. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from handfast.payloads.model_call import ApprovalPlan
from handfast.payloads.requests import DeadlineDefault, Request, Scheduled, Transition

LONGEST_S: Final = 3650 * 86_400.0
"""Longest wait that a recorded plan may ask for: no clock can say when much more would be."""


def deadline_of(plan: ApprovalPlan, opened: datetime) -> datetime | None:
    """Return the time at which a request of *plan* closes by itself."""
    if plan.deadline_at is not None:
        return plan.deadline_at
    return None if plan.deadline_s is None else _later(opened, plan.deadline_s)


def default_of(plan: ApprovalPlan, opened: datetime) -> DeadlineDefault:
    """Return the verdict of an unanswered request. One that opens too late approves nothing: nobody could object."""
    deadline, default = deadline_of(plan, opened), plan.on_deadline or "reject"
    return "reject" if default == "approve" and deadline is not None and deadline <= opened else default


def schedule_of(plan: ApprovalPlan, opened: datetime) -> list[Scheduled] | None:
    """Return the reminders and escalations of an approval that its deadline leaves time for, in order."""
    return schedule_until(deadline_of(plan, opened), plan, opened)


def schedule_until(deadline: datetime | None, plan: ApprovalPlan, opened: datetime) -> list[Scheduled] | None:
    """Return the reminders and escalations of *plan* up to another deadline than its own."""
    steps = [
        *(Scheduled(what="remind", at=_later(opened, after)) for after in plan.remind_s or ()),
        *(
            Scheduled(what="escalate", at=_later(opened, step.after_s), approvers=step.approvers)
            for step in plan.escalate or ()
        ),
    ]
    return sorted((step for step in steps if deadline is None or step.at < deadline), key=lambda step: step.at) or None


def next_step(request: Request) -> datetime | None:
    """Return the time of the next reminder or escalation of a request."""
    return min((step.at for step in request.schedule or () if step.done_at is None), default=None)


def due(request: Request, now: datetime) -> list[Scheduled]:
    """Return the reminders and escalations of a request that are due by *now*."""
    return [step for step in request.schedule or () if step.done_at is None and step.at <= now]


def as_of(request: Request, time: datetime, now: datetime | None = None) -> Request:
    """Return the request as it stands when everything due at *time* has happened.

    Args:
        request: As it stands.
        time: Up to which.
        now: When that happens; None is at that time.
    """
    steps = due(request, time)
    if not steps:
        return request
    done = now or time
    schedule = [step.model_copy(update={"done_at": done}) if step in steps else step for step in request.schedule or ()]
    added = [name for step in steps if step.what == "escalate" for name in step.approvers or ()]
    approvers = list(dict.fromkeys((*(request.approvers or ()), *added))) if request.approvers else request.approvers
    return request.model_copy(update={"schedule": schedule, "approvers": approvers})


def transition(request: Request, step: Scheduled, now: datetime) -> Transition:
    """Return the log's step for a reminder or an escalation."""
    return Transition(
        what="reminded" if step.what == "remind" else "escalated",
        at=now,
        request=request.id,
        due=step.at,
        approvers=step.approvers,
    )


def _later(opened: datetime, seconds: float) -> datetime:
    return opened + timedelta(seconds=min(seconds, LONGEST_S))
