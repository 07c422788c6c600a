"""The models of one call, asked one after the other: each attempt asks one."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Self

from temporalio import activity
from temporalio.exceptions import ApplicationError

from handfast.activities.runtime.beats import Saying
from handfast.activities.runtime.outages import Outages
from handfast.models.port import ModelCallError
from handfast.payloads.model_call import ModelCall, PassedOver, Underway

logger = logging.getLogger(__name__)

AT_ONCE: Final = timedelta(milliseconds=50)
LONGEST_PAUSE_S: Final = 60.0
PROBLEM_CHARACTERS: Final = 500
RESTING: Final = "it was unavailable a moment ago"


@dataclass(frozen=True)
class Asked:
    """A model and the entry that has it.

    Attributes:
        patience: How long it may be unavailable before the next one is asked.
    """

    model: str
    client: str
    patience: timedelta = timedelta(0)


class ModelsInTurn:
    """Chooses the model that this attempt asks. The findings of attempts before it stand in their heartbeats.

    Attributes:
        choice: The model.
    """

    def __init__(self, call: ModelCall, choices: Sequence[Asked], outages: Outages, saying: Saying) -> None:
        """Read what is known of the call."""
        self._choices = choices
        self._outages = outages
        self._saying = saying
        self._under = call.underway
        details = activity.info().heartbeat_details
        said = details[0] if details and isinstance(details[0], Mapping) else {}
        self._known: dict[str, Any] = dict(said)
        if "at" not in self._known:
            self._known |= {"at": self._first(), "since": time.time(), "passed": []}
        self.choice = choices[self._at]
        resting = [each for each in choices[: self._at] if outages.holds(each.client, each.model)]
        for each in resting if call.underway is None else ():
            self._pass_over(each, RESTING, once=True)

    async def begin(self) -> Self:
        """Let the attempts after this one know when the model was first asked."""
        if len(self._choices) > 1:
            await self.say()
        return self

    async def say(self, **more: Any) -> None:
        """Say what is known with every heartbeat from now on."""
        self._known |= more
        known = self._known if len(self._choices) > 1 else {"response": self.response}
        await self._saying.say([known])

    @property
    def response(self) -> str | None:
        """The background response that an earlier attempt began, or else an earlier call."""
        if "response" not in self._known:
            return None if self._under is None else self._under.response
        said = self._known["response"]
        return said if isinstance(said, str) else None

    @property
    def passed_over(self) -> list[PassedOver] | None:
        """The models that were unavailable; None where there were none."""
        passed = (PassedOver.from_wire(each) for each in self._known["passed"])
        return [each for each in passed if not _is(each, self.choice)] or None

    def waited_for(self, response: str) -> Underway:
        """Tell the workflow of a response that the provider is still making."""
        before = self._under
        calls = 1 + (before.calls if before and before.response == response else 0)
        return Underway(response=response, calls=calls, choice=self._at or None)

    def answered(self) -> None:
        """Note that the model has answered."""
        if len(self._choices) > 1:
            self._outages.end(self.choice.client, self.choice.model)

    async def passed(self, error: ModelCallError) -> ApplicationError | None:
        """Return the failure by which the next attempt asks another model; None where this one is asked again.

        The form of a request is the same for all: a model that refuses it is no reason to ask another one.
        """
        if len(self._choices) == 1 or not self._is_unavailable(error) or not self._is_out_of_patience(error):
            return None
        left, at = self.choice, (self._at + 1) % len(self._choices)
        self._outages.note(left.client, left.model, error.retry_after)
        self._pass_over(left, error.message)
        logger.warning(
            "%s: %s is left for %s: %s", activity.info().workflow_id, left.model, self._choices[at].model, error.kind
        )
        await self.say(at=at, since=time.time(), response=None)
        return ApplicationError(error.message, type=error.kind, next_retry_delay=AT_ONCE)

    # --- inside ---

    @property
    def _at(self) -> int:
        return int(self._known["at"]) % len(self._choices)

    def _first(self) -> int:
        """Return the number of the first model: whose response the call waits for, or which is not known to be out."""
        if self._under is not None:
            return self._under.choice or 0
        out = [self._outages.holds(each.client, each.model) for each in self._choices]
        return 0 if len(out) == 1 or all(out) else out.index(False)

    def _is_unavailable(self, error: ModelCallError) -> bool:
        if error.said is not None and error.said.is_unpaid:
            return True
        return error.retryable and error.kind in ("ModelBusy", "ModelUnavailable")

    def _is_out_of_patience(self, error: ModelCallError) -> bool:
        if not error.retryable:
            return True  # nobody pays for it: it does not pass by itself
        pause = min(LONGEST_PAUSE_S, 2.0 ** min(activity.info().attempt - 1, 6))
        wait = pause if error.retry_after is None else error.retry_after.total_seconds()
        return time.time() + wait >= float(self._known["since"]) + self.choice.patience.total_seconds()

    def _pass_over(self, choice: Asked, problem: str, *, once: bool = False) -> None:
        passed = [PassedOver.from_wire(each) for each in self._known["passed"]]
        others = [each for each in passed if not _is(each, choice)]
        if once and len(others) < len(passed):
            return
        others.append(PassedOver(model=choice.model, client=choice.client, problem=problem[:PROBLEM_CHARACTERS]))
        self._known["passed"] = [each.to_wire() for each in others]


def _is(passed: PassedOver, choice: Asked) -> bool:
    return (passed.model, passed.client) == (choice.model, choice.client)
