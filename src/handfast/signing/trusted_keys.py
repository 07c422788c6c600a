"""Check signatures with the public keys that a worker trusts. Without private keys a worker cannot sign."""

from __future__ import annotations

import base64
import logging
import os
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Literal, Self

from cryptography.exceptions import InvalidSignature
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from handfast.errors import (
    ClockSkewError,
    DefinitionError,
    JsonProfileError,
    KeysUnavailableError,
    SignatureInvalidError,
    SignerNotAllowedError,
    SigningKeyRetiredError,
    SigningKeyUnknownError,
)
from handfast.payloads.base import problems_of
from handfast.payloads.json_profile import parse_json
from handfast.payloads.people import REVIEWER, is_reviewer, person
from handfast.payloads.requests import Decision
from handfast.payloads.signature import Signature
from handfast.payloads.signed import About, Place, statement, unsigned
from handfast.signing.signer import public_key

logger = logging.getLogger(__name__)

__all__ = ["SKEW", "TrustedKey", "TrustedKeys"]

SKEW: Final = timedelta(minutes=5)
"""Largest difference between the signer's clock and the worker's, either way.

Who decides by update is answered within seconds, so such a signature must not be older either. A signal may be: the
server may have kept it while no worker ran. It must not be older than its request."""


ONE_OF_BOTH: Final = "a key signs for people or for reviewers, not for both; make the reviewers one of their own"


