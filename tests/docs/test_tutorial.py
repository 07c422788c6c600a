"""docs/tutorial.md can be followed as it stands, from a first agent to a workflow of one's own, without a key."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from support.pages import TUTORIAL, Block, blocks
from support.terminals import Terminals

STEPS = [block for block in blocks(TUTORIAL) if block.file is not None or block.language == "console"]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def terminals(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Terminals]:
    """A reader's terminals, in an empty folder."""
    opened = Terminals(tmp_path_factory.mktemp("shop"), STEPS)
    try:
        yield opened
    finally:
        await opened.close()


@pytest.mark.parametrize("step", STEPS, ids=str)
async def test_each_step_of_the_tutorial_works(terminals: Terminals, step: Block) -> None:
    """Files are written, commands typed and workers killed as the page says, and what it shows is seen."""
    await terminals.play_through(step)
