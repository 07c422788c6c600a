"""The command line, for what operators see."""

from cli.conftest import cli, make_cli, warm_commands

__all__ = ["cli", "make_cli", "warm_commands"]
