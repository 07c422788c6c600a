"""What may follow from what a reviewer says: decided without a server, from the request's own terms alone."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

import openai
import pytest
from pydantic import ValidationError

from handfast import (
    Agent,
    Approval,
    Ask,
    Escalation,
    HandfastPlugin,
    ModelReviewer,
    Opinion,
    ResponsesModel,
    Signer,
    is_sampled,
    tool,
)
from handfast.definitions.agents.registry import Registry
from handfast.errors import DecisionInvalidError, DefinitionError
from handfast.payloads.people import is_reviewer
from handfast.payloads.requests import Approve, Decision, Reject
from handfast.payloads.review import Review
from handfast.payloads.review_call import REJECTED_BY_REVIEWER, Reviewed
from handfast.payloads.signature import Signature
from handfast.worker.options import check_agents
from handfast.workflows.handlers.decode import read_decision, read_shorthand
from handfast.workflows.ledger.reviews import Left, judged, take
from support.books import LATER, NOW, book, request
from support.signing import trusted

TERMS: Final[dict[str, Any]] = {"by": "reviewer:judge", "timeout_s": 60, "min_confidence": 0.8}
YES: Final[dict[str, Any]] = {"verdict": "approve", "confidence": 0.9, "reason": "fine"}
SPELLINGS: Final = [
    "reviewer:judge",
    "Reviewer:Judge",
    "  reviewer:judge ",
    "user:reviewer:judge",
    "user: user:reviewer:judge",
    "\uff52eviewer\uff1ajudge",
    "re\u200bviewer:judge",
    "reviewer :judge",
]
"""Names of a reviewer, and others that look like one."""


def judge(ctx: Any, review: Any) -> Opinion | None:
    """Leave everything to people."""
    return None


@pytest.mark.parametrize(
    ("rule", "terms", "said", "left"),
    [
        pytest.param({}, {}, YES, None, id="approves"),
        pytest.param({}, {}, {**YES, "verdict": "reject"}, None, id="rejects"),
        pytest.param({}, {}, {**YES, "confidence": 0.8}, None, id="just-sure-enough"),
        pytest.param({}, {}, {**YES, "confidence": 0.79}, "low_confidence", id="not-sure-enough"),
        pytest.param({}, {}, {**YES, "confidence": None}, "low_confidence", id="does-not-say-how-sure"),
        pytest.param({}, {}, {**YES, "verdict": "leave"}, "undecided", id="leaves-it"),
        pytest.param({}, {}, {"problem": "it raised"}, "failed", id="said-nothing"),
        pytest.param({}, {}, {**YES, "problem": "it raised"}, "failed", id="a-problem-beats-a-verdict"),
        pytest.param({}, {}, {}, "failed", id="an-empty-answer"),
        pytest.param({}, {"may": ["reject"]}, YES, "not_allowed", id="may-only-reject"),
        pytest.param({}, {"may": ["approve"]}, {**YES, "verdict": "reject"}, "not_allowed", id="may-only-approve"),
        pytest.param({"quorum": 2}, {}, YES, "people_required", id="quorum"),
        pytest.param({"quorum": 2}, {}, {**YES, "verdict": "reject"}, "people_required", id="no-veto-either"),
        pytest.param({"exclude_requester": True}, {}, YES, "people_required", id="exclude-requester"),
        pytest.param({"approvers": ["ann"]}, {}, YES, "people_required", id="approvers"),
        pytest.param({"approvers": ["group:staff"]}, {}, YES, "people_required", id="group"),
        pytest.param({"approvers": ["ann", "reviewer:other"]}, {}, YES, "people_required", id="another-reviewer"),
        pytest.param({"approvers": ["ann", "Reviewer:Judge"]}, {}, YES, None, id="named-itself"),
        pytest.param({"approvers": ["ann", "reviewer:judge"], "quorum": 2}, {}, YES, "people_required", id="both"),
        pytest.param({"editors": ["ann"]}, {}, YES, "people_required", id="a-person-wrote-the-arguments"),
        pytest.param({}, {"sample": 0.05}, {**YES, "sampled": True}, "sampled", id="sampled"),
        pytest.param({}, {"sample": 0.05}, {**YES, "sampled": False}, None, id="not-sampled"),
        pytest.param({}, {"sample": 0.05}, YES, "sampled", id="a-worker-that-does-not-say"),
    ],
)
def test_only_what_the_request_allows_follows(
    rule: dict[str, Any], terms: dict[str, Any], said: dict[str, Any], left: str | None
) -> None:
    """A reviewer closes a request only as far as the request's own terms let it; everything else is left to people."""
    asked = request(review=Review(**{**TERMS, **terms}), **rule)
    follows = judged(asked, Reviewed(**said), signed=False)
    if left is not None:
        assert isinstance(follows, Left)
        assert follows.because == left
        return
    verdict = Approve() if said["verdict"] == "approve" else Reject(reason="fine")
    note = "fine" if said["verdict"] == "approve" else None
    assert follows == Decision(id="r1", verdict=verdict, decided_by="reviewer:judge", digest=asked.digest, note=note)
    assert follows.remember is None


