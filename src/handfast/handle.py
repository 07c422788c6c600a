"""`Run`: one run, as a client sees it."""

from __future__ import annotations

from handfast.deciding import Deciding
from handfast.lasting import Lasting
from handfast.live import Live
from handfast.messaging import Messaging
from handfast.steering import Steering
from handfast.watching import Watching


class Run(Watching, Live, Deciding, Messaging, Steering, Lasting):
    """One run: watch it, decide what it asks, cancel it, take its result.

    Every method raises `ServerUnavailableError` with the server away, and `NamespaceNotFoundError` in a missing
    namespace.

    Attributes:
        id: The workflow id.
    """
