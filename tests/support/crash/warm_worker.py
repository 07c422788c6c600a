"""What a forked worker runs: the same worker as everywhere, with the product's own settings."""

from __future__ import annotations

import importlib
import logging
import ssl
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Final

import openai
from temporalio.client import Client
from temporalio.worker._worker import load_default_build_id

from handfast import Agent
from handfast.worker import make_worker, serve
from handfast.worker.plugin import HandfastPlugin

_TLS: Final = ssl.create_default_context()  # reading all authorities takes a worker longer than the rest of its start


def prepare(target: str) -> Sequence[Agent]:
    """Import everything that a worker needs, and nothing that starts a thread."""
    logging.basicConfig(level=logging.WARNING, format="%(process)d %(name)s: %(message)s")
    module, _, name = target.partition(":")
    agents: Sequence[Agent] = getattr(importlib.import_module(module), name)
    HandfastPlugin(agents, models={"default": openai.AsyncOpenAI(base_url="http://127.0.0.1:1", api_key="test")})
    load_default_build_id()  # hashes every module that is loaded, once a process: a second of work
    return agents


async def serve_agents(agents: Sequence[Agent], spec: dict[str, Any], on_ready: Callable[[], None]) -> None:
    """Serve until SIGTERM."""
    client = await Client.connect(spec["address"])
    http = openai.DefaultAsyncHttpxClient(verify=_TLS)
    async with openai.AsyncOpenAI(http_client=http) as model:
        plugin = HandfastPlugin(agents, models={"default": model}, default_model="scripted", artifacts=False)
        await serve(make_worker(client, plugin, task_queue=spec["task_queue"], grace=timedelta(seconds=1)), on_ready)