def test_a_rejection_without_a_reason_has_words_of_its_own() -> None:
    """The model reads a sentence also where the reviewer gave no reason."""
    follows = judged(request(review=Review(**TERMS)), Reviewed(verdict="reject", confidence=1), signed=False)
    assert isinstance(follows, Decision)
    assert follows.verdict == Reject(reason=REJECTED_BY_REVIEWER)


def test_where_decisions_are_signed_an_unsigned_one_decides_nothing() -> None:
    """In production mode an opinion without the worker's signature is left to people, with the reason why."""
    asked = request(review=Review(**TERMS))
    follows = judged(asked, Reviewed(**YES, unsigned="no key"), signed=True)
    assert follows == Left("unsigned", "no key")
    assert isinstance(judged(asked, Reviewed(**YES), signed=True), Left)
    signature = Signature(kid="k", at="2026-01-01T00:00:00Z", method="reviewer", value="A" * 86 + "==")
    follows = judged(asked, Reviewed(**YES, signature=signature), signed=True)
    assert isinstance(follows, Decision)
    assert follows.signature == signature


def test_an_approval_that_comes_at_the_deadline_decides_nothing() -> None:
    """A reviewer is bound by the deadline as people are: its approval is refused, and the default applies."""
    ledger = book(request(review=Review(**TERMS), deadline=LATER))
    take(ledger, "r1", Reviewed(**YES), LATER)
    entry = ledger.book.entries["r1"]
    assert entry.state == "open"
    assert entry.request.review is not None
    assert (entry.request.review.left, entry.request.review.verdict) == ("refused", "approve")
    [expired] = ledger.book.expire(LATER)
    assert (expired.state, expired.verdict) == ("expired", Reject(reason="Nobody decided in time."))


def test_a_reviewers_decision_answers_no_other_call() -> None:
    """What a reviewer decides closes its one request, under its name, and is remembered for nothing."""
    ledger = book(request(review=Review(**TERMS)), request("r2", review=Review(**TERMS)))
    take(ledger, "r1", Reviewed(**YES), NOW)
    assert [ledger.book.entries[each].state for each in ("r1", "r2")] == ["decided", "open"]
    assert ledger.book.entries["r1"].closed_by == "reviewer:judge"
    assert ledger.state.standing == []


@pytest.mark.parametrize("name", SPELLINGS)
def test_nothing_that_comes_in_is_decided_by_a_reviewer(name: str) -> None:
    """Whoever sends a decision in the name of a reviewer, in whatever spelling, is refused, by update and by signal."""
    assert is_reviewer(name)
    decision = {"id": "r1", "verdict": {"kind": "approve"}, "decided_by": name}
    with pytest.raises(DecisionInvalidError, match="say which person it is"):
        read_decision([decision])
    with pytest.raises(DecisionInvalidError, match="say which person it is"):
        read_shorthand("approve", [{"id": "r1", "decided_by": name}])


