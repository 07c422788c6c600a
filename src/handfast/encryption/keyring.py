"""Data keys by their ids: the current one encrypts, all of them decrypt."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import logging
import os
import re
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

from handfast.errors import DefinitionError, KeyMissingError, SealBrokenError

__all__ = ["EncryptionAt", "Keyring", "key_file", "keyring_named", "new_data_key"]

logger = logging.getLogger(__name__)

VARIABLE: Final = "HANDFAST_ENCRYPTION_KEYS"
KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
_KEY_ID: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,63}")
_MOST_COMPLAINTS: Final = 64
"""Missing ids that are logged: a message from outside may name any key."""


class Keyring:
    """Keys of AES-256-GCM, 32 random bytes each, by ids that are no secret.

    To rotate, first give every worker and client the new key beside the current one, then make it current; the old
    one stays for reading until no run, archive or artifact needs it. A key must not write more than 2**32 payloads.
    """

    def __init__(self, keys: Mapping[str, bytes], *, current: str, accept_plaintext: bool = False) -> None:
        """Check the keys.

        Args:
            keys: 32 bytes each, by id: up to 64 letters, digits, dots, dashes and underscores.
            current: Id of the key that writes.
            accept_plaintext: Read plain payloads too, while runs that began without encryption go on. Everybody who may
                write to the namespace can then send messages without a key.

        Raises:
            DefinitionError: A key or an id is malformed, or *cryptography* is not installed.
        """
        _cipher(bytes(KEY_BYTES))
        for id, key in keys.items():
            if not _KEY_ID.fullmatch(id):
                raise DefinitionError("Keyring", "a key's id has up to 64 letters, digits, dots, dashes, underscores")
            if len(key) != KEY_BYTES:
                raise DefinitionError("Keyring", f"the key {id!r} must have {KEY_BYTES} bytes")
        if current not in keys:
            raise DefinitionError("Keyring", f"the current key {current!r} is not among the keys")
        self._keys = dict(keys)
        self._file: tuple[Path, int] | None = None
        self._missed: set[str] = set()
        self.current = current
        self.accept_plaintext = accept_plaintext

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Keyring:
        """Read a key file: ``{"current": id, "keys": {id: base64}, "accept_plaintext"?: bool}``.

        `handfast rekey` writes one. It is read again when a key is missed and the file has changed.

        Raises:
            DefinitionError: The file cannot be read, or holds no key ring.
        """
        file = Path(path)
        try:
            found = file.stat()
            held: object = json.loads(file.read_bytes())
        except (OSError, ValueError) as error:
            raise DefinitionError("Keyring", f"{file} cannot be read as JSON ({type(error).__name__})") from None
        if found.st_mode & stat.S_IRWXO:
            logger.warning("the encryption keys in %s can be read by every account of this machine", file)
        ring = cls(**_read(file, held))
        ring._file = (file, found.st_mtime_ns)
        return ring

    def __repr__(self) -> str:
        """Return a text with the ids alone."""
        return f"Keyring({', '.join(self.ids)}; current {self.current})"

    @property
    def ids(self) -> list[str]:
        """The ids of all keys, sorted."""
        return sorted(self._keys)

    def seal(self, data: bytes, bound: bytes, purpose: str = "payload") -> tuple[str, bytes]:
        """Encrypt with the current key.

        Args:
            data: The plaintext.
            bound: Associated data: the ciphertext opens with the same alone.
            purpose: Selects keys that are derived from those of the ring.

        Returns:
            The id of the key, and the nonce followed by the ciphertext.
        """
        nonce = os.urandom(NONCE_BYTES)
        cipher = _cipher(_derived(self._keys[self.current], purpose))
        return self.current, nonce + bytes(cipher.encrypt(nonce, data, bound))

    def open(self, key_id: str, sealed: bytes, bound: bytes, purpose: str = "payload") -> bytes:
        """Decrypt.

        Raises:
            KeyMissingError: There is no such key here.
            SealBrokenError: *sealed* was changed, belongs elsewhere, or is no ciphertext.
        """
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - of an optional extra

        cipher = _cipher(_derived(self._key(key_id), purpose))
        try:
            return bytes(cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], bound))
        except (InvalidTag, ValueError):
            raise SealBrokenError from None

    def names_of(self, name: str, place: str) -> dict[str, str]:
        """Return the visible name of a file under each key, by the key's id, the current key first.

        The name is a keyed digest of the real one: a digest of the content would confirm a guess at it.
        """
        ids = [self.current, *(id for id in self.ids if id != self.current)]
        message = json.dumps([place, name]).encode()
        return {id: hmac.new(_derived(self._keys[id], "name"), message, hashlib.sha256).hexdigest() for id in ids}

    def _key(self, id: str) -> bytes:
        if id not in self._keys:
            self._read_again()
        if id in self._keys:
            return self._keys[id]
        if id not in self._missed and len(self._missed) < _MOST_COMPLAINTS and _KEY_ID.fullmatch(id):
            self._missed.add(id)
            logger.error(
                "the encryption key %r is not in this key ring, which has %s: what was written with it waits until it "
                "is; add it to the file that %s names",
                id,
                ", ".join(self.ids),
                VARIABLE,
            )
        raise KeyMissingError(id if _KEY_ID.fullmatch(id) else "?")

    def _read_again(self) -> None:
        if self._file is None:
            return
        path, read_at = self._file
        try:
            if path.stat().st_mtime_ns == read_at:
                return
            fresh = Keyring.from_file(path)
        except (OSError, DefinitionError) as error:
            logger.error("the encryption keys in %s changed, and cannot be used: %s", path, type(error).__name__)
            return
        self._keys, self._file, self.current = fresh._keys, fresh._file, fresh.current
        self.accept_plaintext = fresh.accept_plaintext


EncryptionAt: TypeAlias = Keyring | str | os.PathLike[str] | bool | None
"""A key ring, the file that holds one, False for none, or None for the file that ``HANDFAST_ENCRYPTION_KEYS`` names."""


def keyring_named(encryption: EncryptionAt, subject: str = "HandfastPlugin") -> Keyring | None:
    """Return the key ring that *encryption* or the environment names; None for no encryption.

    Raises:
        DefinitionError: The name leads to no key ring.
    """
    if encryption is None:
        encryption = os.environ.get(VARIABLE) or False
    if encryption is False:
        return None
    if isinstance(encryption, Keyring):
        return encryption
    if encryption is True or not isinstance(encryption, str | os.PathLike):
        raise DefinitionError(subject, "encryption must be a Keyring, or the path of a file that holds one")
    return Keyring.from_file(encryption)


def new_data_key() -> str:
    """Make a new key, as a key file has it."""
    return base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()


def key_file(path: Path, id: str, *, current: bool) -> dict[str, Any]:
    """Return the content of a key file with a new key added.

    Args:
        path: The file; it need not exist.
        id: Id of the new key.
        current: True lets the new key encrypt from now on; in a new file it does anyway.

    Raises:
        DefinitionError: The file holds no key ring, or has that key already.
    """
    held: dict[str, Any] = {"current": id, "keys": {}}
    if path.exists():
        Keyring.from_file(path)
        held = json.loads(path.read_bytes())
    if id in held["keys"]:
        raise DefinitionError("Keyring", f"{path} has a key {id!r} already: it must not be replaced")
    held["keys"][id] = new_data_key()
    held["current"] = id if current else held["current"]
    return held


def _read(file: Path, held: object) -> dict[str, Any]:
    wrong = DefinitionError("Keyring", f'{file} must hold {{"current": id, "keys": {{id: base64 of 32 bytes}}}}')
    if not isinstance(held, dict) or not isinstance(held.get("keys"), dict) or not isinstance(held.get("current"), str):
        raise wrong
    plaintext = held.get("accept_plaintext", False)
    if not isinstance(plaintext, bool):
        raise wrong
    try:
        keys = {id: base64.b64decode(key, validate=True) for id, key in held["keys"].items()}
    except (TypeError, ValueError, binascii.Error):
        raise wrong from None
    return {"keys": keys, "current": held["current"], "accept_plaintext": plaintext}


def _derived(key: bytes, purpose: str) -> bytes:
    return hmac.new(key, f"handfast {purpose} v1".encode(), hashlib.sha256).digest()


def _cipher(key: bytes) -> Any:
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415 - of an optional extra
    except ImportError:
        raise DefinitionError("Keyring", "encryption needs cryptography; install 'handfast[encryption]'") from None
    return AESGCM(key)
