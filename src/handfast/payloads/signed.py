"""The statement that a decision's signature covers. No cryptography in here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

from handfast.payloads.base import Payload
from handfast.payloads.canonical import canonical_json, sha256_digest
from handfast.payloads.json_profile import JsonObject
from handfast.payloads.refusals import DecisionUnsignedError
from handfast.payloads.requests import Decision

STATEMENT: Final = "handfast-decision-1"
"""Says in every signed statement what it is: a signature over anything else of the same key is none of a decision."""


class Place(Payload):
    """Place of a decision: namespace, workflow id, and run id of the first history under it."""

    namespace: str
    workflow: str
    run: str


class About(Payload):
    """Calls that a decision to be remembered answers.

    Attributes:
        agent: None where it answers those of every agent.
        arguments: Digest of the arguments, without those that have a pattern; None where it answers any.
    """

    tool: str
    agent: str | None = None
    arguments: str | None = None


def about(decision: Decision, tool: str, agent: str, arguments: Mapping[str, Any] | None) -> About | None:
    """Return the calls that a decision to be remembered answers; None for any other decision.

    Args:
        decision: Says how far it reaches.
        tool: Of the call.
        agent: Whose call it is.
        arguments: The call's, whole.
    """
    asked = decision.remember
    if asked is None:
        return None
    return About(
        tool=tool,
        agent=agent if asked.scope == "agent" else None,
        arguments=None if asked.of == "tool" else arguments_digest(arguments or {}, asked.match or ()),
    )


def arguments_digest(arguments: Mapping[str, Any], without: Mapping[str, str] | tuple[()] = ()) -> str:
    """Return a digest of arguments, without those that have a pattern."""
    return sha256_digest({name: value for name, value in arguments.items() if name not in without})


def statement(decision: Decision, place: Place, signature: JsonObject, of: About | None = None) -> bytes:
    """Return the bytes that are signed: the canonical JSON of a decision and of its place.

    Args:
        decision: Its own signature is not looked at.
        place: The run that it is for.
        signature: *kid*, *at* and *method* of the signature that is made or checked.
        of: For a decision that is to be remembered.
    """
    wire = decision.to_wire()
    said = {name: value for name, value in wire.items() if name not in ("id", "signature")}
    known = {name: signature[name] for name in ("kid", "at", "method")}
    covered: JsonObject = {**said, **place.to_wire(), **known, "v": STATEMENT, "request": decision.id}
    if of is not None:
        covered["about"] = of.to_wire()
    return canonical_json(covered)


def unsigned(request_id: str) -> DecisionUnsignedError:
    """Return the refusal of a decision without signature."""
    return DecisionUnsignedError(
        f"{request_id} takes signed decisions only; decide with a signing key (Handfast(signer=…), or "
        "HANDFAST_SIGNING_KEY for the command line)",
        request=request_id,
    )


class Refusal(Payload):
    """A refusal as it travels: the class, the text, the facts."""

    type: str
    message: str
    facts: JsonObject = {}


class DecisionVerified(Payload):
    """The answer of a verifier: why a decision does not count; None: it does."""

    refused: Refusal | None = None


class VerifyDecision(Payload):
    """Check a decision's signature under today's keys and by the worker's clock.

    Attributes:
        requested_at: When its request opened.
        of: For a decision that is to be remembered, taken from the request.
        stored: It came as a signal, which may have waited for a worker for days.
    """

    kind: Literal["verify_decision"] = "verify_decision"
    decision: JsonObject
    place: Place
    requested_at: str
    of: About | None = None
    stored: bool | None = None

    def read(self, answer: object) -> DecisionVerified:
        """See `Question`."""
        return DecisionVerified.from_wire(answer)


VERIFY: Final = "handfast.verify_decision"
"""Name, among the SDK's extern functions, of the worker's own by which an update's validator checks a signature."""


class RefusedDecision(Payload):
    """A decision that did not count, as a worker in production mode logs it.

    Attributes:
        run: The workflow id.
        key: Id of the key that its signature names.
        by: The name that it claims.
        type: The class of the refusal.
        way: How it came in.
    """

    run: str
    request: str | None = None
    key: str | None = None
    by: str | None = None
    type: str
    way: Literal["update", "signal"]


REFUSED: Final = "handfast.refused_decision"
"""Likewise, of the function that is told of each decision that did not count."""
