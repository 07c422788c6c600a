"""The signed decision that docs/wire.md shows, for whoever signs in another language."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from handfast import Decision, Signer, TrustedKeys
from handfast.payloads.signed import Place, statement
from support.signing import trusted

PLACE = Place(namespace="default", workflow="ticket-7", run="0198b7f2-6f5c-7d1a-9a53-0e8f4d1a2b3c")
AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
WIRE = Path(__file__).parents[2] / "docs" / "wire.md"


def test_the_vector_of_the_documentation() -> None:
    """The decision on the page about the wire is what its key signs, byte by byte."""
    page = WIRE.read_text()
    signer = Signer(Ed25519PrivateKey.from_private_bytes(bytes(range(32))), method="gateway")
    shown = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", page, re.DOTALL)]
    [wire] = [each for each in shown if isinstance(each, dict) and "signature" in each]
    said = Decision.from_wire({**wire, "signature": None})
    assert signer.sign(said, PLACE, at=AT).to_wire() == wire
    covered = statement(Decision.from_wire(wire), PLACE, wire["signature"]).decode()
    assert f"```text\n{covered}\n```" in page
    TrustedKeys({signer.kid: trusted(signer)}).check_new(Decision.from_wire(wire), PLACE, requested_at=AT, now=AT)
