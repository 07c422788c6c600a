"""The checks in their order; run one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest, GetSystemInfoRequest
from temporalio.service import RPCError, RPCStatusCode

from handfast.cli.health.clock import look_at_clock
from handfast.cli.health.findings import Check, Finding
from handfast.cli.health.keys import look_at_encryption, look_at_signing
from handfast.cli.health.workers import look_at_workers
from handfast.client.client import Handfast
from handfast.deltas.stream import delta_stream
from handfast.errors import HandfastError
from handfast.server.state import DIRECTORY, read_state
from handfast.temporal.namespace import missing_search_attributes
from handfast.temporal.rpc import typed_errors

CHECK_WITHIN_S: Final = 30.0
SHORT_RETENTION_DAYS: Final = 7
SHOWN_RUNS: Final = 20
LOOKED_AT: Final = 1000
"""Runs that are looked at, the newest ones."""


async def look_at_server(hf: Handfast) -> list[Finding]:
    """Name the server that answers."""
    with typed_errors(hf.client):
        info = await hf.client.workflow_service.get_system_info(GetSystemInfoRequest())
    address = hf.client.service_client.config.target_host
    facts = {"address": address, "version": info.server_version}
    return [Finding("server", "ok", f"Temporal {info.server_version} answers at {address}", facts=facts)]


async def look_at_embedded(hf: Handfast) -> list[Finding]:
    """Look for the server of `handfast dev` in this folder."""
    state = read_state(Path.cwd() / DIRECTORY)
    if state is None:
        return []
    facts = {"address": state.address, "pid": state.pid}
    if not state.is_alive():
        said = f"the server of this folder (process {state.pid}) is gone"
        return [Finding("embedded server", "note", said, "start it with `handfast dev`", facts)]
    if state.address != hf.client.service_client.config.target_host:
        said = f"the server of this folder is at {state.address}, and this looks at another one"
        return [Finding("embedded server", "note", said, f"for it say --address {state.address}", facts)]
    return [Finding("embedded server", "ok", f"runs as process {state.pid}", facts=facts)]


async def look_at_namespace(hf: Handfast) -> list[Finding]:
    """Look for the namespace, and how long it keeps runs that have ended."""
    name = hf.client.namespace
    with typed_errors(hf.client):
        described = await hf.client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=name))
    days = described.config.workflow_execution_retention_ttl.ToTimedelta().days
    said = f"{name} keeps runs for {days} days after their end"
    facts = {"namespace": name, "retention_days": days}
    if days >= SHORT_RETENTION_DAYS or hf.stores.archive is not None:
        return [Finding("namespace", "ok", said, facts=facts)]
    remedy = f"`temporal operator namespace update --retention 90d --namespace {name}`, or give the workers an archive"
    return [Finding("namespace", "note", said, remedy, facts)]


async def look_at_attributes(hf: Handfast) -> list[Finding]:
    """Look for the search attributes by which runs are listed."""
    missing = await missing_search_attributes(hf.client)
    if not missing:
        return [Finding("search attributes", "ok", "all are registered")]
    said = f"{', '.join(missing)} missing: runs work, lists across them do not"
    remedy = "`handfast setup`, or let somebody with the rights run what `handfast setup --print` says"
    return [Finding("search attributes", "wrong", said, remedy, {"missing": dict(missing)})]


async def look_at_runs(hf: Handfast) -> list[Finding]:
    """List the runs that do not get on."""
    found = [trouble async for trouble in hf.attention(limit=LOOKED_AT)]
    if not found:
        return [Finding("runs", "ok", "none needs attention")]
    findings = [
        Finding("runs", "wrong", f"{each.run}: {each.kind}: {each.message}", each.remedy, {"trouble": each})
        for each in found[:SHOWN_RUNS]
    ]
    if len(found) > SHOWN_RUNS:
        said = f"{len(found) - SHOWN_RUNS} further runs need attention"
        findings.append(Finding("runs", "wrong", said, "`handfast runs --attention` lists them all"))
    return findings


NOBODY: Final = "handfast-doctor"
"""A name that no run has: reading what is not there is enough to know that the place answers."""
ANSWER_WITHIN_S: Final = 5.0


async def look_at_places(hf: Handfast) -> list[Finding]:
    """Read from each store that is configured here; the workers may have others."""
    found = [await _archive(hf), await _artifacts(hf), await _deltas(hf)]
    return [each for each in found if each is not None]


async def _archive(hf: Handfast) -> Finding | None:
    archive = hf.stores.archive
    if archive is None:
        return None
    return await _tried("archive", archive.segments(hf.client.namespace, NOBODY), "HANDFAST_ARCHIVE")


async def _artifacts(hf: Handfast) -> Finding | None:
    store = hf.stores.artifacts
    if store is None:
        return None
    reading = asyncio.to_thread(store.below(NOBODY).names)
    return await _tried("artifacts", reading, "HANDFAST_ARTIFACTS")


async def _deltas(hf: Handfast) -> Finding | None:
    told = hf.stores.deltas
    if told is None:
        return None
    stream = delta_stream(told, "doctor")
    try:
        return await _tried("deltas", stream.read(NOBODY, None, 0), "HANDFAST_DELTAS")
    finally:
        if isinstance(told, str):
            await stream.close()


async def _tried(name: str, reading: object, variable: str) -> Finding:
    assert asyncio.iscoroutine(reading)
    try:
        await asyncio.wait_for(reading, ANSWER_WITHIN_S)
    except Exception as error:  # noqa: BLE001 - whatever the medium says: it does not answer
        why = " ".join(str(error).split()) or type(error).__name__
        return Finding(name, "wrong", f"cannot be read from here: {why}", f"mend the place, or {variable}")
    return Finding(name, "ok", "can be read from here")


CHECKS: Final[Sequence[Check]] = (
    Check("server", look_at_server),
    Check("embedded server", look_at_embedded),
    Check("namespace", look_at_namespace),
    Check("search attributes", look_at_attributes),
    Check("clock", look_at_clock),
    Check("workers", look_at_workers),
    Check("places", look_at_places),
    Check("encryption", look_at_encryption),
    Check("signing", look_at_signing),
    Check("runs", look_at_runs),
)


async def examine(check: Check, hf: Handfast) -> Sequence[Finding]:
    """Run one check; a check that fails is a finding too."""
    try:
        return await asyncio.wait_for(check.look(hf), CHECK_WITHIN_S)
    except HandfastError as error:
        return [Finding(check.name, "wrong", f"could not be looked at: {type(error).__name__}", str(error))]
    except TimeoutError:
        said = f"no answer within {CHECK_WITHIN_S:.0f} s"
        return [Finding(check.name, "wrong", said, "look at the server's load, then run `handfast doctor` again")]
    except RPCError as error:
        denied = error.status in (RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNAUTHENTICATED)
        remedy = (
            "ask for the right to look, or let somebody run it who has it" if denied else "look at the server's log"
        )
        return [Finding(check.name, "note" if denied else "wrong", f"{error.status.name}: {error.message}", remedy)]


def away(error: HandfastError) -> Finding:
    """Make the finding for a server that does not answer."""
    return Finding("server", "wrong", f"{type(error).__name__}: {error}", "start it, or say --address")
