"""The last check before an effect: signed decisions let this very call run, by the keys of today."""

from __future__ import annotations

from datetime import UTC, datetime

from temporalio import activity

from handfast.activities.runtime.runtime import Runtime
from handfast.definitions.gates.approval import Approval, ApprovalRule
from handfast.definitions.gates.review import name_of
from handfast.errors import KeysUnavailableError, RefusalError
from handfast.payloads.binding import digest_of
from handfast.payloads.canonical import canonical_json
from handfast.payloads.json_profile import JsonObject
from handfast.payloads.matching import matches
from handfast.payloads.people import is_reviewer, person
from handfast.payloads.requests import Approve, Decision, RunAgain
from handfast.payloads.review import counts_alone
from handfast.payloads.signed import Place, about
from handfast.payloads.tool_call import Proofs, ToolCall
from handfast.signing.trusted_keys import SKEW, TrustedKeys


async def proofs_of(call: ToolCall, runtime: Runtime) -> Proofs:
    """Return the proofs that came with a call, fetched where they are large."""
    proofs = call.proofs or Proofs()
    if proofs.at is None:
        return proofs
    [stored] = await runtime.blocks.block(call.origin, proofs.at)
    return Proofs.from_wire(stored)


class Proving:
    """Looks for the signed decisions that let a call run with the arguments in hand.

    Whoever reaches the server can start an activity, or a workflow of their own that does: that nobody had to be asked,
    or that a deadline let it run, counts only as far as the tool's own rule agrees.
    """

    def __init__(self, call: ToolCall, rule: ApprovalRule, arguments: JsonObject, trusted: TrustedKeys) -> None:
        self._call = call
        self._rule = rule
        self._arguments = arguments
        self._trusted = trusted
        self._refused: list[str] = []
        info = activity.info()
        self._place = Place(namespace=info.namespace, workflow=info.workflow_id or "", run=call.origin.workflow_run)

    def problem(self, proofs: Proofs) -> str | None:
        """Return why a call that waited for a person must not run; None where it may, or where nobody was asked.

        Raises:
            KeysUnavailableError: That cannot be told now.
        """
        if not activity.info().in_workflow:
            return "no run made this call"
        if proofs.reruns:  # to say so is to let it run, and one of those is enough who may
            return None if self._runs_again(proofs) else self._told("nobody is proven to have said that it runs again")
        if self._call.request is None:
            return "a person is always asked about this tool, and nobody was" if self._always_asks else None
        if proofs.expired is not None and self._may_expire:
            early = proofs.expired - SKEW > datetime.now(UTC)
            return "its deadline, whose default lets it run, has not passed by this worker's clock" if early else None
        releasing = [each for each in proofs.decisions if self._releases(each)]
        people = {person(each.decided_by or "") for each in releasing if not is_reviewer(each.decided_by or "")}
        needed = proofs.quorum or 1
        if needed == 1 and any(self._is_its_reviewer(each.decided_by or "") for each in releasing):
            return None
        return None if len(people) >= needed else self._told(f"{len(people)} of {needed} approvals of it are proven")

    @property
    def _always_asks(self) -> bool:
        return self._rule is True or isinstance(self._rule, Approval)

    @property
    def _may_expire(self) -> bool:
        """True where a deadline may have let the call run: the answer of a rule is not known here."""
        if isinstance(self._rule, Approval):
            return self._rule.on_deadline == "approve"
        return self._rule is not True

    def _is_its_reviewer(self, name: str) -> bool:
        """Return whether the tool has a reviewer of that name who may let it run alone.

        Of a function's answer no more is known here than that a reviewer's key has signed.
        """
        if not is_reviewer(name) or self._rule is True:
            return False
        if not isinstance(self._rule, Approval):
            return True
        rule = self._rule
        return (
            rule.review is not None
            and person(name_of(rule.review)) == person(name)
            and "approve" in rule.review_may
            and counts_alone(
                name, approvers=rule.approvers, quorum=rule.quorum, exclude_requester=rule.exclude_requester
            )
        )

    def _told(self, problem: str) -> str:
        return "; ".join([problem, *self._refused])

    def _releases(self, decision: Decision) -> bool:
        """Return True where a signed decision lets the call in hand run."""
        verdict = decision.verdict
        if not isinstance(verdict, Approve) or not self._is_valid(decision):
            return False
        if is_reviewer(decision.decided_by or ""):  # it changes no arguments, and answers no other call
            plain = verdict.arguments is None and decision.remember is None
            return plain and decision.id == self._call.request and decision.digest == self._call.digest
        if decision.id == self._call.request and verdict.arguments is not None:
            return canonical_json(verdict.arguments) == canonical_json(self._arguments)
        if decision.id == self._call.request and decision.digest == self._call.digest:
            return True
        # What it answers beside its own call is signed with it, and was checked with the signature; but for patterns.
        asked = decision.remember
        if asked is None or (asked.until is not None and asked.until + SKEW <= datetime.now(UTC)):
            return False
        return all(
            isinstance(value := self._arguments.get(name), str) and matches(pattern, value)
            for name, pattern in (asked.match or {}).items()
        )

    def _runs_again(self, proofs: Proofs) -> bool:
        """Return True where a signed decision says that a call in doubt runs again with these arguments."""
        decision = proofs.again
        if decision is None or proofs.doubt is None or not isinstance(decision.verdict, RunAgain):
            return False
        if is_reviewer(decision.decided_by or ""):
            return False  # people alone say what became of a call
        return digest_of(proofs.doubt, self._arguments) == decision.digest and self._is_valid(decision)

    def _is_valid(self, decision: Decision) -> bool:
        of = about(decision, self._call.tool, self._call.origin.agent, self._arguments)
        try:
            self._trusted.check_old(decision, self._place, of)
        except KeysUnavailableError:
            raise
        except RefusalError as refusal:
            self._refused.append(refusal.message)
            return False
        return True
