"""``python -m handfast`` is the command ``handfast``."""

from handfast.cli import main

if __name__ == "__main__":
    main()
