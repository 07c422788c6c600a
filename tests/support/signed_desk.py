"""A desk in production mode, and signers."""

from __future__ import annotations

from typing import Any

import pytest
from temporalio.client import WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError

from handfast import Agent, Signer, tool
from handfast.definitions.gates.approval import ApprovalRule
from handfast.testing import Reply, call, text
from support.labs import Effects

GATEWAY = Signer.generate(method="gateway")


DONE = Reply(text("done"))


PAY = Reply(call("pay", {"amount": 250}, "c1"))


def desk(effects: Effects, approval: ApprovalRule = True, revalidate: Any = None, **options: Any) -> Agent:
    """An agent whose one tool is gated."""

    @tool(approval=approval, revalidate=revalidate)
    async def pay(amount: int) -> str:
        """Pay an amount."""
        effects.append(f"paid {amount}")
        return "paid"

    return Agent("desk", model="m", tools=[pay], **options)


async def refusal(sending: Any) -> tuple[str, dict[str, Any]]:
    """How an update was refused: its type and facts."""
    with pytest.raises(WorkflowUpdateFailedError) as refused:
        await sending
    cause = refused.value.cause
    assert isinstance(cause, ApplicationError)
    assert cause.type is not None
    assert GATEWAY.public not in cause.message
    return cause.type, cause.details[0] if cause.details else {}
