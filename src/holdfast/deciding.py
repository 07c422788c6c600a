"""Deciding a request, verdict by verdict."""

from __future__ import annotations

from abc import ABC, abstractmethod

from holdfast.payloads.json_profile import JsonObject, JsonValue
from holdfast.payloads.remember import Remember, RememberedFor
from holdfast.payloads.requests import Answer, Approve, Grant, Receipt, Reject, Request, Verdict


class Deciding(ABC):
    """The verdicts as methods; `decide` takes them all."""

    @abstractmethod
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
        """Decide one request."""

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
        decision_id: str | None = None,
    ) -> Receipt:
        """Grant an exhausted run more turns or tokens; it goes on where it stopped. See `decide`."""
        verdict = Grant(turns=turns, tokens=tokens)
        return await self.decide(request, verdict, decided_by=decided_by, decision_id=decision_id)
