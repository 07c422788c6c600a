"""`Secret`: a parameter of a tool that the worker fills in; no model and no history sees it."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final, TypeAlias, get_args, get_origin

from pydantic import SecretStr

from handfast.errors import DefinitionError

__all__ = ["Secret", "SecretParameter", "SecretResolver", "secret_of"]

SecretResolver: TypeAlias = Callable[[str], "str | Awaitable[str]"]
"""Given a reference, returns its value; sync or async. LookupError says that there is none."""

_REFERENCE: Final = re.compile(r"[a-z][a-z0-9+.-]*:\S(.*\S)?")


@dataclass(frozen=True)
class Secret:
    """A reference to a secret, in a tool's parameter: ``token: Annotated[SecretStr, Secret("env:API_TOKEN")]``.

    The model is not offered the parameter. The worker resolves it after the approval, right before the function runs;
    the value is a `pydantic.SecretStr`, or a plain ``str`` where the parameter is one. Where the function returns it,
    or raises it in an error, ``[secret]`` stands in its place.

    Attributes:
        reference: ``env:NAME``, ``file:/path``, or ``scheme:…`` for ``HandfastPlugin(secrets=…)``.
    """

    reference: str

    def __post_init__(self) -> None:
        given: object = self.reference
        if not isinstance(given, str) or not _REFERENCE.fullmatch(given):
            raise DefinitionError("Secret", "takes a reference: 'env:NAME', 'file:/path', or another scheme's")


@dataclass(frozen=True)
class SecretParameter:
    """A parameter that is a secret.

    Attributes:
        plain: The function takes a str, not a SecretStr.
    """

    name: str
    reference: str
    plain: bool


def secret_of(name: str, hint: Any, subject: str) -> SecretParameter | None:
    """Return the secret that a parameter's annotation names; None for an ordinary parameter.

    Raises:
        DefinitionError: For *subject*: it is a secret, and no text.
    """
    if get_origin(hint) is not Annotated:
        return None
    kind, *extras = get_args(hint)
    found = [extra for extra in extras if isinstance(extra, Secret)]
    if not found:
        return None
    if kind not in (str, SecretStr) or len(found) > 1:
        raise DefinitionError(subject, f"parameter {name!r} is a Secret: it must be a SecretStr or a str")
    return SecretParameter(name, found[0].reference, kind is str)
