"""The command `holdfast`."""


def main() -> None:
    """Run the command line."""
    raise SystemExit("holdfast: the command line is not there yet")
