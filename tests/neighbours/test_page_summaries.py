"""What Temporal's own page shows beside each line of a run."""

from __future__ import annotations

import json

from temporalio.api.enums.v1 import EventType

from handfast.testing import Reply, call
from support.desk import DONE, desk
from support.evidence import events_of
from support.labs import Effects, MakeLab


async def test_temporals_page_says_which_agent_did_what(make_lab: MakeLab, effects: Effects) -> None:
    """Each activity is shown with its agent, turn and tool, and the run with its agent and the start of its input."""
    look = Reply(call("look", {"check": "fans"}, "c1"))
    lab = await make_lab([desk(effects)], script=[look, DONE])
    run = await lab.start("desk", "see to\n the fans")
    await run.result()
    shown = [
        (
            event.activity_task_scheduled_event_attributes.activity_type.name,
            json.loads(event.user_metadata.summary.data),
        )
        for event in await events_of(lab, run)
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
    ]
    assert shown == [
        ("handfast.call_model", "desk · turn 1"),
        ("handfast.tool.look", "desk · turn 1 · look"),
        ("handfast.call_model", "desk · turn 2"),
    ]
    description = await lab.client.get_workflow_handle(run.id).describe()
    assert await description.static_summary() == "desk: see to the fans"
