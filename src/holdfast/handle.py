"""`Run`: one run, as a client sees it."""

from __future__ import annotations

from holdfast.deciding import Deciding
from holdfast.lasting import Lasting
from holdfast.live import Live
from holdfast.messaging import Messaging
from holdfast.steering import Steering
from holdfast.watching import Watching


class Run(Watching, Live, Deciding, Messaging, Steering, Lasting):
    """One run: watch it, decide what it asks, cancel it, take its result.

    Every method raises `ServerUnavailableError` with the server away, and `NamespaceNotFoundError` in a missing
    namespace.

    Attributes:
        id: The workflow id.
    """
