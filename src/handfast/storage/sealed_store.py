"""An encrypted store: without the key ring its files can be neither read nor recognised."""

from __future__ import annotations

import json
from typing import Final

from handfast.encryption.keyring import Keyring
from handfast.errors import KeyMissingError, SealBrokenError
from handfast.storage.artifacts import ArtifactStore

__all__ = ["SealedStore", "sealed_store"]

_MAGIC: Final = b"HFS1"


class SealedStore:
    """See `ArtifactStore`. Each file is bound to its name and place, and says which key wrote it.

    Its name in the store below is a keyed digest of the real one, so that it tells nothing of the content.
    """

    def __init__(self, below: ArtifactStore, keyring: Keyring, place: str = "") -> None:
        """Take the store that keeps the files."""
        self._below = below
        self._keyring = keyring
        self._place = place

    def write(self, name: str, data: bytes) -> None:
        """See `ArtifactStore`. A file that opens to the same data stays: sealed again it would have other bytes."""
        try:
            if self.read(name) == data:
                return
        except (FileNotFoundError, SealBrokenError, KeyMissingError):
            pass
        key, sealed = self._keyring.seal(data, self._bound(name), "artifact")
        head = _MAGIC + bytes([len(key)]) + key.encode()
        self._below.write(self._keyring.names_of(name, self._place)[key], head + sealed)

    def read(self, name: str) -> bytes:
        """See `ArtifactStore`. Files from before there was a key ring are read where it accepts plaintext.

        Raises:
            FileNotFoundError: There is nothing under that name that these keys can find.
            SealBrokenError: The file was changed.
        """
        for hidden in self._keyring.names_of(name, self._place).values():
            try:
                return self._opened(name, self._below.read(hidden))
            except FileNotFoundError:
                continue
        if self._keyring.accept_plaintext:
            return self._below.read(name)
        raise FileNotFoundError(name)

    def names(self) -> list[str]:
        """List the names in the store below; it does not hold the real ones."""
        return self._below.names()

    def erase(self) -> list[str]:
        """See `ArtifactStore`."""
        return self._below.erase()

    def below(self, name: str) -> SealedStore:
        """See `ArtifactStore`."""
        return SealedStore(self._below.below(name), self._keyring, f"{self._place}/{name}")

    def _opened(self, name: str, data: bytes) -> bytes:
        if not data.startswith(_MAGIC) or len(data) <= len(_MAGIC):
            raise SealBrokenError
        start = len(_MAGIC) + 1
        end = start + data[start - 1]
        key = data[start:end].decode(errors="replace")
        return self._keyring.open(key, data[end:], self._bound(name), "artifact")

    def _bound(self, name: str) -> bytes:
        return json.dumps([self._place, name]).encode()


def sealed_store(store: ArtifactStore | None, keyring: Keyring | None) -> ArtifactStore | None:
    """Return *store*, encrypted where there is a key ring."""
    return store if store is None or keyring is None else SealedStore(store, keyring)
