"""One Temporal server for the whole session; every lab on it has a task queue of its own."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import settings
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from handfast import Agent
from handfast.server import EmbeddedServer, find_binary
from handfast.testing import Lab
from support.labs import Effects, MakeLab
from support.redis_server import RedisServer
from support.warm_lab import WarmLab, WarmWorkers

pytest_plugins = ["support.no_skips", "support.commands"]

# How long one example takes says more about the machine's load than about the code; pytest-timeout is the bound.
settings.register_profile("handfast", deadline=None)
settings.load_profile("handfast")

# A server that has all cores to itself would be a little faster. Here several share them with everything else, and what
# each spends on waking its own threads is a tenth of its work.
os.environ.setdefault("GOMAXPROCS", "1")

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # As a shell leaves it for what it starts with `&`: processes of tests would inherit that, and be deaf to Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def server() -> AsyncIterator[EmbeddedServer]:
    """A real server in memory, shared by all tests that need no server of their own."""
    async with await EmbeddedServer.start(persistent=False, port=0, ui=False) as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def redis(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RedisServer]:
    """A real Redis, shared by all tests that do not kill it."""
    running = await RedisServer(tmp_path_factory.mktemp("redis")).start()
    yield running
    await running.kill()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def warm_workers(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[WarmWorkers]:
    """What forks the worker processes of labs."""
    async with AsyncExitStack() as stack:
        yield WarmWorkers(tmp_path_factory.mktemp("workers"), stack)


@pytest_asyncio.fixture(loop_scope="session")
async def make_lab(server: EmbeddedServer, warm_workers: WarmWorkers) -> AsyncIterator[MakeLab]:
    """Make labs on the shared server. Leaving one replays every history that it made."""
    async with AsyncExitStack() as stack:

        async def make(agents: Sequence[Agent] | str, **options: Any) -> Lab:
            if "client" not in options:
                options.setdefault("server", server)
            return await stack.enter_async_context(WarmLab(warm_workers, agents, **options))

        yield make


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def skipping() -> AsyncIterator[WorkflowEnvironment]:
    """A server that skips time: days pass in milliseconds, in each run by itself."""
    environment = await WorkflowEnvironment.start_time_skipping_v2(
        dev_server_existing_path=str(find_binary()),
        dev_server_extra_args=["--dynamic-config-value", "frontend.WorkflowTimeSkippingEnabled=true"],
    )
    async with environment:
        yield environment


@pytest.fixture
def skipping_client(skipping: WorkflowEnvironment) -> Client:
    """A client whose runs skip time by themselves while nothing but timers is left."""
    return skipping.client


@pytest.fixture
def cache() -> int:
    """For ``Lab(max_cached_workflows=…)``: 1000; in `make test-replayed` 0, so that each task replays its run."""
    return int(os.environ.get("HANDFAST_TEST_CACHE") or 1000)


@pytest.fixture
def effects() -> Effects:
    """What the tools of a test did, in order."""
    return []
