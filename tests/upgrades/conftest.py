"""The command line, for what operators see."""

from cli.conftest import cli, make_cli

__all__ = ["cli", "make_cli"]
