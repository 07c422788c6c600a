"""Asks an approval rule if a call needs a person: once per call, and its answer is recorded."""

from __future__ import annotations

from concurrent.futures import Executor
from datetime import datetime, timedelta
from typing import Any, Final

from pydantic import BaseModel

from handfast.activities.runtime.user_code import Problem, ask
from handfast.activities.runtime.user_errors import log_answer
from handfast.definitions.context import RunContext
from handfast.definitions.gates.approval import Approval, ApprovalRule
from handfast.definitions.gates.review import name_of
from handfast.definitions.tools.function_tool import Tool
from handfast.definitions.tools.offered import Offered
from handfast.payloads.cutting import REASON_CHARACTERS
from handfast.payloads.json_profile import scrub
from handfast.payloads.model_call import ApprovalPlan, EscalationPlan
from handfast.payloads.review import ReviewPlan

RULE_S: Final = 5.0
"""Time limit of an approval rule; after it a person is asked."""


LONGEST_KEY: Final = 255
"""Characters of a key: services that take one take no more."""


class RuleFailedError(Exception):
    """An approval rule gave no answer."""


async def ask_rule(
    rule: ApprovalRule, context: RunContext[Any], arguments: object, *, of: str, threads: Executor
) -> ApprovalPlan | None:
    """Evaluate a rule; None means: go ahead.

    A rule that raises, hangs or answers nonsense asks a person: fail closed.
    """
    try:
        return await answer_of(rule, context, arguments, of=of, then="a person is asked", threads=threads)
    except RuleFailedError as error:
        return ApprovalPlan(reason=str(error))


async def answer_of(
    rule: ApprovalRule, context: RunContext[Any], arguments: object, *, of: str, then: str, threads: Executor
) -> ApprovalPlan | None:
    """Return the rule's own answer; None means: go ahead.

    Args:
        rule: The rule.
        context: Of the run.
        arguments: Of the call, as the tool's model.
        of: The tool that has the rule.
        then: For the log: what follows where the rule gives no answer.
        threads: Where a sync rule runs.

    Raises:
        RuleFailedError: It raised, took too long, or answered nonsense.
    """
    if not callable(rule):
        return _read(rule)
    name = f"the approval rule of {of}"
    answer = await ask(rule, context, arguments, name=name, within=RULE_S, threads=threads, then=then)
    if isinstance(answer, Problem):
        raise RuleFailedError(f"the approval rule {answer.brief}")
    try:
        return _read(answer)
    except RuleFailedError as error:
        log_answer(name, str(error).removeprefix("the approval rule "), then)
        raise


def _read(answer: object) -> ApprovalPlan | None:
    if answer is None or answer is False:
        return None
    if answer is True:
        return ApprovalPlan()
    if isinstance(answer, Approval):
        return _plan(answer)
    raise RuleFailedError(f"the approval rule answered {type(answer).__name__}, not an Approval or None")


def _plan(approval: Approval) -> ApprovalPlan:
    deadline, reason = approval.deadline, approval.reason
    escalate = [
        EscalationPlan(after_s=step.after.total_seconds(), approvers=list(step.approvers)) for step in approval.escalate
    ]
    return ApprovalPlan(
        deadline_s=deadline.total_seconds() if isinstance(deadline, timedelta) else None,
        deadline_at=deadline if isinstance(deadline, datetime) else None,
        on_deadline=None if approval.on_deadline == "reject" else approval.on_deadline,
        reason=reason[:REASON_CHARACTERS] if reason is not None else None,
        approvers=list(approval.approvers) or None,
        quorum=approval.quorum if approval.quorum > 1 else None,
        exclude_requester=approval.exclude_requester or None,
        veto=None if approval.veto else False,
        on_edit="ask_again" if approval.asks_again else None,
        remind_s=[each.total_seconds() for each in approval.remind] or None,
        escalate=escalate or None,
        review=None if approval.review is None else _review_plan(approval),
    )


def _review_plan(approval: Approval) -> ReviewPlan:
    return ReviewPlan(
        by=name_of(approval.review),
        timeout_s=approval.review_timeout.total_seconds(),
        min_confidence=float(approval.min_confidence),
        may=list(approval.review_may) if len(approval.review_may) == 1 else None,
        sample=float(approval.sample) or None,
    )


class KeyFailedError(Exception):
    """The function made no key: the call must not run under a wrong one."""


async def own_key(offered: Offered, context: RunContext[Any], arguments: BaseModel, threads: Executor) -> str | None:
    """Return the key that the tool's own function makes of *arguments*; None where the tool has no such function.

    Raises:
        KeyFailedError: It raised, took too long, or made no text that can be a key.
    """
    function = offered.idempotency_key if isinstance(offered, Tool) else None
    if function is None:
        return None
    name, then = f"the idempotency key of {offered.name}", "the call is not made"
    key = await ask(function, context, arguments, name=name, within=RULE_S, threads=threads, then=then)
    if isinstance(key, Problem):
        raise KeyFailedError(f"the idempotency key {key.brief}")
    if not isinstance(key, str):
        raise KeyFailedError(f"the idempotency key is a {type(key).__name__}, not a text")
    if not 0 < len(key) <= LONGEST_KEY or key != scrub(key):
        raise KeyFailedError(f"the idempotency key is no valid text of 1 to {LONGEST_KEY} characters")
    return key
