"""Checks of decisions that user code has a say in: asked in an activity, while the request waits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, TypeVar

from temporalio import workflow

from handfast.errors import AnswerRefusedError, EditRefusedError, GroupsUnknownError, TooManySignalsError
from handfast.payloads.evaluation import EVALUATE, ArgumentsChecked, CheckAnswer, CheckArguments, LookUpGroups, Question
from handfast.payloads.json_profile import JsonObject
from handfast.payloads.model_call import Origin
from handfast.payloads.requests import Answer, Approve, Decision, Request
from handfast.workflows.handlers.signatures import no_keys, refusal_from, to_verify
from handfast.workflows.ledger import votes
from handfast.workflows.ledger.entry import has_form
from handfast.workflows.state.runs import Runs
from handfast.workflows.tasks.await_activity import Done, await_activity, start_activity
from handfast.workflows.tasks.command_budget import next_task
from handfast.workflows.tasks.intake import Allowance
from handfast.workflows.tasks.timeouts import EVALUATION

MOST_LOOKUPS: Final = 50
"""Lookups of groups at the same time: anybody may send a thousand decisions, and a run has 2,000 activities."""
LOOKED_UP: Final = 500
"""Decisions that are looked up however fast they come: each costs three events, and a history is replayed in one go."""

AnswerT = TypeVar("AnswerT")


@dataclass
class Review:
    """A decision on its way through the checks.

    Attributes:
        verified: Its signature has been checked, where the run takes signed decisions only.
        edit: What the tool's agent says of the arguments that the decision puts in place of the model's.
    """

    decision: Decision
    verified: bool
    edit: ArgumentsChecked = field(default_factory=ArgumentsChecked)


@dataclass(frozen=True)
class Check:
    """A question to the application about a decision, asked where it is needed."""

    is_needed: Callable[[Review], bool]
    ask: Callable[[Review], Awaitable[None]]


class Checks:
    """Asks the application about a decision before it is recorded.

    Whoever awaits one of these has to check the decision anew: others may have come in meanwhile.

    Attributes:
        in_order: The checks, as they follow each other.
    """

    def __init__(self, runs: Runs) -> None:
        self._runs = runs
        self._lookups = asyncio.Semaphore(MOST_LOOKUPS)
        self._allowance = Allowance(most=LOOKED_UP)
        signature = Check(lambda review: runs.ledger.state.signed and not review.verified, self._signature)
        self.in_order: Final = (
            signature,
            Check(self._asks_for_groups, self._membership),
            Check(lambda review: edited_by(review.decision) is not None, self._edit),
            Check(self._answers_form, self._answer),
            signature,  # while the others were asked, the run may have begun to take signed decisions only
        )

    def _asks_for_groups(self, review: Review) -> bool:
        request = self._runs.ledger.book.entries[review.decision.id].request
        return bool(votes.groups_to_look_up(request, review.decision))

    def _answers_form(self, review: Review) -> bool:
        request = self._runs.ledger.book.entries[review.decision.id].request
        return has_form(request) and isinstance(review.decision.verdict, Answer)

    async def _membership(self, review: Review) -> None:
        """Look up whether the decider is in one of the request's groups.

        The request stays open meanwhile: somebody without the right must not keep it from those who have it.

        Raises:
            NotAnApproverError: The decider is in none of the request's groups.
            GroupsUnknownError: That could not be found out.
        """
        decision = review.decision
        request = self._runs.ledger.book.entries[decision.id].request
        groups = votes.groups_to_look_up(request, decision)
        assert decision.decided_by is not None  # `check` refuses it where approvers are named
        arg = LookUpGroups(origin=self._origin_of(request), person=decision.decided_by, groups=groups)
        answer = await self._looked_up(decision, arg, f"{request.agent} · looking up an approver's groups")
        problem = "no worker could look them up; try again" if answer is None else answer.problem
        if answer is None or problem is not None:
            raise GroupsUnknownError(
                f"the groups of {decision.decided_by} are not known: {problem}", request=request.id, rule="approvers"
            )
        votes.check_membership(request, decision, answer.groups or [])

    async def _signature(self, review: Review) -> None:
        """Verify the signature of a decision that no validator has seen.

        Raises:
            RefusalError: One of its subclasses: it does not count.
        """
        decision = review.decision
        arg = to_verify(decision, self._runs.ledger, self._runs.identity, stored=True)
        request = self._runs.ledger.book.entries[decision.id].request
        summary = f"{request.agent} · verifying a signature"
        answer = await self._looked_up(decision, arg, summary, makes_room=True)
        if answer is None:
            raise no_keys(decision)
        if answer.refused is not None:
            raise refusal_from(answer.refused)
        review.verified = True

    async def _looked_up(
        self, decision: Decision, asked: Question[AnswerT], summary: str, *, makes_room: bool = False
    ) -> AnswerT | None:
        """Ask a question that a decision hangs on, then check the decision anew: others may have come in meanwhile.

        Args:
            decision: It.
            asked: The question.
            summary: The same for people.
            makes_room: It may be large: what one workflow task cannot carry is asked in a later one.

        Raises:
            TooManySignalsError: Too many came at once.
        """
        ledger = self._runs.ledger
        if not self._allowance.take(workflow.time()):
            raise TooManySignalsError(
                f"{LOOKED_UP} decisions came at once that had to be looked up; decide again by update",
                request=decision.id,
            )
        ledger.book.look_up(decision)
        await self._lookups.acquire()
        answer: AnswerT | None = None
        if ledger.book.waits(decision.id):
            while makes_room and not self._runs.budget.take(asked.to_wire()):
                await next_task()
            answer = await self._evaluated(asked, summary)
        self._lookups.release()
        ledger.looked_up(decision)
        self._runs.changed()
        ledger.check(decision, workflow.now())
        return answer

    async def _edit(self, review: Review) -> None:
        """Hold the request while the tool's agent checks the edited arguments.

        The answer says what the approval rule thinks of the new arguments, where it was asked; and the key to run
        under, where the tool makes its own.

        Raises:
            EditRefusedError: They do not satisfy the schema.
        """
        decision, ledger = review.decision, self._runs.ledger
        origin = self._origin_of(ledger.book.entries[decision.id].request)
        request = ledger.book.hold(decision).request
        plan = self._runs.frames.call_of(request)[1].plan
        inline, at = self._runs.budget.placed(edited_by(decision) or {}, None)
        arg = CheckArguments(
            origin=origin,
            tool=request.tool or "",
            arguments=inline,
            at=at,
            ask_rule=True if request.on_edit == "ask_again" else None,
            keyed=True if plan.key is not None else None,
            mcp=plan.mcp,
        )
        answer = await self._evaluated(arg, f"{request.agent} · checking edited arguments of {request.tool}")
        ledger.release(decision)
        self._runs.changed()
        ledger.check(decision, workflow.now())
        problem = "the arguments could not be checked; try again" if answer is None else answer.problem
        if answer is None or problem is not None:
            raise EditRefusedError(problem or "", request=request.id)
        review.edit = answer

    async def _answer(self, review: Review) -> None:
        """Hold a question while its agent checks the answer against the form.

        Raises:
            AnswerRefusedError: It does not satisfy the form.
        """
        decision, ledger = review.decision, self._runs.ledger
        assert isinstance(decision.verdict, Answer)
        origin = self._origin_of(ledger.book.entries[decision.id].request)
        request = ledger.book.hold(decision).request
        inline, at = self._runs.budget.placed({"output": decision.verdict.output}, None)
        form = (request.facts or {}).get("schema") if request.of_server else None
        arg = CheckAnswer(
            origin=origin,
            tool=request.tool or "",
            arguments=inline,
            at=at,
            form=form if isinstance(form, dict) else None,
        )
        answer = await self._evaluated(arg, f"{request.agent} · checking the answer to {request.tool}")
        ledger.release(decision)
        self._runs.changed()
        ledger.check(decision, workflow.now())
        problem = "the answer could not be checked; try again" if answer is None else answer.problem
        if problem is not None:
            raise AnswerRefusedError(problem, request=request.id)

    def _origin_of(self, request: Request) -> Origin:
        """Return the origin of an activity that serves *request*.

        Raises:
            RequestClosedError: Its loop is there no more.
        """
        return self._runs.identity.origin(self._runs.frames.frame_of(request))

    async def _evaluated(self, asked: Question[AnswerT], summary: str) -> AnswerT | None:
        marks = self._runs.marks
        ending = await await_activity(start_activity(EVALUATE, asked.to_wire(), summary, EVALUATION, marks), marks)
        return asked.read(ending.value) if isinstance(ending, Done) else None


def edited_by(decision: Decision) -> JsonObject | None:
    """Return the arguments that an approval puts in the place of the model's; None where it leaves those."""
    return decision.verdict.arguments if isinstance(decision.verdict, Approve) else None
