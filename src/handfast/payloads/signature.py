"""A signature on a decision, and the key that made it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Final

from pydantic import AfterValidator, StringConstraints

from handfast.payloads.base import Payload

_INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z", re.ASCII)


def _instant(text: str) -> str:
    if _INSTANT.fullmatch(text) is None:
        raise ValueError("a time in UTC is expected, as in 2026-01-02T03:04:05Z")
    datetime.fromisoformat(text)
    return text


KeyId = Annotated[str, StringConstraints(min_length=1, max_length=128)]
Method = Annotated[str, StringConstraints(min_length=1, max_length=32)]


class Signature(Payload):
    """An Ed25519 signature over the statement of a decision.

    Attributes:
        kid: Of the key that signed.
        at: When; text, as it is signed letter by letter.
        value: The 64 bytes in base64.
    """

    kid: KeyId
    at: Annotated[str, AfterValidator(_instant)]
    method: Method
    value: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9+/]{86}==$")]

    @property
    def time(self) -> datetime:
        """Return `at` as a datetime."""
        return datetime.fromisoformat(self.at).astimezone(UTC)

    @property
    def signed_by(self) -> SignedBy:
        """Return the part of the signature that is recorded."""
        return SignedBy(kid=self.kid, method=self.method)


class SignedBy(Payload):
    """The key that vouches for a name. Without it the name is claimed.

    Attributes:
        method: What signed, as it says itself: *cli*, *python*, *gateway*, …
    """

    kid: KeyId
    method: Method
