"""Who is the same person: wherever names are compared."""

from __future__ import annotations

import pytest

from handfast.errors import AlreadyVotedError, RequesterExcludedError
from handfast.payloads.people import named, person
from handfast.payloads.requests import Approve
from support.books import book, decision, request, take

SPELLINGS = ["ann", "Ann", " ann ", "user:ann", "User:ann", "USER: Ann", "ａｎｎ", "ｕｓｅｒ：ann"]  # noqa: RUF001


@pytest.mark.parametrize("name", SPELLINGS)
def test_one_person_counts_once_however_the_name_is_written(name: str) -> None:
    """XB7: case, spaces, width and the prefix make no other person: for a quorum, for who asked, for who may decide."""
    assert person(name) == "ann"
    assert named(name, ["user:ann"])
    ledger = book(request(quorum=2), request("r2", exclude_requester=True, requested_by="ann"))
    take(ledger, decision(Approve(), "ann"))
    with pytest.raises(AlreadyVotedError):
        take(ledger, decision(Approve(), name))
    with pytest.raises(RequesterExcludedError):
        take(ledger, decision(Approve(), name, "r2"))


def test_another_name_is_another_person() -> None:
    """P8: nothing else is taken off a name, and a group is no person."""
    assert len({person(name) for name in ("ann", "anna", "superuser:ann", "user ann", "user:user:ann")}) == 5
    assert not named("group:ann", ["ann"])
