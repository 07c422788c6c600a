"""`Run`: one run, as a client sees it."""

from __future__ import annotations

from handfast.client.decide import Deciding
from handfast.client.events import Live
from handfast.client.steer import Messaging, Steering
from handfast.client.transcript import Lasting
from handfast.client.watch import Watching


class Run(Watching, Live, Deciding, Messaging, Steering, Lasting):
    """One run: watch it, decide what it asks, cancel it, take its result.

    Every method raises `ServerUnavailableError` with the server away, and `NamespaceNotFoundError` in a missing
    namespace.

    Attributes:
        id: The workflow id.
    """
