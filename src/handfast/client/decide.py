"""Deciding a request, verdict by verdict."""

from __future__ import annotations

import hashlib
import math
import uuid
from datetime import timedelta
from typing import TYPE_CHECKING

from pydantic import ValidationError
from pydantic_core import PydanticSerializationError
from temporalio.client import WorkflowExecutionDescription
from temporalio.service import RPCError

from handfast.client.base import NO_WORKER, Reach
from handfast.errors import DecisionInvalidError, StaleDigestError
from handfast.history.reader import requests_in_memo
from handfast.payloads.base import problems_of
from handfast.payloads.binding import digest_of
from handfast.payloads.json_profile import JsonObject, JsonValue
from handfast.payloads.remember import Remember, RememberedFor
from handfast.payloads.requests import (
    DECISION_BYTES,
    Answer,
    Approve,
    Decision,
    DecisionOutcome,
    Grant,
    Receipt,
    Reject,
    Request,
    Verdict,
)
from handfast.payloads.signed import About, Place, about
from handfast.temporal.rpc import typed_errors

if TYPE_CHECKING:
    from handfast.signing.signer import Signer


class Deciding(Reach):
    """The verdicts as methods; `decide` takes them all."""

    async def decide(
        self,
        request: Request | str,
        verdict: Verdict,
        *,
        decided_by: str,
        note: str | None = None,
        digest: str | None = None,
        decision_id: str | None = None,
        remember: Remember | RememberedFor | None = None,
    ) -> Receipt:
        """Decide one request.

        Where no worker answers within five seconds, or the run takes no further update (the server's limit is 2,000),
        the decision is stored as a signal under the same id: it takes effect when a worker takes it, and the
        receipt's state is *stored*. For a caller who is cancelled nothing is stored; what was sent before may still
        count, and `decision` says whether it did.

        Args:
            request: The request, or its id. A `Request` also sends its digest along.
            verdict: What is decided.
            decided_by: A claimed name, recorded; with a signing key (``Handfast(signer=…)``) one that the key vouches
                for.
            note: Recorded beside it.
            digest: Refuse unless the request still has this digest.
            decision_id: Makes a repetition harmless; random by default.
            remember: Which later calls of the run it answers too, where it approves or rejects: ``"arguments"``,
                ``"tool"``, `Match` or `Remember`.

        Raises:
            RefusalError: One of its subclasses says why nothing was recorded (`RequestClosedError`,
            `UnknownRequestError`, …); before anything is sent, `DecisionInvalidError`. RunNotFoundError: The server
            does not know the run.
        """
        decision = _made(
            id=request if isinstance(request, str) else request.id,
            verdict=verdict,
            decided_by=decided_by,
            digest=digest if digest or isinstance(request, str) else request.digest,
            decision_id=decision_id or str(uuid.uuid4()),
            note=note,
            remember=None if remember is None else Remember.from_wire(remember),
        )
        if self._stores.signer is not None:
            decision = _bounded(await self._signed(self._stores.signer, decision, request))
        answer = await self._update_or_signal("decide", decision.to_wire(), _update_id(decision))
        if answer is not None:
            return Receipt.from_wire(answer)
        return Receipt(
            id=decision.id,
            verdict=decision.verdict.kind,
            decided_by=decided_by,
            decision_id=decision.decision_id,
            state="stored",
        )

    async def approve(
        self,
        request: Request | str,
        *,
        decided_by: str,
        note: str | None = None,
        arguments: JsonObject | None = None,
        decision_id: str | None = None,
        remember: Remember | RememberedFor | None = None,
    ) -> Receipt:
        """Let a call run; with *arguments*, run it with these instead. See `decide`.

        With *remember* later calls run without asking: ``"arguments"`` those with exactly these arguments, ``"tool"``
        all of this agent's tool, ``Match(command="pytest *")`` those that fit.
        """
        verdict = Approve(arguments=arguments)
        return await self.decide(
            request, verdict, decided_by=decided_by, note=note, decision_id=decision_id, remember=remember
        )

    async def reject(
        self,
        request: Request | str,
        *,
        decided_by: str,
        reason: str | None = None,
        decision_id: str | None = None,
        remember: Remember | RememberedFor | None = None,
    ) -> Receipt:
        """Do not let a call run; the model reads *reason* word for word. See `decide`, and `approve` for *remember*."""
        verdict = Reject(reason=reason)
        return await self.decide(request, verdict, decided_by=decided_by, decision_id=decision_id, remember=remember)

    async def answer(
        self,
        request: Request | str,
        output: JsonValue,
        *,
        decided_by: str,
        decision_id: str | None = None,
    ) -> Receipt:
        """Give the model *output* instead of running the call. See `decide`."""
        return await self.decide(request, Answer(output=output), decided_by=decided_by, decision_id=decision_id)

    async def grant(
        self,
        request: Request | str,
        *,
        decided_by: str,
        turns: int | None = None,
        tokens: int | None = None,
        duration: timedelta | None = None,
        decision_id: str | None = None,
    ) -> Receipt:
        """Grant an exhausted run more turns, tokens or time; it goes on where it stopped. See `decide`."""
        verdict = Grant(
            turns=turns, tokens=tokens, seconds=None if duration is None else math.ceil(duration.total_seconds())
        )
        return await self.decide(request, verdict, decided_by=decided_by, decision_id=decision_id)

    async def _signed(self, signer: Signer, decision: Decision, given: Request | str) -> Decision:
        """Sign for exactly what is asked. What does not wait (any more) is sent as it is: the run says why not."""
        description = await self._describe()
        request = given if isinstance(given, Request) else None
        if request is None:
            waiting = requests_in_memo(dict(await description.memo()))
            request = next((each for each in waiting if each.id == decision.id), None)
        if request is None:
            return decision
        run = description.raw_description.workflow_execution_info.first_run_id
        place = Place(namespace=self._client.namespace, workflow=self.id, run=run)
        _check_shown(request, place)
        if decision.digest is None:
            decision = decision.model_copy(update={"digest": request.digest})
        of = None if decision.remember is None else await self._about(description, decision, request)
        return signer.sign(decision, place, of)

    async def _about(
        self, description: WorkflowExecutionDescription, decision: Decision, request: Request
    ) -> About | None:
        """Which calls a decision answers that is to be remembered: that is signed too."""
        if request.arguments is None and decision.remember is not None and decision.remember.of != "tool":
            with typed_errors(self._client, self.id):
                answer = await self._query(description, "pending_requests")
            found = (each for each in map(Request.from_wire, answer) if each.id == request.id)
            request = next((each for each in found if each.arguments is not None), request)
            if request.arguments is None:
                raise DecisionInvalidError(
                    f"{request.id} has arguments too large to be listed whole, which a signature has to cover where it "
                    "is to be remembered for them; decide it without remember, or for the whole tool",
                    request=request.id,
                )
        return about(decision, request.tool or "", request.agent, request.arguments)

    async def decision(self, decision_id: str) -> DecisionOutcome:
        """What became of a decision: recorded, refused, or unknown yet.

        Raises:
            TimeoutError: No worker answered; the decision is not lost.
            RunNotFoundError: The server does not know the run.
        """
        description = await self._describe()
        with typed_errors(self._client, self.id):
            try:
                answer = await self._query(description, "decision", {"decision_id": decision_id})
            except RPCError as error:
                if error.status not in NO_WORKER:
                    raise
                raise TimeoutError(f"no worker of {self.id} answered; ask again when one is back") from error
        return DecisionOutcome.from_wire(answer)