@pytest.mark.parametrize("name", ["ann", "user:ann", "reviewers", "rev:judge", "peer reviewer", "group:reviewer"])
def test_people_keep_their_names(name: str) -> None:
    """Only names that begin as a reviewer's are kept from people."""
    assert not is_reviewer(name)
    assert read_decision([{"id": "r1", "verdict": {"kind": "approve"}, "decided_by": name}]).decided_by == name


@pytest.mark.parametrize(
    ("signs_for", "name", "may"),
    [
        pytest.param("*", "ann", True, id="a-gateway-for-people"),
        pytest.param("*", "reviewer:judge", False, id="a-gateway-for-no-reviewer"),
        pytest.param(["ann"], "reviewer:judge", False, id="a-person-for-no-reviewer"),
        pytest.param(["*"], "reviewer:judge", False, id="a-star-in-a-list-is-nobody"),
        pytest.param(["reviewer:judge"], "Reviewer:Judge", True, id="a-reviewer-by-name"),
        pytest.param(["reviewer:judge"], "reviewer:other", False, id="no-other-reviewer"),
        pytest.param(["reviewer:*"], "reviewer:other", True, id="any-reviewer"),
        pytest.param(["reviewer:*"], "ann", False, id="a-reviewer-for-no-person"),
        pytest.param(["reviewer:judge"], "judge", False, id="nor-of-the-same-name"),
    ],
)
def test_a_key_signs_for_people_or_for_reviewers(signs_for: Any, name: str, *, may: bool) -> None:
    """A person's or a gateway's key never vouches for a reviewer, and a reviewer's never for a person."""
    assert trusted(Signer.generate(), signs_for).may_sign_for(name) is may


def test_no_key_signs_for_both() -> None:
    """A file of trusted keys that lets one key sign for people and for reviewers is refused."""
    with pytest.raises(ValidationError, match="people or for reviewers, not for both"):
        trusted(Signer.generate(), ["ann", "reviewer:judge"])


KEY: Final = b"of the auditors"


def test_an_auditor_draws_the_same_sample() -> None:
    """The draw is the formula of the documentation, follows the request and the key alone, and hits the share."""
    digests = [f"v1:{hashlib.sha256(str(n).encode()).hexdigest()}" for n in range(4000)]
    drawn = [is_sampled(each, 0.05, KEY) for each in digests]
    first = [hmac.new(KEY, each.encode(), hashlib.sha256).hexdigest()[:16] for each in digests]
    assert drawn == [int(each, 16) < 0.05 * 16**16 for each in first]
    assert 0.035 < sum(drawn) / len(drawn) < 0.065
    assert drawn != [is_sampled(each, 0.05, b"another key") for each in digests]
    assert not any(is_sampled(each, 0, KEY) for each in digests)
    assert all(is_sampled(each, 1, KEY) for each in digests)
    larger = [is_sampled(each, 0.1, KEY) for each in digests]
    assert all(more for more, less in zip(larger, drawn, strict=True) if less)


