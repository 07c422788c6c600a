"""Calls that a remembered decision answers, before anybody is asked or while they wait. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime
from typing import Literal

from handfast.payloads.json_profile import JsonObject
from handfast.payloads.requests import Decision, Request, Transition
from handfast.payloads.signature import SignedBy
from handfast.workflows.ledger import standing_decisions
from handfast.workflows.ledger.book import WHY_CHARACTERS, RequestBook
from handfast.workflows.ledger.entry import Entry
from handfast.workflows.ledger.standing_decisions import Remembered


class Recalling(RequestBook):
    """A book of requests that answers some of them by what was decided before.

    Attributes:
        signed: Only signed decisions count: names are verified.
        remembered: The decisions that are to answer further calls.
    """

    def __init__(
        self,
        arguments_of: Callable[[Request], JsonObject | None],
        root_of: Callable[[str], str],
    ) -> None:
        super().__init__()
        self.signed = False
        self.remembered: list[Remembered] = []
        self._arguments_of = arguments_of
        self._root_of = root_of
        self._to_answer = False

    def recall(self, request: Request, arguments: JsonObject, call: str, now: datetime) -> Entry | None:
        """Answer a call by a remembered decision, before anybody is asked about it.

        Args:
            request: What would be asked.
            arguments: The call's, whole.
            call: Its id, for the log.
            now: Workflow time.

        Returns:
            The remembered decision, as a closed entry under the id of the request that was decided; None: ask.
        """
        kept = self._remembered_for(request, arguments, now)
        if kept is None:
            return None
        why = f"{request.agent}: {request.tool} {call}"[:WHY_CHARACTERS]
        self._use(kept, "remembered", request=kept.request, why=why, now=now, frame=request.frame, call=call)
        original = self.entries[kept.request].request
        return Entry(
            request=original, digest="", state="decided", verdict=kept.verdict, closed_by=kept.by, proofs=kept.proofs
        )

    def answer_siblings(self, now: datetime) -> None:
        """Close open requests that a remembered decision answers; one that is being decided is left to that.

        Called when all messages of a workflow task have been taken, so that an explicit decision goes first.
        """
        if not self._to_answer:
            return
        self._to_answer = False
        looked_up = {decision.id for decision in self._looked_up}
        for entry in self.entries.values():
            request = entry.request
            if entry.state != "open" or request.id in looked_up:
                continue
            kept = self._remembered_for(request, self._arguments_of(request), now)
            if kept is None:
                continue
            entry.verdict = kept.verdict
            entry.proofs = kept.proofs
            self._close(entry, "decided", kept.by, now)
            self._use(kept, "decided", request=request.id, why=f"remembered from {kept.request}", now=now)

    def distrust(self, requests: Collection[str], frame: str, call: str, why: str, now: datetime) -> None:
        """Forget the decisions on *requests*, and log it: they could not be verified when *call* was to run."""
        for kept in self.remembered:
            if kept.request in requests:
                self.note(
                    Transition(
                        what="voided",
                        at=now,
                        request=kept.request,
                        by=kept.by,
                        why=f"no longer remembered: {why}"[:WHY_CHARACTERS],
                        remember=standing_decisions.wish_of(kept),
                        frame=frame,
                        call=call,
                    )
                )
        self.remembered = [each for each in self.remembered if each.request not in requests]

    def forget(self, root: str) -> None:
        """Forget the decisions that were remembered for a run, which has ended."""
        self.remembered = [each for each in self.remembered if each.root != root]

    def _keep(self, request: Request, decision: Decision, now: datetime) -> None:
        kept = standing_decisions.remembered(
            request, decision, self._arguments_of(request), self._root_of(request.frame), now
        )
        holding = [each for each in self.remembered if each.holds(now)]
        self.remembered = standing_decisions.added(holding, kept)
        self._to_answer = True

    def _remembered_for(self, request: Request, arguments: JsonObject | None, now: datetime) -> Remembered | None:
        root = self._root_of(request.frame)
        return standing_decisions.recall(self._counting, request, arguments, root, now)

    def _use(
        self,
        kept: Remembered,
        what: Literal["remembered", "decided"],
        *,
        request: str,
        why: str,
        now: datetime,
        frame: str | None = None,
        call: str | None = None,
    ) -> None:
        """Count, and log, that a remembered decision has answered a call."""
        kept.used += 1
        self.note(
            Transition(
                what=what,
                at=now,
                request=request,
                verdict=kept.verdict.kind,
                by=kept.by,
                why=why,
                remember=standing_decisions.wish_of(kept),
                signed_by=self._vouched(kept.proof),
                frame=frame,
                call=call,
            )
        )

    @property
    def _counting(self) -> list[Remembered]:
        """The remembered decisions that count: in a run that takes signed ones only, those."""
        return [each for each in self.remembered if each.proof is not None or not self.signed]

    def _vouched(self, decision: Decision | None) -> SignedBy | None:
        """The key that vouches for a decider's name, where it has been verified."""
        signature = decision.signature if decision is not None and self.signed else None
        return None if signature is None else signature.signed_by
