"""Finds out which groups a person is in: by the application's own mapping or function, when a decision comes in."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from concurrent.futures import Executor
from typing import Final

from handfast.activities.user_code import UserCodeError, call_user_code
from handfast.approval import Groups
from handfast.payloads.evaluation import Evaluated, LookUpGroups
from handfast.payloads.people import GROUP, person

LOOKUP_S: Final = 10.0
"""How long a lookup of groups may take before the decision is refused."""


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
