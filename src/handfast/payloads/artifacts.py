"""References to values that are kept outside the history."""

from __future__ import annotations

from typing import Final

from handfast.payloads.base import Payload

READ_OUTPUT: Final = "read_output"
"""The tool with which a model reads more of such an output: ours, so that no tool of a user has this name."""


class Artifact(Payload):
    """A reference to a value outside the history: a tool output, or a part of the conversation.

    Attributes:
        sha256: Of its content, as 64 lower-case hexadecimal digits: its name in the store.
        bytes: Its size, as UTF-8.
    """

    sha256: str
    bytes: int
