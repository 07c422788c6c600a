"""The state that a run carries over continue-as-new."""

from __future__ import annotations

import base64
import zlib
from typing import Final

from handfast.payloads.base import Payload

FORMAT: Final = 1
"""Version of the state inside; a worker that does not know it leaves the run to one that does."""
CARRY_BYTES: Final = 1_000_000
"""Most bytes of a carried state as it travels."""
SEGMENT_EVENTS: Final = 2_000
"""Events of a Temporal history after which a run goes on in a fresh one: a replay costs 0.4 ms an event."""


class Carry(Payload):
    """The state of a run or host, compressed.

    Attributes:
        state: JSON, deflated, in base64. What is in it is the workflow's own.
    """

    format: int = FORMAT
    state: str

    @classmethod
    def of(cls, text: str) -> Carry:
        """Pack a state."""
        return cls(state=base64.b64encode(zlib.compress(text.encode(), 6)).decode())

    def text(self) -> str:
        """Unpack it.

        Raises:
            ValueError: It was written by a version that this one cannot read.
        """
        if self.format != FORMAT:
            raise ValueError(f"a carried state of format {self.format}, and this version reads {FORMAT}")
        return zlib.decompress(base64.b64decode(self.state)).decode()
