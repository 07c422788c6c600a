"""Signing keys, files of trusted keys, and the statement that is signed."""

from __future__ import annotations

import base64
import re
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from handfast import Approve, Decision, Signer, TrustedKeys
from handfast.errors import (
    ClockSkewError,
    DefinitionError,
    KeysUnavailableError,
    RefusalError,
    SigningKeyRetiredError,
    SigningKeyUnknownError,
)
from handfast.payloads.requests import Reject
from handfast.payloads.signed import Place, about
from support.signing import trusted, write_ring

PLACE = Place(namespace="default", workflow="ticket-7", run="0198b7f2-6f5c-7d1a-9a53-0e8f4d1a2b3c")
AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
PUBLIC = "A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg="


def decision(**update: object) -> Decision:
    """A decision that could be signed."""
    return Decision(id="r", verdict=Approve(), decided_by="ana", digest="v1:0").model_copy(update=update)


def test_a_key_goes_into_a_file_of_its_owner_and_back(tmp_path: Path) -> None:
    """A saved key is readable by its owner alone, is never overwritten, and is the same when it is read."""
    signer, path = Signer.generate(), tmp_path / "key.pem"
    signer.save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(FileExistsError):
        Signer.generate().save(path)
    again = Signer.from_file(path)
    assert (again.kid, again.public) == (signer.kid, signer.public)
    assert signer.public not in repr(signer)


@pytest.mark.parametrize("content", [None, b"", b"no key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n"])
def test_what_is_no_key_is_refused(tmp_path: Path, content: bytes | None) -> None:
    """A missing or broken key file is an error that names the file and nothing of what is in it."""
    path = tmp_path / "key.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DefinitionError, match=re.escape(str(path))):
        Signer.from_file(path)


@pytest.mark.parametrize(
    "ring",
    [
        "",
        "[]",
        '{"keys": {"a": {"public": "AAAA", "signs_for": "*"}}}',
        f'{{"keys": {{"a": {{"public": "{PUBLIC}"}}}}}}',
        f'{{"keys": {{"a": {{"public": "{PUBLIC}", "signs_for": "*", "sate": "active"}}}}}}',
        f'{{"keys": {{"a": {{"public": "{PUBLIC}", "signs_for": "ana"}}}}}}',
        '{"keys": {}, "keys": {}}',
    ],
)
def test_what_is_no_file_of_trusted_keys_is_refused(tmp_path: Path, ring: str) -> None:
    """A file with a typo, a broken key, or nobody to sign for is refused when the worker is made."""
    path = tmp_path / "trusted.json"
    path.write_text(ring)
    with pytest.raises(DefinitionError, match="trusted keys"):
        TrustedKeys.from_file(path)


def test_the_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    """A key may be added, kept for old decisions alone, and taken out, while the worker runs."""
    old, new = Signer.generate(), Signer.generate()
    path = write_ring(tmp_path / "trusted.json", {old.kid: trusted(old)})
    ring = TrustedKeys.from_file(path)
    by_old, by_new = (each.sign(decision(), PLACE, at=AT) for each in (old, new))

    def check(what: Decision) -> None:
        ring.check_new(what, PLACE, requested_at=AT, now=AT)

    check(by_old)
    with pytest.raises(SigningKeyUnknownError):
        check(by_new)
    write_ring(path, {old.kid: trusted(old, state="verify_only"), new.kid: trusted(new)})
    check(by_new)
    with pytest.raises(SigningKeyRetiredError):
        check(by_old)
    ring.check_old(by_old, PLACE)
    write_ring(path, {new.kid: trusted(new)})
    with pytest.raises(SigningKeyUnknownError):
        ring.check_old(by_old, PLACE)
    path.write_text("{")
    for _ in range(2):
        with pytest.raises(KeysUnavailableError) as unavailable:
            check(by_new)
        assert str(path) not in unavailable.value.message
    write_ring(path, {new.kid: trusted(new)})
    check(by_new)


def test_times_of_a_signature() -> None:
    """Five minutes either way by update; a stored signal may be older, but not older than its request."""
    signer = Signer.generate()
    ring = TrustedKeys({signer.kid: trusted(signer)})
    day = timedelta(days=1)

    def taken(at: datetime, *, stored: bool = False) -> bool:
        try:
            ring.check_new(signer.sign(decision(), PLACE, at=at), PLACE, requested_at=AT, now=AT + day, stored=stored)
        except ClockSkewError:
            return False
        return True

    minutes = timedelta(minutes=1)
    assert [taken(AT + day + each * minutes) for each in (-6, -5, 0, 5, 6)] == [False, True, True, True, False]
    stored = [AT - 6 * minutes, AT - 5 * minutes, AT, AT + day + 6 * minutes]
    assert [taken(each, stored=True) for each in stored] == [False, True, True, False]


@pytest.mark.parametrize(
    ("remember", "fits", "strays"),
    [
        ("tool", ["run", "clerk", {"x": 2}], ["stop", "clerk", {"x": 1}]),
        ("arguments", ["run", "clerk", {"x": 1}], ["run", "clerk", {"x": 2}]),
        ("tool", ["run", "clerk", {}], ["run", "other", {}]),
        ({"for": "tool", "scope": "run"}, ["run", "other", {}], ["stop", "other", {}]),
        ({"match": {"x": "a *"}}, ["run", "clerk", {"x": "a c", "y": 1}], ["run", "clerk", {"x": "a c", "y": 2}]),
    ],
)
def test_a_remembered_decision_is_signed_for_the_calls_that_it_answers(
    remember: object, fits: list[str], strays: list[str]
) -> None:
    """What it answers is part of what is signed: for a call of another tool, agent or argument it is no signature."""
    signer = Signer.generate()
    ring = TrustedKeys({signer.kid: trusted(signer)})
    wire = {**decision().to_wire(), "remember": remember}
    said = Decision.from_wire(wire)
    asked = about(
        said, "run", "clerk", {"x": "a", "y": 1} if isinstance(remember, dict) and "match" in remember else {"x": 1}
    )
    made = signer.sign(said, PLACE, asked, at=AT)
    ring.check_old(made, PLACE, about(made, *fits))  # type: ignore[arg-type] # the table is made for reading
    with pytest.raises(RefusalError, match="not for this decision"):
        ring.check_old(made, PLACE, about(made, *strays))  # type: ignore[arg-type] # likewise
    with pytest.raises(RefusalError, match="not for this decision"):
        ring.check_old(made, PLACE)


def test_a_signature_is_of_one_verdict() -> None:
    """Every field of a decision is covered."""
    signer = Signer.generate()
    ring = TrustedKeys({signer.kid: trusted(signer)})
    made = signer.sign(decision(note="x"), PLACE, at=AT)
    ring.check_old(made, PLACE)
    assert made.signature is not None
    broken = base64.b64encode(bytes(64)).decode()
    for update in (
        {"id": "s"},
        {"verdict": Reject()},
        {"verdict": Approve(arguments={})},
        {"decided_by": "bob"},
        {"digest": "v1:1"},
        {"decision_id": "d"},
        {"note": None},
        {"signature": made.signature.model_copy(update={"value": broken})},
    ):
        with pytest.raises(RefusalError, match="not for this decision"):
            ring.check_old(made.model_copy(update=update), PLACE)
    for place in ({"namespace": "n"}, {"workflow": "w"}, {"run": "r"}):
        with pytest.raises(RefusalError, match="not for this decision"):
            ring.check_old(made, PLACE.model_copy(update=place))