class Nameless:
    """A callable whose name cannot be recorded."""

    name = "a name with spaces"

    def __call__(self, ctx: Any, review: Any) -> None:
        """Leave it."""


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        pytest.param(lambda: Approval(review=1), "review", id="no-function"),  # type: ignore[arg-type]
        pytest.param(lambda: Approval(review=lambda only: None), "review", id="one-argument"),  # type: ignore[arg-type, misc]
        pytest.param(lambda: Approval(review=lambda a, b: None), "name", id="a-lambda-has-no-name"),
        pytest.param(lambda: Approval(review=Nameless()), "name", id="a-name-with-spaces"),
        pytest.param(lambda: Approval(review=judge, review_timeout=timedelta(0)), "review_timeout", id="no-time"),
        pytest.param(lambda: Approval(review=judge, review_timeout=timedelta(days=2)), "review_timeout", id="too-long"),
        pytest.param(lambda: Approval(review=judge, sample=1.5), "sample", id="share-above-1"),
        pytest.param(lambda: Approval(review=judge, sample=True), "sample", id="share-no-number"),
        pytest.param(lambda: Approval(review=judge, min_confidence=float("nan")), "min_confidence", id="nan"),
        pytest.param(lambda: Approval(review=judge, review_may=()), "review_may is empty", id="may-nothing"),
        pytest.param(
            lambda: Approval(review=judge, review_may=["answer"]),  # type: ignore[list-item]
            "review_may",
            id="may-answer",
        ),
        pytest.param(lambda: Approval(sample=0.05), "there is none", id="sample-alone"),
        pytest.param(lambda: Approval(approvers=["ann", "reviewer:judge"]), "there is none", id="reviewer-alone"),
        pytest.param(
            lambda: Approval(review=judge, approvers=["ann", "reviewer:other"]), "its reviewer is", id="another-one"
        ),
        pytest.param(
            lambda: Approval(review=judge, approvers=["reviewer:judge"]), "names nobody but", id="nobody-to-leave-it-to"
        ),
        pytest.param(
            lambda: Approval(review=judge, approvers=["ann", "bo", "reviewer:judge"], quorum=2),
            "never counts toward",
            id="counted-in-a-quorum",
        ),
        pytest.param(
            lambda: Approval(review=judge, approvers=["ann", "reviewer:judge"], exclude_requester=True),
            "never counts toward",
            id="counted-as-the-other-person",
        ),
        pytest.param(
            lambda: Escalation(timedelta(hours=1), ["reviewer:judge"]), "no person who could decide", id="escalated-to"
        ),
        pytest.param(lambda: Ask(approvers=["reviewer:judge"]), "no person who could decide", id="asked-in-doubt"),
        pytest.param(
            lambda: HandfastPlugin(models={}, groups={"staff": ["ann", "Reviewer:judge"]}), "no member", id="in-a-group"
        ),
        pytest.param(lambda: ModelReviewer("", policy="Approve."), "model", id="no-model"),
        pytest.param(lambda: ModelReviewer("m", policy=""), "policy", id="no-policy"),
        pytest.param(
            lambda: ModelReviewer("m", policy="p", settings={"text": {"format": {}}}), "text.format", id="own-format"
        ),
        pytest.param(lambda: Opinion("maybe"), "verdict", id="no-verdict"),  # type: ignore[arg-type]
        pytest.param(lambda: Opinion("approve", confidence=1.01), "confidence", id="more-than-sure"),
        pytest.param(lambda: Opinion("approve", 7), "reason", id="reason-no-text"),  # type: ignore[arg-type]
    ],
)
def test_what_no_reviewer_can_be_is_refused_where_it_is_written(make: Callable[[], object], problem: str) -> None:
    """A definition that would give a reviewer what it never has, or that cannot work, is refused at once."""
    with pytest.raises(DefinitionError, match=problem):
        make()


def test_a_reviewer_of_a_model_that_is_not_there_is_refused_at_the_start() -> None:
    """A worker whose reviewer asks an entry that it does not have says so, with the entries that it has."""

    @tool(approval=Approval(review=ModelReviewer("m", policy="Approve.", client="cheap", settings={"tempreature": 0})))
    def wipe() -> None:
        """Delete everything."""

    registry = Registry([Agent("desk", model="m", tools=[wipe])])
    port = ResponsesModel(openai.AsyncOpenAI(api_key="test"))
    with pytest.raises(DefinitionError, match=r"its reviewer asks the model client 'cheap'; .* has default"):
        check_agents(registry, {"default": port})
    with pytest.raises(DefinitionError, match=r"no setting 'tempreature' \(settings of its reviewer\)"):
        check_agents(registry, {"default": port, "cheap": port})
