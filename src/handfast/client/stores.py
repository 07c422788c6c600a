"""The stores of a client beside the Temporal server, and its signing key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from handfast.deltas.stream import DeltaStream
from handfast.storage.archive import Archive
from handfast.storage.artifacts import ArtifactStore

if TYPE_CHECKING:
    from handfast.signing.signer import Signer


@dataclass(frozen=True)
class Stores:
    """The places in which a client finds the records of runs, and the key that it signs with.

    Attributes:
        archive: Histories beyond the server's retention.
        artifacts: Large outputs, and parts of long conversations.
        deltas: The stream of deltas: its URL, or itself.
        signer: Signs its decisions; None: they are not signed.
    """

    archive: Archive | None = None
    artifacts: ArtifactStore | None = None
    deltas: str | DeltaStream | None = None
    signer: Signer | None = None
