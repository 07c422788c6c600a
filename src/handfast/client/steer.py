"""Steering a run that goes on: its limits, one of its calls, its end."""

from __future__ import annotations

import math
import uuid
from datetime import timedelta
from typing import Final, Literal

from pydantic import ValidationError
from temporalio.client import WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from handfast.client.base import Reach
from handfast.encryption.cancel_reason import concealed
from handfast.errors import DecisionInvalidError, RunEndedError, RunNotFoundError
from handfast.payloads.base import problems_of
from handfast.payloads.cancel_call import CallCancelled, CancelCall
from handfast.payloads.json_profile import JsonObject, scrub
from handfast.payloads.messages import MessageReceipt, checked_message
from handfast.payloads.requests import LimitsRaised, RaiseLimits
from handfast.temporal.rpc import typed_errors

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


class Messaging(Reach):
    """What a run can be told."""

    async def send(
        self,
        message: str | list[JsonObject],
        *,
        when: Literal["next", "now"] = "next",
        message_id: str | None = None,
        by: str | None = None,
        frame: str | None = None,
    ) -> MessageReceipt:
        """Say something to a run while it works: the model reads it before it is called next.

        It comes after the outputs of all calls under way, and after what was sent before it. Where no model call is to
        come, it opens a further turn, or is refused, as the run's `on_message` says. Input guardrails look at it; what
        they stop is refused, and the run goes on.

        Where no worker answers within five seconds the message is stored as a signal under the same id, and the
        receipt's state is *stored*. To send it again with the same id is harmless, and says what became of it.

        Args:
            message: A text, or messages as the Responses API takes them.
            when: ``"now"`` cancels the model call under way, whose reply is thrown away, and makes it again with the
                message; tools are left alone.
            message_id: Makes a repetition harmless; random by default.
            by: Who sends it: a claimed name, recorded.
            frame: Which loop, where several are at work; `Request.frame` says it.

        Raises:
            MessageInvalidError: It is empty, too large, or no message.
            MessageConflictError: The id was used before, with other content.
            MessageRefusedError: No model call is to come, or too many messages wait.
            RunEndedError: The run has ended.
            RunNotFoundError: The server does not know the run.
        """
        said = {"text": message} if isinstance(message, str) else {"items": message}
        given = checked_message({**said, "when": when, "id": message_id or str(uuid.uuid4()), "by": by, "frame": frame})
        # A new update each time: to one of an id that it knows the server itself gives the first answer.
        answer = await self._update_or_signal("send", given.to_wire(), str(uuid.uuid4()))
        if answer is not None:
            return MessageReceipt.from_wire(answer)
        return MessageReceipt(id=str(given.id), state="stored")
