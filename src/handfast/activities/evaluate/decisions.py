"""Checks signatures by the worker's keys: for updates as a function of the worker, for signals as an activity."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from temporalio.exceptions import ApplicationError

from handfast.errors import KeysUnavailableError, RefusalError
from handfast.payloads.evaluation import Evaluated
from handfast.payloads.json_profile import JsonObject
from handfast.payloads.requests import Decision
from handfast.payloads.signed import Refusal, VerifyDecision

if TYPE_CHECKING:
    from handfast.signing.trusted_keys import TrustedKeys
import asyncio
from collections.abc import Collection, Iterable
from concurrent.futures import Executor
from typing import Final

from handfast.activities.runtime.user_code import UserCodeError, call_user_code
from handfast.definitions.gates.approval import Groups
from handfast.payloads.evaluation import LookUpGroups
from handfast.payloads.people import GROUP, person

LOOKUP_S: Final = 10.0
"""How long a lookup of groups may take before the decision is refused."""


def refusal_of(asked: VerifyDecision, trusted: TrustedKeys) -> Refusal | None:
    """Why a decision does not count; None where it does."""
    try:
        trusted.check_new(
            Decision.from_wire(asked.decision),
            asked.place,
            requested_at=datetime.fromisoformat(asked.requested_at),
            of=asked.of,
            stored=bool(asked.stored),
        )
    except RefusalError as refusal:
        facts = {name: value for name, value in refusal.facts.items() if value is not None}
        return Refusal(type=type(refusal).__name__, message=refusal.message, facts=facts)
    return None


def verifier(trusted: TrustedKeys) -> Callable[[JsonObject], JsonObject | None]:
    """The function that validators call. Plain JSON in and out: it crosses the border of a sandbox."""

    def verify(asked: JsonObject) -> JsonObject | None:
        refused = refusal_of(VerifyDecision.from_wire(asked), trusted)
        return None if refused is None else refused.to_wire()

    return verify


def verified(asked: VerifyDecision, trusted: TrustedKeys | None) -> Evaluated:
    """Answer the activity.

    Raises:
        ApplicationError: This worker cannot tell; another may.
    """
    if trusted is None:
        raise ApplicationError("this worker has no keys to verify a decision with", type="Missing")
    refused = refusal_of(asked, trusted)
    if refused is not None and refused.type == KeysUnavailableError.__name__:
        raise ApplicationError(refused.message, type="Missing")
    return Evaluated(refused=refused)


async def look_up_groups(asked: LookUpGroups, groups: Groups | None, threads: Executor) -> Evaluated:
    """Say which of the groups the person is in; every failure is a problem, which refuses the decision."""
    if groups is None:
        return Evaluated(problem="this worker knows no groups; give HandfastPlugin(groups=…)")
    if not callable(groups):
        who = person(asked.person)
        found: object = [name for name, members in groups.items() if who in {person(each) for each in members}]
    else:
        try:
            found = await asyncio.wait_for(call_user_code(groups, asked.person, threads=threads), LOOKUP_S)
        except TimeoutError:
            return Evaluated(problem=f"the lookup of groups took longer than {LOOKUP_S:g} s")
        except UserCodeError as error:
            return Evaluated(problem=f"the lookup of groups raised {error.kind}")
    names = _names(found)
    if names is None:
        return Evaluated(problem=f"the lookup of groups answered {type(found).__name__}, not a list of names")
    return Evaluated(groups=[group for group in asked.groups if group.removeprefix(GROUP) in names])


def _names(found: object) -> Collection[str] | None:
    if isinstance(found, str) or not isinstance(found, Iterable):
        return None
    names = list(found)
    if not all(isinstance(name, str) for name in names):
        return None
    return {name.removeprefix(GROUP) for name in names}
