"""The fixtures that pytest finds where Handfast is installed: `lab`, and the server that all labs share."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # pytest loads this module for every project, which may have nothing to do with agents
    from handfast.server import EmbeddedServer
    from handfast.testing.lab import Lab


@pytest.fixture(scope="session")
def handfast_server() -> Iterator[EmbeddedServer]:
    """A Temporal server in memory for all tests of a session; override it for one of your own."""
    from handfast.server import EmbeddedServer  # noqa: PLC0415 - see above
    from handfast.sync.loop_thread import LOOP  # noqa: PLC0415

    server = LOOP.run(lambda: EmbeddedServer.start(persistent=False, port=0, ui=False))
    yield server
    LOOP.run(server.close)


@pytest.fixture
def lab(handfast_server: EmbeddedServer) -> Callable[..., Lab]:
    """`Lab` on the server that all tests share: ``async with lab([desk], script=[…]) as desk_lab``."""
    from handfast.testing.lab import Lab  # noqa: PLC0415

    return functools.partial(Lab, server=handfast_server)
