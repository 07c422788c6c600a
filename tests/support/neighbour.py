"""A user's own application beside Handfast: a sandboxed workflow with names of its own, a converter and a codec."""

from __future__ import annotations

import dataclasses
import gc
import uuid
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from pydantic import BaseModel
from temporalio import activity, workflow
from temporalio.api.common.v1 import Payload
from temporalio.client import WorkflowHandle
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.converter import PayloadCodec

from handfast import AgentHost, AgentRef
from handfast.testing import Lab


class Order(BaseModel):
    """A model that only a pydantic converter carries as such."""

    number: int
    text: str


class Shipment(BaseModel):
    """What the user's workflow answers."""

    order: Order
    approved_by: list[str]
    told: str
    answer: str


@activity.defn
async def notify(order: Order) -> str:
    """The user's own activity of this name."""
    return f"told about {order.number}"


@workflow.defn
class Shipping:
    """The user's own workflow: sandboxed, typed, with a signal `approve` and a query `status`."""

    @workflow.init
    def __init__(self, order: Order) -> None:
        """Make the host before the first message."""
        self.agents = AgentHost()
        self.approved_by: list[str] = []

    @workflow.run
    async def run(self, order: Order) -> Shipment:
        """Wait for the user's own approval while an agent works."""
        result = await self.agents.run(AgentRef("desk"), order.text, labels={"order": str(order.number)})
        await workflow.wait_condition(lambda: bool(self.approved_by))
        told = await workflow.execute_activity(notify, order, start_to_close_timeout=timedelta(seconds=10))
        return Shipment(order=order, approved_by=self.approved_by, told=told, answer=str(result.output))

    @workflow.signal
    def approve(self, who: str) -> None:
        """The user's own signal of this name."""
        self.approved_by.append(who)

    @workflow.query
    def status(self) -> str:
        """The user's own query of this name."""
        return f"approved by {len(self.approved_by)}"


@workflow.defn
class TooLate:
    """Makes its host in run(), where a message may have come before."""

    @workflow.run
    async def run(self) -> str:
        """Make the host too late."""
        AgentHost()
        return "not reached"


@workflow.defn
class Careless:
    """Hands an agent what somebody else sent."""

    @workflow.init
    def __init__(self, text: str) -> None:
        """Make the host."""
        self.agents = AgentHost()

    @workflow.run
    async def run(self, text: str) -> str:
        """Run the agent on any text, an empty one too."""
        return str((await self.agents.run("desk", text)).output)


@workflow.defn
class Curious:
    """Looks at what its sandbox gives it."""

    @workflow.run
    async def run(self, ours: int, its_own: int) -> list[bool]:
        """Whether Handfast, and this module, are those with these identities."""
        return [id(AgentHost) == ours, id(Order) == its_own]


@workflow.defn(sandboxed=False)
class Collector:
    """Happens to run while Python collects its garbage."""

    @workflow.run
    async def run(self) -> int:
        """Collect it."""
        return gc.collect()


class MirrorCodec(PayloadCodec):
    """Turns every payload's bytes around; reversible, and nothing reads it by accident."""

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Mirror."""
        return [
            Payload(metadata={"encoding": b"binary/mirror"}, data=each.SerializeToString()[::-1]) for each in payloads
        ]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Mirror back."""
        return [
            Payload.FromString(each.data[::-1]) if each.metadata.get("encoding") == b"binary/mirror" else each
            for each in payloads
        ]


CONVERTER = dataclasses.replace(pydantic_data_converter, payload_codec=MirrorCodec())


async def start_own(lab: Lab, workflow: Any, *args: Any) -> WorkflowHandle[Any, Any]:
    """Start a workflow of the user's, as the user would."""
    handle: WorkflowHandle[Any, Any] = await lab.client.start_workflow(
        workflow, args=args, id=f"own-{uuid.uuid4().hex}", task_queue=lab.task_queue
    )
    lab.watch(lab.hf.run(handle.id))
    return handle
