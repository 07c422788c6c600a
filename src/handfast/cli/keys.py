"""Make signing keys, and write the file of those that workers trust: always whole, in one step."""

from __future__ import annotations

import base64
import binascii
import os
from pathlib import Path
from typing import Literal

from handfast.cli import exits
from handfast.cli.output import json_text, one_line, say, write_json
from handfast.errors import DefinitionError

try:
    from handfast.signing.signer import Signer, key_id_of
    from handfast.signing.trusted_keys import ONE_OF_BOTH, TrustedKey, TrustedKeys, signs_for_both
except ImportError as error:
    raise DefinitionError("keys", str(error)) from None


def new(path: Path, *, as_json: bool) -> int:
    """Make a signing key.

    Raises:
        InputError: There is a file already, or it cannot be written.
    """
    signer = Signer.generate()
    try:
        signer.save(path)
    except OSError as error:
        raise exits.InputError(f"{path} was not written: {error.strerror}") from None
    return _show(signer, as_json=as_json)


def show(path: Path, *, as_json: bool) -> int:
    """Show a key's id and public half.

    Raises:
        DefinitionError: It is no signing key.
    """
    return _show(Signer.from_file(path), as_json=as_json)


def _show(signer: Signer, *, as_json: bool) -> int:
    if as_json:
        write_json({"id": signer.kid, "public": signer.public})
    else:
        say(f"{signer.kid} {signer.public}")
    return exits.OK


def trust(path: Path, key: Path | None, public: str | None, names: list[str], *, as_json: bool) -> int:
    """Enter a key into a file of trusted keys, which is made where there is none.

    Raises:
        InputError: It is not said which key, or for whom. DefinitionError: One of the files is none.
    """
    if (key is None) == (public is None):
        raise exits.InputError("trust takes --key FILE or --public BASE64")
    if not names or ("*" in names and len(names) > 1):
        raise exits.InputError("say with --for whose decisions it signs: names, or '*' for a gateway's key")
    if signs_for_both(names):
        raise exits.InputError(ONE_OF_BOTH)
    if key is not None:
        signer = Signer.from_file(key)
        kid, public = signer.kid, signer.public
    else:
        kid = _id_of(public or "")
    signs_for: Literal["*"] | list[str] = "*" if names == ["*"] else names
    known = TrustedKeys.from_file(path).keys if path.exists() else {}
    return _write(path, {**known, kid: TrustedKey(public=public or "", signs_for=signs_for)}, as_json=as_json)


def end(path: Path, kid: str | None, *, remove: bool, as_json: bool) -> int:
    """Let a key decide nothing new, or take it out.

    Raises:
        InputError: There is no such key in the file. DefinitionError: It is no such file.
    """
    known = TrustedKeys.from_file(path).keys
    if kid is None or kid not in known:
        raise exits.InputError(f"give --id with one of {', '.join(known) or 'none'}")
    left = {each: key for each, key in known.items() if each != kid}
    if not remove:
        left[kid] = known[kid].model_copy(update={"state": "verify_only"})
    return _write(path, left, as_json=as_json)


def _id_of(public: str) -> str:
    try:
        raw = base64.b64decode(public, validate=True)
    except binascii.Error:
        raw = b""
    if len(raw) != 32:
        raise exits.InputError("--public takes the 32 bytes of an Ed25519 key in base64")
    return key_id_of(raw)


def _write(path: Path, keys: dict[str, TrustedKey], *, as_json: bool) -> int:
    wire = {"keys": {kid: key.model_dump() for kid, key in keys.items()}}
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        fresh.write_text(json_text(wire, indent=2) + "\n")
        fresh.replace(path)
    except OSError as error:
        raise exits.InputError(f"{path} was not written: {error.strerror}") from None
    if as_json:
        write_json(wire)
        return exits.OK
    for kid, key in keys.items():
        whose = "whomever it names" if key.signs_for == "*" else ", ".join(key.signs_for)
        say(one_line(f"{kid} {key.state} signs for {whose}"))
    return exits.OK
