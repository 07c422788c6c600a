"""Asks an approval rule whether a call needs a person: once per call, and its answer is recorded."""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor
from typing import Any, Final

from holdfast.activities.user_code import UserCodeError, call_user_code
from holdfast.approval import Approval, ApprovalRule
from holdfast.context import RunContext
from holdfast.payloads.model_call import ApprovalPlan

RULE_S: Final = 5.0
"""How long an approval rule may take before a person is asked instead."""
REASON_CHARACTERS: Final = 2000
"""Of a rule's reason that a person is shown."""


class RuleFailedError(Exception):
    """An approval rule gave no answer."""


async def ask_rule(
    rule: ApprovalRule, context: RunContext[Any], arguments: object, threads: Executor
) -> ApprovalPlan | None:
    """Evaluate a rule; None means: go ahead.

    A rule that raises, hangs or answers nonsense asks a person: fail closed.
    """
    try:
        return await answer_of(rule, context, arguments, threads)
    except RuleFailedError as error:
        return ApprovalPlan(reason=str(error))


async def answer_of(
    rule: ApprovalRule, context: RunContext[Any], arguments: object, threads: Executor
) -> ApprovalPlan | None:
    """What a rule says itself; None means: go ahead.

    Raises:
        RuleFailedError: It raised, took too long, or answered nonsense.
    """
    if not callable(rule):
        return _read(rule)
    try:
        asking = call_user_code(rule, context, arguments, threads=threads)
        answer = await asyncio.wait_for(asking, RULE_S)
    except TimeoutError:
        raise RuleFailedError(f"the approval rule took longer than {RULE_S:g} s") from None
    except UserCodeError as error:
        raise RuleFailedError(f"the approval rule raised {error.kind}") from None
    return _read(answer)


def _read(answer: object) -> ApprovalPlan | None:
    if answer is None or answer is False:
        return None
    if answer is True:
        return ApprovalPlan()
    if isinstance(answer, Approval):
        return ApprovalPlan(
            deadline_s=answer.deadline.total_seconds() if answer.deadline is not None else None,
            on_deadline=None if answer.on_deadline == "reject" else answer.on_deadline,
            reason=answer.reason[:REASON_CHARACTERS] if answer.reason is not None else None,
            approvers=list(answer.approvers) or None,
            quorum=answer.quorum if answer.quorum > 1 else None,
            exclude_requester=answer.exclude_requester or None,
            veto=None if answer.veto else False,
            on_edit="ask_again" if answer.asks_again else None,
        )
    raise RuleFailedError(f"the approval rule answered {type(answer).__name__}, not an Approval or None")
