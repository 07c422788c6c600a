"""Look for the workers of the task queues: who polls, and of which version."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from typing import Final

from temporalio.api.enums.v1 import TaskQueueType, WorkerStatus
from temporalio.api.worker.v1 import WorkerHeartbeat
from temporalio.api.workflowservice.v1 import ListWorkersRequest
from temporalio.service import RPCError

from handfast.cli.health.findings import Finding
from handfast.client.client import Handfast
from handfast.client.lists import of_agents
from handfast.temporal.pollers import ACTIVITIES, POLLS_EVERY, WORKFLOWS, pollers
from handfast.temporal.rpc import typed_errors
from handfast.temporal.search_attributes import about_attributes
from handfast.worker.plugin import PLUGIN

RUNS_LOOKED_AT: Final = 200
"""The newest runs that go on say which task queues are in use."""
AHEAD_AFTER: Final = timedelta(seconds=10)
"""A worker whose own word is dated so far ahead has a clock that is wrong."""


@dataclass(frozen=True)
class Poller:
    """A worker as the server sees it poll one task queue."""

    identity: str
    last_access: datetime
    version: str
    polls: tuple[str, ...]

    @property
    def lives(self) -> bool:
        """True where it can still be there: a worker that was killed counts for another minute."""
        return self.last_access > datetime.now(UTC) - POLLS_EVERY


async def look_at_workers(hf: Handfast) -> list[Finding]:
    """Say of each task queue in use who polls it, and of the workers whether they are of one version."""
    with typed_errors(hf.client):
        using = await _queues_in_use(hf)
        findings: list[Finding] = []
        for queue in dict.fromkeys((hf.task_queue, *([hf.model_queue] if hf.model_queue else []), *using)):
            found = [each for each in await _pollers(hf, queue) if each.lives]
            findings += [_polled(queue, found, using[queue]), *_builds(queue, found)]
        return findings + _beats(await _heartbeats(hf, set(using) | {hf.task_queue}))


async def _queues_in_use(hf: Handfast) -> Counter[str]:
    try:
        query = f"{of_agents()} AND ExecutionStatus = 'Running'"
        return Counter([each.task_queue async for each in hf.client.list_workflows(query, limit=RUNS_LOOKED_AT)])
    except RPCError as error:
        if not about_attributes(error):
            raise
        return Counter()  # that they are missing another check says


async def _pollers(hf: Handfast, queue: str) -> list[Poller]:
    found: dict[str, Poller] = {}
    kinds: Sequence[tuple[str, TaskQueueType.ValueType]] = (("workflows", WORKFLOWS), ("activities", ACTIVITIES))
    for word, kind in kinds:
        for each in await pollers(hf.client, queue, kind):
            options, seen = each.deployment_options, each.last_access_time.ToDatetime(tzinfo=UTC)
            build = options.build_id or each.worker_version_capabilities.build_id
            label = f"{options.deployment_name}.{build}" if options.deployment_name else build
            known = found.get(f"{each.identity} {label}")
            polls = (*(known.polls if known else ()), word)
            last = max(seen, known.last_access) if known else seen
            found[f"{each.identity} {label}"] = Poller(each.identity, last, label, polls)
    return list(found.values())


def _polled(queue: str, found: list[Poller], runs: int) -> Finding:
    facts = {"task_queue": queue, "runs": runs, "workers": found}
    if found:
        who = ", ".join(f"{each.identity} ({' and '.join(each.polls)})" for each in found)
        return Finding("workers", "ok", f"{queue}: {who}", facts=facts)
    remedy = f"`handfast worker MODULE --task-queue {queue}`"
    if runs:
        return Finding("workers", "wrong", f"{queue}: nobody polls it, and {runs} runs go on there", remedy, facts)
    return Finding("workers", "note", f"{queue}: nobody polls it; no run goes on there", remedy, facts)


def _builds(queue: str, found: Iterable[Poller]) -> list[Finding]:
    """Find workers whose code differs: Temporal's SDK makes a build id of the code where none was given."""
    builds = sorted({each.version for each in found if each.version})
    if len(builds) < 2:
        return []
    said = f"{queue}: its workers run {len(builds)} different builds: {', '.join(each[:40] for each in builds)}"
    remedy = "fine while a rollout lasts; else stop the older ones (docs/operating.md)"
    return [Finding("versions", "note", said, remedy, {"task_queue": queue, "builds": builds})]


async def _heartbeats(hf: Handfast, queues: set[str]) -> list[WorkerHeartbeat]:
    """Read the workers' own heartbeats; none where the server does not list them, or none has come yet."""
    try:
        listed = await hf.client.workflow_service.list_workers(ListWorkersRequest(namespace=hf.client.namespace))
    except RPCError:
        return []
    beats = [each.worker_heartbeat for each in listed.workers_info]
    return [each for each in beats if each.task_queue in queues and each.status == WorkerStatus.WORKER_STATUS_RUNNING]


def _beats(beats: Iterable[WorkerHeartbeat]) -> list[Finding]:
    ours, findings = version("handfast"), list[Finding]()
    versions: dict[str, str] = {}
    for beat in beats:
        # A heartbeat has no version of a library; the plugin's name has.
        for plugin in beat.plugins:
            if plugin.name.startswith(PLUGIN):
                versions[beat.worker_identity] = plugin.name.removeprefix(PLUGIN).strip()
        dated = beat.heartbeat_time.ToDatetime(tzinfo=UTC)
        if dated > datetime.now(UTC) + AHEAD_AFTER:
            said = f"the clock of {beat.worker_identity} on {beat.host_info.host_name} is ahead of this machine's"
            findings.append(Finding("clock", "wrong", said, "set both by the same time service (NTP)"))
    others = {who: each for who, each in versions.items() if each != ours}
    if others:
        said = f"this is handfast {ours}; " + ", ".join(f"{who} has {each}" for who, each in others.items())
        remedy = "fine while a rollout lasts; upgrade workers first, then clients (docs/operating.md)"
        findings.append(Finding("versions", "note", said, remedy, {"here": ours, "workers": versions}))
    elif versions:
        facts = {"here": ours, "workers": versions}
        findings.append(Finding("versions", "ok", f"handfast {ours} here, and at {len(versions)} workers", facts=facts))
    return findings
