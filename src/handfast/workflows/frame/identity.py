"""The identity of a workflow, from which the identities of its requests, activities and calls are made."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from handfast.payloads.model_call import Origin
from handfast.workflows.frame.frame import Call, Frame


@dataclass(frozen=True)
class Identity:
    """The ids of a workflow, with its clock and its source of random ids.

    Attributes:
        workflow_run: Run id of the first history, stable over continue-as-new.
        query: Name of its transcript query.
        now: Returns workflow time.
        new_id: Returns a random id: request ids are never positional, so that no run takes a decision of another one.
    """

    workflow_id: str
    workflow_run: str
    query: str
    now: Callable[[], datetime]
    new_id: Callable[[], str]

    def origin(self, frame: Frame) -> Origin:
        """Return where an activity of *frame* belongs."""
        return Origin(
            workflow_run=self.workflow_run,
            agent=frame.agent,
            agent_path=frame.agent_path,
            frame=frame.id,
            epoch=frame.epoch,
            turn=frame.turn,
            query=self.query,
            facts=frame.facts,
            parent=frame.parent,
            call=frame.parent_call,
        )

    def idempotency_key(self, frame: Frame, call: Call) -> str:
        """Return the key of a call: the same for each of its attempts, another one for any other call."""
        identity = "\n".join((self.workflow_id, self.workflow_run, frame.id, str(frame.turn), call.call_id))
        return "hf_" + hashlib.sha256(identity.encode()).hexdigest()[:40]
