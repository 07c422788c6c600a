"""The command `handfast`."""

from __future__ import annotations

import os
import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line and leave the process; `handfast.cli.exits` lists the codes."""
    try:
        import rich  # noqa: F401, PLC0415 it and typer are an optional extra

        from handfast.cli.process import run_and_leave  # noqa: PLC0415 likewise
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("typer", "rich"):
            raise
        sys.stderr.write("handfast: the command line needs typer and rich: pip install 'handfast[cli]'\n")
        sys.exit(2)
    except KeyboardInterrupt:
        os._exit(130)
    run_and_leave(sys.argv[1:])