def _check_shown(request: Request, place: Place) -> None:
    """Refuse to sign for anything but what is shown: the digest has to be that of this request, in this run."""
    binding = request.binding
    namespace = binding.namespace or place.namespace  # no reply has recorded it yet
    here = Place(namespace=namespace, workflow=binding.workflow, run=binding.run) == place
    whole = request.arguments_preview is None
    if not here or (whole and digest_of(binding, request.arguments) != request.digest):
        raise StaleDigestError(
            f"the digest of {request.id} is not that of what is shown, and was not signed; reload the request",
            request=request.id,
            digest=request.digest,
        )


def _made(**fields: object) -> Decision:
    """A decision that the run can read.

    Raises:
        DecisionInvalidError: It is none, is too large, or holds what is no JSON.
    """
    try:
        return _bounded(Decision.model_validate(fields))
    except ValidationError as error:
        raise DecisionInvalidError("; ".join(problems_of(error))) from None
    except PydanticSerializationError:
        raise DecisionInvalidError("a decision holds what has no JSON form, such as a lone surrogate") from None


def _bounded(decision: Decision) -> Decision:
    if decision.size > DECISION_BYTES:
        raise DecisionInvalidError(f"a decision may have {DECISION_BYTES // 1024} KiB at most", request=decision.id)
    return decision


def _update_id(decision: Decision) -> str:
    """The server answers a repeated update id with its first result, whatever the content: so the id covers it."""
    content = hashlib.sha256(decision.model_dump_json(exclude={"signature"}).encode()).hexdigest()
    return f"{decision.decision_id}:{content[:16]}"
