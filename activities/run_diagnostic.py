"""The tool `run_diagnostic`: real readings of the machine that the worker runs on. It changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

import psutil

from activities.workspace import Workspace
from handfast import ToolContext, tool

Reading: TypeAlias = dict[str, object]

SAMPLE_S: Final = 0.2
"""How long the processor is watched for its load."""


class UnknownCheckError(Exception):
    """There is no such check. The text is for the model to read."""


@tool(effect="read_only")
def run_diagnostic(ctx: ToolContext, check_name: str) -> Reading:
    """Run one read-only check of this machine.

    Args:
        check_name: One of "thermal", "disk", "memory", "load".
    """
    check = CHECKS.get(check_name)
    if check is None:
        raise UnknownCheckError(f"there is no check {check_name!r}; there are {', '.join(CHECKS)}")
    return {"check": check_name, **check(ctx.resources)}


def thermal(_: Workspace) -> Reading:
    """Temperatures where there are sensors; otherwise that there are none, and what else tells of heat."""
    read = getattr(psutil, "sensors_temperatures", None)  # Linux and FreeBSD only
    found = {
        f"{chip} {sensor.label or number}".strip(): sensor.current
        for chip, sensors in (read() if read is not None else {}).items()
        for number, sensor in enumerate(sensors)
    }
    if found:
        return {"sensors": True, "celsius": found}
    return {
        "sensors": False,
        "note": "This machine shows no temperature sensors (usual in containers): no temperature was read.",
        "cpu_percent": psutil.cpu_percent(interval=SAMPLE_S),
        "cpu_mhz": _megahertz(),
        "load_1_min": round(psutil.getloadavg()[0], 2),
    }


def _megahertz() -> float | None:
    read = getattr(psutil, "cpu_freq", None)  # absent on some platforms, and None on some machines
    frequency = read() if read is not None else None
    return None if frequency is None else round(frequency.current, 1)


def disk(workspace: Workspace) -> Reading:
    """Space on the workspace's disk, and what its targets hold."""
    usage = psutil.disk_usage(str(workspace.root))
    sizes = {target: workspace.size_of(target) for target in workspace.targets()}
    return {
        "free_bytes": usage.free,
        "used_percent": usage.percent,
        "targets": {target: {"files": size.files, "bytes": size.bytes} for target, size in sizes.items()},
    }


def memory(_: Workspace) -> Reading:
    """Main memory and swap."""
    main, swap = psutil.virtual_memory(), psutil.swap_memory()
    return {
        "available_bytes": main.available,
        "total_bytes": main.total,
        "used_percent": main.percent,
        "swap_used_percent": swap.percent,
    }


def load(_: Workspace) -> Reading:
    """How busy the processors are."""
    one, five, fifteen = psutil.getloadavg()
    return {
        "cpu_count": psutil.cpu_count(),
        "cpu_percent": psutil.cpu_percent(interval=SAMPLE_S),
        "load_1_min": round(one, 2),
        "load_5_min": round(five, 2),
        "load_15_min": round(fifteen, 2),
    }


CHECKS: Final[dict[str, Callable[[Workspace], Reading]]] = {
    "thermal": thermal,
    "disk": disk,
    "memory": memory,
    "load": load,
}
