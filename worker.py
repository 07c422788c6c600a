"""The service desk's worker: plugin, workflows, task queue, nothing else. Run it as ``python worker.py``."""

from __future__ import annotations

import asyncio
import logging
import os
import sys

from desk import plugin
from handfast import HandfastError
from handfast.connection import DEFAULT_TASK_QUEUE, connect
from handfast.worker import make_worker, serve
from workflows.service_desk import ServiceDesk


async def main() -> None:
    """Serve the desk until SIGTERM or Ctrl-C, then let running tools finish."""
    plugin.check_models()  # before anything is connected
    client = await connect()
    task_queue = os.environ.get("HANDFAST_TASK_QUEUE") or DEFAULT_TASK_QUEUE
    worker = make_worker(client, plugin, task_queue=task_queue, workflows=[ServiceDesk])

    def ready() -> None:
        sys.stdout.write(f"worker ready: task queue {task_queue} at {client.service_client.config.target_host}\n")
        sys.stdout.flush()

    await serve(worker, ready)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        asyncio.run(main())
    except HandfastError as error:
        sys.exit(f"error: {error}")
