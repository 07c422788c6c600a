"""In production mode a reviewer decides by a key of the worker's own, which signs for nobody else."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest
from temporalio.testing import ActivityEnvironment

from handfast import (
    Approval,
    Approve,
    Decision,
    HandfastPlugin,
    Opinion,
    Remember,
    ReviewInput,
    RunAgain,
    RunContext,
    Signer,
    TrustedKeys,
)
from handfast.activities.tool.proofs import Proving
from handfast.definitions.gates.approval import ApprovalRule
from handfast.errors import DefinitionError
from handfast.payloads.binding import digest_of
from handfast.payloads.events import RequestReviewed
from handfast.payloads.json_profile import JsonObject
from handfast.payloads.model_call import Origin
from handfast.payloads.signed import About, Place
from handfast.payloads.tool_call import Proofs, ToolCall
from support.books import request
from support.evidence import failed_tasks, logged
from support.labs import Effects, MakeLab
from support.signed_desk import DONE, GATEWAY, PAY, desk, refusal
from support.signing import send, signed, trusted, write_ring

REVIEWER: Final = Signer.generate(method="reviewer")
ANA: Final = Signer.generate(method="cli")
KEYS: Final = {
    GATEWAY.kid: trusted(GATEWAY),
    ANA.kid: trusted(ANA, ["ana"]),
    REVIEWER.kid: trusted(REVIEWER, ["reviewer:judge"]),
}


def judge(ctx: RunContext, review: ReviewInput) -> Opinion:
    """Approve."""
    return Opinion("approve", "small", 1.0)


def stranger(ctx: RunContext, review: ReviewInput) -> Opinion:
    """Approve, under a name that the key does not sign for."""
    return Opinion("approve", "small", 1.0)


async def test_a_reviewers_decision_is_signed_by_the_workers_key(make_lab: MakeLab, effects: Effects) -> None:
    """Where decisions are signed a reviewer's counts by the worker's reviewer key, which is recorded with it."""
    lab = await make_lab(
        [desk(effects, Approval(review=judge))],
        script=[PAY, DONE],
        trusted_keys=TrustedKeys(KEYS),
        reviewer_key=REVIEWER,
        max_cached_workflows=0,
    )
    run = await lab.start("desk")
    assert (await run.result()).output == "done"
    assert effects == ["paid 250"]
    [decided] = await logged(lab, run, "decided", 1)
    assert decided.signed_by is not None
    assert (decided.by, decided.signed_by.kid, decided.signed_by.method) == (
        "reviewer:judge",
        REVIEWER.kid,
        "reviewer",
    )
    assert await failed_tasks(lab, run) == 0


@pytest.mark.parametrize(
    ("key", "review", "problem"),
    [
        pytest.param(None, judge, "this worker has no reviewer key", id="no-key"),
        pytest.param(REVIEWER, stranger, "does not sign for reviewer:stranger", id="another-reviewers-key"),
    ],
)
async def test_what_no_key_of_a_reviewer_signs_is_left_to_people(
    make_lab: MakeLab, effects: Effects, key: Signer | None, review: Any, problem: str
) -> None:
    """Without a key that may sign for the reviewer its opinion is shown, and people decide."""
    lab = await make_lab(
        [desk(effects, Approval(review=review))],
        script=[PAY, DONE],
        trusted_keys=TrustedKeys(KEYS),
        reviewer_key=key,
        signer=GATEWAY,
    )
    run = await lab.start("desk")
    await logged(lab, run, "reviewed", 1)
    [asked] = await run.pending()
    assert asked.review is not None
    assert (asked.review.left, asked.review.verdict) == ("unsigned", "approve")
    assert problem in (asked.review.problem or "")
    assert effects == []
    await run.approve(asked, decided_by="ana")
    await run.result()
    assert effects == ["paid 250"]


async def test_no_key_makes_a_reviewer_of_a_person_or_a_person_of_a_reviewer(
    make_lab: MakeLab, effects: Effects
) -> None:
    """Decisions that come in as a reviewer's are refused whoever signed them, the reviewer's key included; and that key
    signs for no person."""
    approval = Approval(review=judge, review_may=["reject"])
    lab = await make_lab(
        [desk(effects, approval)],
        script=[PAY, DONE],
        trusted_keys=TrustedKeys(KEYS),
        reviewer_key=REVIEWER,
        signer=GATEWAY,
    )
    run = await lab.start("desk")
    await logged(lab, run, "reviewed", 1)
    [asked] = await run.pending()
    for signer, by, expected in (
        (ANA, "reviewer:judge", "DecisionInvalidError"),
        (GATEWAY, "reviewer:judge", "DecisionInvalidError"),
        (REVIEWER, "reviewer:judge", "DecisionInvalidError"),
        (REVIEWER, "ana", "SignerNotAllowedError"),
        (REVIEWER, "judge", "SignerNotAllowedError"),
    ):
        kind, _ = await refusal(send(lab, run, await signed(lab, run, signer, asked, Approve(), by=by)))
        assert kind == expected, (signer.method, by)
    assert effects == []
    await run.reject(asked, decided_by="ana")
    await run.result()
    assert effects == []


async def test_a_key_that_is_taken_away_approves_nothing_and_people_are_asked(
    make_lab: MakeLab, effects: Effects, tmp_path: Path
) -> None:
    """The reviewer's key is removed between its approval and the effect: the call does not run, a person is asked, and
    the reviewer is not asked again."""
    file = write_ring(tmp_path / "trusted.json", KEYS)

    def still(ctx: Any, arguments: Any) -> None:
        write_ring(file, {kid: key for kid, key in KEYS.items() if kid != REVIEWER.kid})

    lab = await make_lab(
        [desk(effects, Approval(review=judge), revalidate=still)],
        script=[PAY, DONE],
        trusted_keys=file,
        reviewer_key=REVIEWER,
        signer=GATEWAY,
    )
    run = await lab.start("desk")
    await logged(lab, run, "opened", 2)
    [asked] = await run.pending()
    assert asked.review is None
    assert effects == []
    await run.approve(asked, decided_by="ana")
    await run.result()
    assert effects == ["paid 250"]
    assert len([event async for event in run.events() if isinstance(event, RequestReviewed)]) == 1


def other(ctx: RunContext, review: ReviewInput) -> Opinion | None:
    """Another reviewer."""
    return None


def rule(ctx: RunContext, arguments: Any) -> bool:
    """Decide for each call."""
    return True


ARGUMENTS: Final[JsonObject] = {"amount": 250}
FORGED: Final[dict[str, tuple[ApprovalRule, Signer, str, dict[str, Any], bool]]] = {
    "a-persons-own": (True, ANA, "ana", {}, True),
    "its-own": (Approval(review=judge), REVIEWER, "reviewer:judge", {}, True),
    "a-rule-that-is-a-function": (rule, REVIEWER, "reviewer:judge", {}, True),
    "a-persons-key": (Approval(review=judge), ANA, "reviewer:judge", {}, False),
    "a-gateways-key": (Approval(review=judge), GATEWAY, "reviewer:judge", {}, False),
    "in-the-name-of-a-person": (Approval(review=judge), REVIEWER, "ana", {}, False),
    "no-reviewer-at-this-tool": (Approval(), REVIEWER, "reviewer:judge", {}, False),
    "a-tool-that-always-asks": (True, REVIEWER, "reviewer:judge", {}, False),
    "another-reviewers-tool": (Approval(review=other), REVIEWER, "reviewer:judge", {}, False),
    "it-may-only-reject": (Approval(review=judge, review_may=["reject"]), REVIEWER, "reviewer:judge", {}, False),
    "named-approvers": (Approval(review=judge, approvers=["ana"]), REVIEWER, "reviewer:judge", {}, False),
    "a-quorum": (Approval(review=judge, quorum=2), REVIEWER, "reviewer:judge", {}, False),
    "other-arguments": (
        Approval(review=judge),
        REVIEWER,
        "reviewer:judge",
        {"verdict": Approve(arguments={"amount": 250})},
        False,
    ),
    "for-good": (Approval(review=judge), REVIEWER, "reviewer:judge", {"remember": Remember(of="tool")}, False),
    "another-request": (Approval(review=judge), REVIEWER, "reviewer:judge", {"id": "r2"}, False),
    "another-digest": (Approval(review=judge), REVIEWER, "reviewer:judge", {"digest": "v1:other"}, False),
}


@pytest.mark.parametrize("case", FORGED)
def test_what_the_tools_worker_takes_of_a_reviewer(case: str) -> None:
    """Right before the body, an approval in the name of a reviewer lets run only this very call, of a tool whose own
    rule lets this very reviewer approve alone; however the decision got there."""
    approval, signer, by, changes, proven = FORGED[case]
    given: dict[str, Any] = {"id": "r1", "verdict": Approve(), "decided_by": by, "digest": "v1:c1"} | changes
    origin = Origin(workflow_run="first", agent="desk", agent_path=["desk"], frame="0", epoch=0, turn=1, query="t")
    asked = ToolCall(
        origin=origin,
        tool="pay",
        call_id="c1",
        effect="idempotent",
        timeout_s=1,
        key="k",
        request="r1",
        digest="v1:c1",
    )
    place = Place(namespace="default", workflow="test", run="first")

    doubt = request().binding

    def problems() -> list[str | None]:
        of = About(tool="pay", agent="desk") if "remember" in changes else None
        decision = signer.sign(Decision(**given), place, of)
        again = Decision(id="r3", verdict=RunAgain(), decided_by=by, digest=digest_of(doubt, ARGUMENTS))
        proving = Proving(asked, approval, ARGUMENTS, TrustedKeys(KEYS))
        return [
            proving.problem(Proofs(decisions=[decision])),
            proving.problem(Proofs(decisions=[decision, decision], quorum=2)),
            proving.problem(Proofs(again=signer.sign(again, place), doubt=doubt, reruns=True)),
        ]

    alone, twice, again = ActivityEnvironment().run(problems)
    assert (alone is None) is proven
    assert twice is not None
    assert (again is None) is (by == "ana" and signer is ANA)  # only people say that a call in doubt runs again


@pytest.mark.parametrize("signs_for", ["*", ["ana"]], ids=["a-gateways", "a-persons"])
def test_a_reviewer_key_that_signs_for_no_reviewer_is_refused(signs_for: Any) -> None:
    """A worker whose own trusted keys would not take what its reviewers decide does not start, and says what to add."""
    keys = TrustedKeys({REVIEWER.kid: trusted(REVIEWER, signs_for)})
    with pytest.raises(DefinitionError, match="--for 'reviewer:"):
        HandfastPlugin(models={}, trusted_keys=keys, reviewer_key=REVIEWER)