class TrustedKey(BaseModel):
    """A public key and what it may sign.

    Attributes:
        public: The key, 32 bytes in base64.
        state: *active*: it may sign decisions. *verify_only*: what was decided with it stands, and nothing new is.
        signs_for: ``"*"`` for a key that vouches for whomever it names, as that of a gateway; else the names of the
            people, mostly one, whose own key it is. A reviewer is no person: a worker's key names it
            (``reviewer:judge``), or all of them (``reviewer:*``), and nobody else.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", hide_input_in_errors=True)

    public: str
    state: Literal["active", "verify_only"] = "active"
    signs_for: Literal["*"] | list[str]

    @field_validator("public")
    @classmethod
    def _check(cls, value: str) -> str:
        public_key(value)
        return value

    @field_validator("signs_for")
    @classmethod
    def _check_names(cls, value: Literal["*"] | list[str]) -> Literal["*"] | list[str]:
        if value != "*" and 0 < sum(map(is_reviewer, value)) < len(value):
            raise ValueError(
                "a key signs for people or for reviewers, not for both; make the reviewers one of their own"
            )
        return value

    @property
    def is_of_reviewers(self) -> bool:
        """True for a key by which a worker signs what its reviewers decide: no person decides with it."""
        return self.signs_for != "*" and any(map(is_reviewer, self.signs_for))

    def may_sign_for(self, name: str) -> bool:
        """Return True where the key vouches for that name."""
        named = set() if self.signs_for == "*" else {person(each) for each in self.signs_for}
        if is_reviewer(name):
            return bool({person(name), f"{REVIEWER}*"} & named)
        return self.signs_for == "*" or person(name) in named


def signs_for_both(names: Collection[str]) -> bool:
    """Return whether there are people and reviewers among the names that a key signs for."""
    return 0 < sum(map(is_reviewer, names)) < len(names)


class _Ring(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", hide_input_in_errors=True)

    keys: dict[str, TrustedKey]


class TrustedKeys:
    """The keys by which a worker verifies who made a decision.

    A key that was removed is *retired*: nothing that it signed counts, not even earlier decisions.
    """

    def __init__(self, keys: Mapping[str, TrustedKey]) -> None:
        """Trust these keys, by key id."""
        self._keys = dict(keys)
        self._path: Path | None = None
        self._read: tuple[int, int, int] | None = None

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Self:
        """Trust the keys of a JSON file, which is read again whenever it changes.

        ::

            {"keys": {"ed25519-…": {"public": "…", "state": "active", "signs_for": "*"}}}

        Raises:
            DefinitionError: There is no such file, or it holds something else.
        """
        trusted = cls({})
        trusted._path = Path(path)
        try:
            trusted._refresh()
        except KeysUnavailableError as error:
            raise DefinitionError("trusted keys", f"{path} cannot be read: {error.__cause__}") from None
        return trusted

    @property
    def keys(self) -> dict[str, TrustedKey]:
        """The keys as they are now.

        Raises:
            KeysUnavailableError: The file is gone, or holds something else now.
        """
        self._refresh()
        return self._keys

    def check_new(
        self,
        decision: Decision,
        place: Place,
        *,
        requested_at: datetime,
        of: About | None = None,
        stored: bool = False,
        now: datetime | None = None,
    ) -> None:
        """Refuse a decision that comes in, unless an active key has signed it for this request, now.

        Args:
            decision: The decision with its signature.
            place: The run that received the decision.
            requested_at: Time at which its request opened.
            of: Tool, agent and arguments that a remembered decision is about.
            stored: The decision came by signal, which may have waited for a worker.
            now: The time by the worker's clock.

        Raises:
            RefusalError: A subclass says what is wrong with the decision.
        """
        signature = self._check(decision, place, of, states=("active",))
        now = now or datetime.now(UTC)
        latest, earliest = now + SKEW, requested_at - SKEW
        if not stored:
            earliest = max(earliest, now - SKEW)
        if not earliest <= signature.time <= latest:
            raise ClockSkewError(
                f"{decision.id} was decided at {signature.at} by the clock of {signature.kid}, and that is no time at "
                f"which it can have been: it is {now:%Y-%m-%dT%H:%M:%SZ} here, and the request opened at "
                f"{requested_at:%Y-%m-%dT%H:%M:%SZ}; set the clocks, and sign anew",
                request=decision.id,
                rule="clock_skew",
                signed_at=signature.at,
                now=now.isoformat(),
            )

    def check_old(self, decision: Decision, place: Place, of: About | None = None) -> None:
        """Refuse a decision that was taken before, unless a key that is still there has signed it.

        Raises:
            RefusalError: A subclass as in `check_new`; times are not checked.
        """
        self._check(decision, place, of, states=("active", "verify_only"))

    # --- inside ---

    def _check(self, decision: Decision, place: Place, of: About | None, states: tuple[str, ...]) -> Signature:
        signature = decision.signature
        if signature is None:
            raise unsigned(decision.id)
        key = self.keys.get(signature.kid)
        if key is None:
            raise SigningKeyUnknownError(
                f"{decision.id} was decided with the key {signature.kid}, which is not trusted here (any more); sign "
                "with one that is",
                request=decision.id,
                kid=signature.kid,
            )
        known = {"kid": signature.kid, "at": signature.at, "method": signature.method}
        try:
            public_key(key.public).verify(base64.b64decode(signature.value), statement(decision, place, known, of))
        except InvalidSignature:
            raise SignatureInvalidError(
                f"the signature of {signature.kid} is not for this decision: something in it was changed, or it was "
                "made for another run, request or namespace; reload the request and decide again",
                request=decision.id,
                kid=signature.kid,
            ) from None
        if decision.digest is None or decision.decided_by is None:
            raise SignatureInvalidError(
                f"a signed decision names the digest of its request and who decides; {decision.id} does not",
                request=decision.id,
                kid=signature.kid,
            )
        if key.state not in states:
            raise SigningKeyRetiredError(
                f"the key {signature.kid} is kept to verify what was decided before, and decides nothing new; sign "
                "with an active one",
                request=decision.id,
                kid=signature.kid,
            )
        if not key.may_sign_for(decision.decided_by):
            raise SignerNotAllowedError(
                f"the key {signature.kid} does not sign for {decision.decided_by}",
                request=decision.id,
                kid=signature.kid,
                decided_by=decision.decided_by,
            )
        return signature

    def _refresh(self) -> None:
        """Read the file again where it has changed. If that fails, the keys that it held are trusted no more."""
        if self._path is None:
            return
        try:
            found = self._path.stat()
            seen = (found.st_mtime_ns, found.st_size, found.st_ino)
            if seen == self._read:
                return
            self._keys = read_ring(self._path)
        except (OSError, JsonProfileError, ValidationError, UnicodeDecodeError) as error:
            self._read = None
            why = "; ".join(problems_of(error)) if isinstance(error, ValidationError) else str(error)
            logger.error("the trusted keys in %s cannot be read: %s", self._path, why)
            raise KeysUnavailableError(
                "no decision can be verified: the worker's trusted keys cannot be read; its log says why"
            ) from error
        self._read = seen


def read_ring(path: Path) -> dict[str, TrustedKey]:
    """Read a file of trusted keys.

    Raises:
        OSError: The file cannot be read.
        JsonProfileError, ValidationError: The file holds something else.
    """
    return _Ring.model_validate(parse_json(path.read_text("utf-8"))).keys
