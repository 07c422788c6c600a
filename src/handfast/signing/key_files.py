"""The keys that a client signs with and a worker trusts: what was given, or the file that the environment names."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from handfast.errors import DefinitionError

if TYPE_CHECKING:
    from handfast.signing.signer import Signer
    from handfast.signing.trusted_keys import TrustedKeys

KeyFile = str | os.PathLike[str]
Keys = TypeVar("Keys")


def signer_at(given: Signer | KeyFile | None, method: str = "python") -> Signer | None:
    """The signing key of a client: what was given, else what ``HANDFAST_SIGNING_KEY`` names, else none.

    Raises:
        DefinitionError: It cannot be read, or what that needs is not installed.
    """

    def read(path: KeyFile) -> Signer:
        from handfast.signing.signer import Signer  # noqa: PLC0415 - needs an optional extra

        return Signer.from_file(path, method=method)

    return _keys_at(given, "HANDFAST_SIGNING_KEY", "signing key", read)


def trusted_keys_at(given: TrustedKeys | KeyFile | None) -> TrustedKeys | None:
    """The keys that a worker trusts: what was given, else what ``HANDFAST_TRUSTED_KEYS`` names, else none.

    Raises:
        DefinitionError: They cannot be read, or what that needs is not installed.
    """

    def read(path: KeyFile) -> TrustedKeys:
        from handfast.signing.trusted_keys import TrustedKeys  # noqa: PLC0415 - needs an optional extra

        return TrustedKeys.from_file(path)

    return _keys_at(given, "HANDFAST_TRUSTED_KEYS", "trusted keys", read)


def _keys_at(given: Keys | KeyFile | None, variable: str, what: str, read: Callable[[KeyFile], Keys]) -> Keys | None:
    found = given or os.environ.get(variable) or None
    if found is None or not isinstance(found, str | os.PathLike):
        return found
    try:
        return read(found)
    except ImportError as error:
        raise DefinitionError(what, str(error)) from None
