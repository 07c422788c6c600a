"""A request, as `handfast show` prints it."""

from __future__ import annotations

from io import StringIO

from rich.console import Console

from handfast.cli.show import print_request
from handfast.cli.tables import utc_now
from handfast.payloads.requests import Request


def shown(request: Request) -> str:
    """What a person reads of it in a terminal."""
    out = StringIO()
    print_request(Console(file=out, width=200), request, utc_now())
    return out.getvalue()
