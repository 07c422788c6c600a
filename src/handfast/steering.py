"""Steering a run that goes on: its limits, one of its calls, its end."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Final, Literal

from pydantic import ValidationError
from temporalio.client import WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from handfast._rpc import typed_errors
from handfast.cancel_words import concealed
from handfast.errors import DecisionInvalidError, RunEndedError, RunNotFoundError
from handfast.payloads.base import problems_of
from handfast.payloads.cancel_call import CallCancelled, CancelCall
from handfast.payloads.json_profile import scrub
from handfast.payloads.requests import LimitsRaised, RaiseLimits
from handfast.reach import Reach

REASON_CHARACTERS: Final = 2000
"""What a run's history takes of a reason: the server takes megabytes, which every worker would have to read."""


class Steering(Reach):
    """What changes a run besides decisions."""

    async def stop(self, reason: str = "") -> None:
        """Let the run end after its turn: calls under way finish, and the model is not called again.

        Raises:
            RunEndedError: It has ended already.
            RunNotFoundError: The server does not know the run.
        """
        description = await self._describe()
        with typed_errors(self._client, self.id):
            try:
                await self._handle.signal(f"{self._prefix(description)}stop", {"reason": recorded(reason)})
            except RPCError as error:
                if error.status is RPCStatusCode.NOT_FOUND:
                    raise self._ended(await self._describe()) from error
                raise

    async def raise_limits(
        self,
        *,
        turns: int | None = None,
        tokens: int | None = None,
        duration: timedelta | None = None,
        by: str | None = None,
        frame: str | None = None,
    ) -> LimitsRaised:
        """Give a run that goes on more turns, tokens or time; one that waits for a budget goes on where it stopped.

        Args:
            turns: Model replies to add.
            tokens: Tokens to add.
            duration: Time to add, in whole seconds.
            by: Who raises the limits: a claimed name, recorded.
            frame: Which loop, where several are at work; `Request.frame` says it.

        Raises:
            GrantRefusedError: It would not let the run go on, or there is no such limit.
            DecisionInvalidError: Nothing is added, or several agents are at work and *frame* names none.
            RunEndedError: The run has ended.
            UpdateLimitError: Its present history takes no further update.
            TimeoutError: No worker answered; nothing was raised, unless one had just taken it.
            RunNotFoundError: The server does not know the run.
        """
        try:
            seconds = None if duration is None else math.ceil(duration.total_seconds())
            given = RaiseLimits(turns=turns, tokens=tokens, seconds=seconds, by=by, frame=frame)
        except ValidationError as error:
            raise DecisionInvalidError("; ".join(problems_of(error))) from None
        return LimitsRaised.from_wire(await self._update("raise_limits", given.to_wire()))

    async def cancel_call(
        self, call_id: str, *, reason: str | None = None, by: str | None = None, frame: str | None = None
    ) -> CallCancelled:
        """End one call and leave the run: the model reads that it was cancelled, and goes on.

        A call that runs is told to stop, as by `cancel`, an agent used as a tool with all that it has under way; one
        that waits for a person or for its turn never runs, and its request is withdrawn.

        Args:
            call_id: The model's id of the call, as `status` and requests have it.
            reason: The model reads it.
            by: Who cancels: a claimed name.
            frame: Which loop, where several have a call of this id; `Request.frame` says it.

        Raises:
            CallEndedError: It has its output already, or was never made.
            DecisionInvalidError: Several loops have such a call.
            RunEndedError: The run has ended.
            UpdateLimitError: Its present history takes no further update.
            TimeoutError: No worker answered; nothing was cancelled, unless one had just taken it.
            RunNotFoundError: The server does not know the run.
        """
        try:
            given = CancelCall(call_id=call_id, reason=reason, by=by, frame=frame)
        except ValidationError as error:
            raise DecisionInvalidError("; ".join(problems_of(error))) from None
        return CallCancelled.from_wire(await self._update("cancel_call", given.to_wire()))

    async def cancel(self, reason: str = "", *, mode: Literal["now", "after_turn"] = "now") -> bool:
        """Cancel the run; False where it had ended already.

        Args:
            reason: Recorded, its first 2,000 characters.
            mode: ``"after_turn"`` is `stop`: the run ends after its turn, and is no cancelled one.

        Raises:
            RunNotFoundError: The server does not know the run.
        """
        if mode == "after_turn":
            try:
                await self.stop(reason)
            except RunEndedError:
                return False
            return True
        if (await self._describe()).status is not WorkflowExecutionStatus.RUNNING:
            return False
        try:
            with typed_errors(self._client, self.id):
                await self._handle.cancel(reason=await concealed(recorded(reason), self._converter))
        except RunNotFoundError:
            return False  # it ended in between
        return True


def recorded(reason: str) -> str:
    """What is recorded of a reason."""
    return scrub(reason[:REASON_CHARACTERS])
