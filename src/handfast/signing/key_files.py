"""Load the signing key of a client and the trusted keys of a worker, from an option or the environment."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from handfast.errors import DefinitionError

if TYPE_CHECKING:
    from handfast.signing.signer import Signer
    from handfast.signing.trusted_keys import TrustedKeys

KeyFile = str | os.PathLike[str]
Keys = TypeVar("Keys")


def signer_at(given: Signer | KeyFile | None, method: str = "python") -> Signer | None:
    """Return the signing key of a client: *given*, else the file that ``HANDFAST_SIGNING_KEY`` names, else None.

    Raises:
        DefinitionError: The file cannot be read, or the extra ``signing`` is not installed.
    """

    def load() -> tuple[type[Signer], Callable[[KeyFile], Signer]]:
        from handfast.signing.signer import Signer  # noqa: PLC0415 - needs an optional extra

        return Signer, lambda path: Signer.from_file(path, method=method)

    return _keys_at(given, "HANDFAST_SIGNING_KEY", "signing key", load)


def reviewer_key_at(given: Signer | KeyFile | None) -> Signer | None:
    """Return the key by which a worker signs what its reviewers decide: *given*, else that of
    ``HANDFAST_REVIEWER_KEY``, else None.

    Raises:
        DefinitionError: The file cannot be read, or the extra ``signing`` is not installed.
    """

    def load() -> tuple[type[Signer], Callable[[KeyFile], Signer]]:
        from handfast.signing.signer import Signer  # noqa: PLC0415 - needs an optional extra

        return Signer, lambda path: Signer.from_file(path, method="reviewer")

    return _keys_at(given, "HANDFAST_REVIEWER_KEY", "reviewer key", load)


def sample_key_at(given: bytes | KeyFile | None) -> bytes:
    """Return the key that draws the requests which people decide whatever a reviewer says: *given*, else the content
    of the file that ``HANDFAST_SAMPLE_KEY`` names, else an empty one.

    Raises:
        DefinitionError: The file cannot be read, or is empty.
    """
    if isinstance(given, bytes):
        return given
    found = given or os.environ.get("HANDFAST_SAMPLE_KEY") or None
    if found is None:
        return b""
    if not isinstance(found, str | os.PathLike):
        raise DefinitionError("sample key", f"bytes or the path of a file are wanted, not {type(found).__name__}")
    try:
        key = Path(found).read_bytes().strip()
    except OSError as error:
        raise DefinitionError("sample key", f"{found} cannot be read: {error.strerror}") from None
    if not key:
        raise DefinitionError("sample key", f"{found} is empty")
    return key


def trusted_keys_at(given: TrustedKeys | KeyFile | None) -> TrustedKeys | None:
    """Return the keys that a worker trusts: *given*, else the file that ``HANDFAST_TRUSTED_KEYS`` names, else None.

    Raises:
        DefinitionError: The file cannot be read, or the extra ``signing`` is not installed.
    """

    def load() -> tuple[type[TrustedKeys], Callable[[KeyFile], TrustedKeys]]:
        from handfast.signing.trusted_keys import TrustedKeys  # noqa: PLC0415 - needs an optional extra

        return TrustedKeys, TrustedKeys.from_file

    return _keys_at(given, "HANDFAST_TRUSTED_KEYS", "trusted keys", load)


def _keys_at(
    given: Keys | KeyFile | None,
    variable: str,
    what: str,
    load: Callable[[], tuple[type[Keys], Callable[[KeyFile], Keys]]],
) -> Keys | None:
    found = given or os.environ.get(variable) or None
    if found is None:
        return None
    try:
        kind, read = load()
    except ImportError as error:
        raise DefinitionError(what, str(error)) from None
    if isinstance(found, kind):
        return found
    if not isinstance(found, str | os.PathLike):
        raise DefinitionError(what, f"a {kind.__name__} or the path of its file is wanted, not {type(found).__name__}")
    return read(found)
