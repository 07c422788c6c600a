"""Signing keys, for clients that decide. Workers need none: they hold public keys (`trusted_keys`)."""

from __future__ import annotations

import base64
import hashlib
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from handfast.errors import DefinitionError
from handfast.payloads.requests import Decision
from handfast.payloads.signature import Signature
from handfast.payloads.signed import About, Place, statement

try:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
        PublicFormat,
        load_pem_private_key,
    )
except ImportError as error:
    raise ImportError("signed decisions need cryptography; pip install 'handfast[signing]'") from error

__all__ = ["Signer", "key_id_of"]


def key_id_of(public: bytes) -> str:
    """Return the default id of a key. It follows from the key, so no two keys share one by mistake."""
    return f"ed25519-{hashlib.sha256(public).hexdigest()[:16]}"


class Signer:
    """Signs decisions with an Ed25519 key.

    Attributes:
        kid: The key's id, by which workers find its public half.
        public: The public half, 32 bytes in base64, as a file of trusted keys has it.
        method: Recorded with each decision: the program that signs and so vouches for the person.
    """

    def __init__(self, key: Ed25519PrivateKey, *, key_id: str | None = None, method: str = "python") -> None:
        """Take a key.

        Args:
            key: The private key.
            key_id: Id of the key; the default follows from the key.
            method: The program that signs: *python*, *cli*, *gateway*, ….
        """
        self._key = key
        public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.kid = key_id or key_id_of(public)
        self.public = base64.b64encode(public).decode()
        self.method = method

    def __repr__(self) -> str:
        return f"Signer({self.kid!r})"

    @classmethod
    def generate(cls, *, key_id: str | None = None, method: str = "python") -> Self:
        """Make a new key."""
        return cls(Ed25519PrivateKey.generate(), key_id=key_id, method=method)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], *, key_id: str | None = None, method: str = "python") -> Self:
        """Read a key from a PEM file (PKCS8), as `save` and ``handfast keys new`` write it.

        Raises:
            DefinitionError: There is no such file, or it holds no Ed25519 key.
        """
        try:
            key = load_pem_private_key(Path(path).read_bytes(), password=None)
        except OSError as error:
            raise DefinitionError(str(path), f"the signing key cannot be read: {error.strerror}") from None
        except (ValueError, TypeError):
            raise DefinitionError(str(path), "this is no unencrypted PEM file with a private key") from None
        if not isinstance(key, Ed25519PrivateKey):
            raise DefinitionError(str(path), "this is no Ed25519 key; make one with `handfast keys new`")
        return cls(key, key_id=key_id, method=method)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the key to a new file that only its owner may read.

        Raises:
            FileExistsError: There is a file already.
        """
        pem = self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(pem)

    def sign(
        self, decision: Decision, place: Place, of: About | None = None, *, at: datetime | None = None
    ) -> Decision:
        """Return *decision* with a signature for the run at *place*.

        Args:
            decision: The decision; it names the digest of its request, and who decides.
            place: The run.
            of: Tool, agent and arguments that a remembered decision is about.
            at: Time of the decision; now by default.
        """
        time = (at or datetime.now(UTC)).astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        known = {"kid": self.kid, "at": time, "method": self.method}
        value = base64.b64encode(self._key.sign(statement(decision, place, known, of))).decode()
        return decision.model_copy(update={"signature": Signature.from_wire({**known, "value": value})})


def public_key(text: str) -> Ed25519PublicKey:
    """Read a public key as files of trusted keys have it.

    Raises:
        ValueError: *text* is no public key.
    """
    return Ed25519PublicKey.from_public_bytes(base64.b64decode(text, validate=True))
