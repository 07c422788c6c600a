"""What the wrapper of a tool takes for proof that a call may run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from temporalio.testing import ActivityEnvironment

from handfast import Approve, Decision, Remember, Signer
from handfast.activities.tool.proofs import Proving
from handfast.payloads.model_call import Origin
from handfast.payloads.signed import About, Place
from handfast.payloads.tool_call import Proofs, ToolCall
from handfast.signing.trusted_keys import SKEW
from support.signing import ring


@pytest.mark.parametrize(("ago", "proven"), [(timedelta(0), True), (SKEW + timedelta(seconds=5), False)])
def test_a_standing_approval_that_has_ended_proves_nothing(ago: timedelta, *, proven: bool) -> None:
    """XK4: right before the body a worker sees by its own clock that a remembered decision has ended."""
    signer = Signer.generate()
    remember = Remember(of="tool", until=datetime.now(UTC) - ago)
    made = Decision(id="r1", verdict=Approve(), decided_by="ann", digest="v1:r1", remember=remember)
    origin = Origin(workflow_run="first", agent="desk", agent_path=["desk"], frame="0", epoch=0, turn=1, query="t")
    asked = ToolCall(
        origin=origin,
        tool="wipe",
        call_id="c2",
        effect="idempotent",
        timeout_s=1,
        key="k",
        request="r1",
        digest="v1:c2",
    )

    def problem() -> str | None:
        place = Place(namespace="default", workflow="test", run="first")
        signed = signer.sign(made, place, About(tool="wipe", agent="desk"))
        return Proving(asked, True, {"target": "a"}, ring(signer)).problem(Proofs(decisions=[signed]))

    assert (ActivityEnvironment().run(problem) is None) is proven
