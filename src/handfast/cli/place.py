"""Connect to the server, and query it beside the client's own methods."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Final

from temporalio.client import Client, WorkflowQueryFailedError
from temporalio.runtime import (
    LogForwardingConfig,
    LoggingConfig,
    Runtime,
    TelemetryConfig,
    TelemetryFilter,
)
from temporalio.service import RPCError

from handfast.cli.options import Where
from handfast.client.client import Handfast
from handfast.payloads.requests import Request
from handfast.payloads.runs import OWN_WORKFLOWS
from handfast.signing.key_files import signer_at

HEARTBEAT: Final = timedelta(seconds=5)
"""Interval at which a worker says of itself which version it has."""
WHOLE_WITHIN: Final = timedelta(seconds=5)


def quiet_core(logger: logging.Logger | None = None) -> None:
    """Keep the SDK's native part from writing its log to stdout, which belongs to the command's own output.

    Args:
        logger: Gets its warnings instead; None drops them, as a client command says itself what is wrong.
    """
    if logger is None:
        logger = logging.getLogger("handfast.cli.core")
        logger.addHandler(logging.NullHandler())
        logger.propagate = False
    forwarding = LogForwardingConfig(logger)
    filtered = TelemetryFilter(core_level="WARN", other_level="ERROR")
    telemetry = TelemetryConfig(logging=LoggingConfig(filter=filtered, forwarding=forwarding))
    runtime = Runtime(telemetry=telemetry, worker_heartbeat_interval=HEARTBEAT)
    Runtime.set_default(runtime, error_if_already_set=False)


async def handfast(
    where: Where, task_queue: str | None = None, *, archive: str | None = None, artifacts: str | None = None
) -> Handfast:
    """Connect.

    Raises:
        ServerUnavailableError: Nobody answers there.
    """
    quiet_core()
    return await Handfast.connect(
        where.address,
        profile=where.profile,
        namespace=where.namespace,
        task_queue=task_queue,
        archive=archive,
        artifacts=artifacts,
        signer=signer_at(None, method="cli"),
    )


async def whole(client: Client, run_id: str, workflow: str, requests: list[Request]) -> list[Request]:
    """Give requests their full arguments: the server's list shows long ones by their start only.

    Where no worker answers they stay as they are.
    """
    if all(request.arguments_preview is None for request in requests):
        return requests
    prefix = "" if workflow in OWN_WORKFLOWS else "handfast."
    handle = client.get_workflow_handle(run_id)
    try:
        answer = await handle.query(f"{prefix}pending_approvals", rpc_timeout=WHOLE_WITHIN)
    except (RPCError, WorkflowQueryFailedError):
        return requests
    full = {request.id: request for request in map(Request.from_wire, answer)}
    return [full.get(request.id, request) for request in requests]
