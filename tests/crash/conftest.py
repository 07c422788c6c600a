"""What every crash test needs."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from temporalio.client import Client

from handfast.server import EmbeddedServer
from handfast.testing import ResponsesServer
from support.crash.cases import CASES
from support.crash.judge import Judge
from support.crash.ledger import Ledger
from support.crash.matrix import Matrix, play
from support.crash.warm_workers import WarmWorkers


@pytest_asyncio.fixture(loop_scope="session")
async def judge() -> AsyncIterator[Judge]:
    """The judge of effects, in the test's own process: it can hold a tool in the middle."""
    async with Judge() as judging:
        yield judging


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def matrix(server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Matrix]:
    """Runs whose workers are killed at chosen messages."""
    directory = tmp_path_factory.mktemp("matrix")
    async with Ledger(directory) as ledger, ResponsesServer(play(CASES)) as model:
        environment = {**ledger.environment, "OPENAI_API_KEY": "test", "OPENAI_BASE_URL": model.base_url}
        async with WarmWorkers(directory, "support.crash.shop:AGENTS", environment) as workers:
            client = await Client.connect(server.address)
            yield Matrix(server, client, ledger=ledger, workers=workers, model=model)
