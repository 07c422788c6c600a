"""Checks of decisions that user code has a say in: asked in an activity, while the request waits."""

from __future__ import annotations

import asyncio
from typing import Final

from temporalio import workflow

from handfast.errors import AnswerRefusedError, EditRefusedError, GroupsUnknownError
from handfast.payloads.evaluation import EVALUATE, CheckAnswer, CheckArguments, Evaluated, LookUpGroups
from handfast.payloads.json_profile import JsonObject, JsonValue
from handfast.payloads.requests import Decision
from handfast.workflows.handlers.signatures import no_keys, refusal_from, to_verify
from handfast.workflows.ledger import votes
from handfast.workflows.state.run_state import RunState
from handfast.workflows.tasks.settle import Done, settle_activity, start_activity
from handfast.workflows.tasks.timeouts import EVALUATION

MOST_LOOKUPS: Final = 50
"""Lookups of groups at the same time: anybody may send a thousand decisions, and a run has 2,000 activities."""


NEXT_TASK_S: Final = 0.01
"""After it another workflow task comes, whose commands have room again."""


class Checks:
    """Asks the application about a decision before it is recorded.

    Whoever awaits one of these has to check the decision anew: others may have come in meanwhile.
    """

    def __init__(self, state: RunState) -> None:
        self._state = state
        self._lookups = 0

    async def membership(self, decision: Decision) -> None:
        """Look up the decider's groups, as the right to decide hangs on them.

        The request stays open meanwhile: somebody without the right must not keep it from those who have it.

        Raises:
            NotAnApproverError: The decider is in none of the request's groups.
            GroupsUnknownError: That could not be found out.
        """
        ledger = self._state.ledger
        request = ledger.entries[decision.id].request
        groups = votes.groups_to_look_up(request, decision)
        assert decision.decided_by is not None  # `check` refuses it where approvers are named
        arg = LookUpGroups(origin=self._state.origin_of(request), person=decision.decided_by, groups=groups)
        answer = await self._looked_up(decision, arg.to_wire(), f"{request.agent} · looking up an approver's groups")
        problem = "no worker could look them up; try again" if answer is None else answer.problem
        if answer is None or problem is not None:
            raise GroupsUnknownError(
                f"the groups of {decision.decided_by} are not known: {problem}", request=request.id, rule="approvers"
            )
        votes.check_membership(request, decision, answer.groups or [])

    async def signature(self, decision: Decision) -> None:
        """Have the signature of a decision checked that came by signal; the request stays open meanwhile.

        Raises:
            RefusalError: One of its subclasses: it does not count.
        """
        arg = to_verify(self._state, decision, stored=True)
        request = self._state.ledger.entries[decision.id].request
        summary = f"{request.agent} · verifying a signature"
        answer = await self._looked_up(decision, arg.to_wire(), summary, makes_room=True)
        if answer is None:
            raise no_keys(decision)
        if answer.refused is not None:
            raise refusal_from(answer.refused)

    async def _looked_up(
        self, decision: Decision, arg: JsonObject, summary: str, *, makes_room: bool = False
    ) -> Evaluated | None:
        """Ask what a decision hangs on, and check it anew: meanwhile others may have come in.

        Args:
            decision: It.
            arg: What is asked.
            summary: The same for people.
            makes_room: It may be large: what one workflow task cannot carry is asked in a later one.
        """
        ledger = self._state.ledger
        ledger.look_up(decision)
        while self._lookups >= MOST_LOOKUPS:
            await workflow.wait_condition(lambda: self._lookups < MOST_LOOKUPS)
        answer: Evaluated | None = None
        if ledger.waits(decision.id):
            self._lookups += 1
            while makes_room and not self._state.room.take(arg):
                await asyncio.sleep(NEXT_TASK_S)
            answer = await self._evaluated(arg, summary)
            self._lookups -= 1
        ledger.looked_up(decision)
        self._state.ledger_changed()
        ledger.check(decision, workflow.now())
        return answer

    async def edit(self, decision: Decision, arguments: JsonObject) -> Evaluated:
        """Hold the request while the tool's schema is asked; leave it open again where the edit is refused.

        Returns:
            What the approval rule said of the new arguments, where it was asked; and the key to run under, where the
            tool makes its own.

        Raises:
            EditRefusedError: They do not satisfy the schema.
        """
        ledger = self._state.ledger
        origin = self._state.origin_of(ledger.entries[decision.id].request)
        request = ledger.hold(decision).request
        inline, at = self._state.room.placed(arguments, None)
        arg = CheckArguments(
            origin=origin,
            tool=request.tool or "",
            arguments=inline,
            at=at,
            ask_rule=True if request.on_edit == "ask_again" else None,
            keyed=True if self._state.call_of(request)[1].plan.key is not None else None,
        )
        answer = await self._evaluated(arg.to_wire(), f"{request.agent} · checking edited arguments of {request.tool}")
        ledger.release(decision)
        self._state.ledger_changed()
        ledger.check(decision, workflow.now())
        problem = "the arguments could not be checked; try again" if answer is None else answer.problem
        if answer is None or problem is not None:
            raise EditRefusedError(problem or "", request=request.id)
        return answer

    async def answer(self, decision: Decision, output: JsonValue) -> None:
        """Hold a question while its form is asked; leave it open again where the answer is refused.

        Raises:
            AnswerRefusedError: It does not satisfy the form.
        """
        ledger = self._state.ledger
        origin = self._state.origin_of(ledger.entries[decision.id].request)
        request = ledger.hold(decision).request
        inline, at = self._state.room.placed({"output": output}, None)
        arg = CheckAnswer(origin=origin, tool=request.tool or "", arguments=inline, at=at)
        answer = await self._evaluated(arg.to_wire(), f"{request.agent} · checking the answer to {request.tool}")
        ledger.release(decision)
        self._state.ledger_changed()
        ledger.check(decision, workflow.now())
        problem = "the answer could not be checked; try again" if answer is None else answer.problem
        if problem is not None:
            raise AnswerRefusedError(problem, request=request.id)

    async def _evaluated(self, arg: JsonObject, summary: str) -> Evaluated | None:
        marks = self._state.marks
        settled = await settle_activity(start_activity(EVALUATE, arg, summary, EVALUATION, marks), marks)
        return Evaluated.from_wire(settled.value) if isinstance(settled, Done) else None
