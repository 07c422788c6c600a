"""Tests in this folder are pure or nearly so: `make quick` runs all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

HERE: Final = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)  # before pytest leaves out what `-m quick` does not select
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what lies here; pytest hands over all items of the run."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.quick)
