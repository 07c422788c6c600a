"""Proofs that a person let a call run, for the tool's wrapper, which checks them once more."""

from __future__ import annotations

from handfast.payloads.base import Instant, Payload
from handfast.payloads.binding import Binding
from handfast.payloads.requests import Decision


class Proofs(Payload):
    """The signed decisions behind a call.

    Attributes:
        decisions: Those that released it, one for each person.
        at: Block where they stand that are too large to travel.
        quorum: How many people it takes; None is one.
        expired: The deadline that released it, by its default.
        again: The decision to run it again, where there has to be one (`reruns`) as it had begun before; `doubt` is
            what the digest of that request covers besides the arguments.
    """

    decisions: list[Decision] = []
    at: str | None = None
    quorum: int | None = None
    expired: Instant | None = None
    again: Decision | None = None
    doubt: Binding | None = None
    reruns: bool | None = None
