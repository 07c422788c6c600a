"""Which calls of a run that was ended from outside may have taken effect, or still will."""

from __future__ import annotations

from typing import Any

from temporalio.client import WorkflowHandle
from temporalio.converter import DataConverter

from handfast.errors import HistoryUnreadableError
from handfast.events import history_of
from handfast.payloads.events import MayHaveHappened
from handfast.payloads.json_profile import JsonObject
from handfast.run_events import fact_of, project


async def unknown_effects(handle: WorkflowHandle[Any, Any], converter: DataConverter) -> list[JsonObject]:
    """They, as the events of the run's last history tell them; none where that cannot be read here.

    Args:
        handle: Of that history.
        converter: A tolerant one.
    """
    try:
        told = [event async for event in project(handle.run_id or "", history_of(handle, wait=False), converter)]
    except HistoryUnreadableError:
        return []
    return [fact_of(event) for event in told if isinstance(event, MayHaveHappened)]
