"""`AgentHost`: agent loops, the ledger and its handlers, inside any workflow."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any, Final

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from holdfast.payloads.json_profile import JsonObject
from holdfast.payloads.model_call import Origin
from holdfast.payloads.requests import Request
from holdfast.payloads.runs import CallStatus, RunFacts, RunInput, RunPhase, RunResult, RunStatus
from holdfast.payloads.tool_call import INLINE_ARGUMENTS_BYTES, ArgumentsAt
from holdfast.payloads.transcript import TranscriptQuery
from holdfast.payloads.usage import Usage
from holdfast.workflows.asking import Asker
from holdfast.workflows.deciding import Decider
from holdfast.workflows.doors import read_optional, read_start
from holdfast.workflows.driver import Driver
from holdfast.workflows.frames import Call, Frame
from holdfast.workflows.ledger import Ledger
from holdfast.workflows.publish import Publisher, listed
from holdfast.workflows.transcript import Transcript

INLINE_BYTES_PER_TASK: Final = 1_500_000
"""Arguments that the commands of one workflow task carry inline, together: 4 MB would end the run."""
PREFIX: Final = "holdfast."
"""Before every handler name of a host inside a user's own workflow."""


@dataclass(frozen=True)
class AgentRef:
    """An agent by name: workflows know no more of it, so that a deploy of agent code cannot break them."""

    name: str


class AgentHost:
    """Runs agents inside a user's own workflow.

    Make it in ``@workflow.init``, so that its handlers exist before the first message arrives::

        @workflow.init
        def __init__(self, ticket: Ticket) -> None:
            self.agents = AgentHost()

    Its handlers are those of `AgentRun` with the prefix ``holdfast.``, so they collide with nothing of yours.
    """

    def __init__(self, *, prefix: str = PREFIX) -> None:
        """Register the handlers.

        Raises:
            ApplicationError: Not called in ``@workflow.init`` (type ``HostTooLate``): messages might be lost.
        """
        _assert_in_init()
        info = workflow.info()
        self.ledger = Ledger()
        self.transcript = Transcript()
        self.publisher = Publisher()
        self.asker = Asker(
            workflow_id=info.workflow_id,
            workflow_run=info.first_execution_run_id,
            now=workflow.now,
            new_id=lambda: str(workflow.uuid4()),
        )
        self._prefix = prefix
        self._frames: list[Frame] = []
        self._active: set[str] = set()
        self._unlimited: set[str] = set()
        self._labels: dict[str, str] = {}
        self._ended: RunPhase = "idle"
        self._idling: asyncio.Task[None] | None = None
        self._task = 0
        self._inlined = 0
        self._decider = Decider(self)
        self._register()

    async def run(
        self,
        agent: AgentRef | str,
        input: str | list[JsonObject],
        *,
        context: JsonObject | None = None,
        max_turns: int | None = None,
        labels: dict[str, str] | None = None,
        requested_by: str | None = None,
    ) -> RunResult:
        """Run an agent to its final answer; as often as you like, in parallel too.

        Args:
            agent: By name; it must be known to the workers of this task queue.
            input: A text, or items as the Responses API takes them.
            context: The run's context, as the agent's `context_type` reads it.
            max_turns: Most model replies; None takes the agent's own limit.
            labels: Shown in lists across runs.
            requested_by: Who asked for this run: a claimed name.

        Raises:
            ApplicationError: The run failed; its type says how (``StartInvalid``, ``UnknownAgent``, ``ModelRefused``,
                …).
            asyncio.CancelledError: The workflow, or the task that awaits this, was cancelled.
        """
        given: dict[str, Any] = {
            "agent": agent.name if isinstance(agent, AgentRef) else agent,
            "input": input,
            "context": context,
            "labels": labels or {},
            "requested_by": requested_by,
        }
        if max_turns is not None:
            given["max_turns"] = max_turns
        return await self.run_input(read_start([given], "AgentHost.run takes an agent's name and a text or items"))

    async def run_input(self, given: RunInput) -> RunResult:
        """Run an agent from a validated input, as `AgentRun` does."""
        frame = self._new_frame(given)
        self._active.add(frame.id)
        # No `finally`: see `AgentRun.run`.
        try:
            result = await Driver(self, frame).run()
        except (ApplicationError, asyncio.CancelledError):
            self._leave(frame)
            raise
        self._leave(frame)
        return result

    def _leave(self, frame: Frame) -> None:
        self._active.discard(frame.id)
        if self._prefix:
            # Later in this task: the user's code may start the next agent first, and then nothing has changed.
            self._idling = asyncio.create_task(self._publish_idle())

    async def _publish_idle(self) -> None:
        self.publish_if_idle()

    def refuse_other_signals(self) -> None:
        """Log signals of any other name as refused, instead of leaving them unread: for a workflow of our own."""
        workflow.set_dynamic_signal_handler(self._decider.unknown_signal)

    def close(self, how: RunPhase) -> None:
        """Publish the last state of a workflow that ends with its host."""
        self._ended = how
        self.publish()

    # --- for drivers and handlers ---

    @property
    def ledger_version(self) -> int:
        """Changes whenever the ledger does."""
        return self._decider.version

    def origin(self, frame: Frame) -> Origin:
        """Where an activity of *frame* belongs."""
        return Origin(
            workflow_run=self.asker.workflow_run,
            agent=frame.agent,
            agent_path=frame.agent_path,
            frame=frame.id,
            epoch=frame.epoch,
            turn=frame.turn,
            query=f"{self._prefix}transcript",
            facts=frame.facts,
        )

    def origin_of(self, request: Request) -> Origin:
        """Where an activity that serves *request* belongs."""
        return self.origin(next(frame for frame in self._frames if frame.id == request.frame))

    def item_of(self, frame: Frame, call: Call) -> JsonObject:
        """The item of the reply that made *call*."""
        assert frame.reply is not None
        return self.transcript.items(frame.reply)[call.plan.index]

    def placed(self, arguments: JsonObject, at: ArgumentsAt | None) -> tuple[JsonObject | None, ArgumentsAt | None]:
        """Arguments as an activity gets them: inline while small, else by the block where they stand.

        The commands of one workflow task may not be too large together, so beyond a budget even small ones go by block.
        """
        size = len(json.dumps(arguments))
        task = workflow.info().get_current_history_length()
        if task != self._task:
            self._task, self._inlined = task, 0
        if size <= INLINE_ARGUMENTS_BYTES and self._inlined + size <= INLINE_BYTES_PER_TASK:
            self._inlined += size
            return arguments, None
        if at is None:
            item: JsonObject = {"type": "edited_arguments", "arguments": json.dumps(arguments)}
            at = ArgumentsAt(block=self.transcript.add(str(workflow.uuid4()), [item]), index=0)
        return None, at

    def unlimited(self, frame: Frame) -> bool:
        """Whether the caller lifted the agent's own turn limit."""
        return frame.id in self._unlimited

    def open_request(self, request: Request) -> str:
        """Enter a request in the ledger; return its id."""
        self.ledger.open(request)
        return request.id

    def withdraw_requests(self, frame: str, why: str) -> None:
        """Close every open request of one frame."""
        for request in self.ledger.open_requests():
            if request.frame == frame:
                self.ledger.withdraw(request.id, workflow.now(), why)

    def publish(self) -> None:
        """Write what changed to memo and search attributes."""
        agent = self._frames[-1].agent if self._frames else None
        self.publisher.publish(self.ledger, self._phase(), agent, self._labels)

    def publish_if_idle(self) -> None:
        """Publish where no driver is there to do it in the same task."""
        if not self._active:
            self.publish()

    # --- inside ---

    def _new_frame(self, given: RunInput) -> Frame:
        frame = Frame(
            id=str(len(self._frames)),
            agent=given.agent,
            agent_path=[given.agent],
            max_turns=given.max_turns,
            requested_by=given.requested_by,
        )
        if given.limits_turns and given.max_turns is None:
            self._unlimited.add(frame.id)
        facts = RunFacts(context=given.context, labels=given.labels, requested_by=given.requested_by)
        if facts != RunFacts():
            frame.facts = self.transcript.add(str(workflow.uuid4()), [facts.to_wire()])
        items: list[JsonObject] = (
            [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": given.input}]}]
            if isinstance(given.input, str)
            else given.input
        )
        frame.blocks.append(self.transcript.add(str(workflow.uuid4()), items))
        self._labels = {**self._labels, **given.labels}
        self._frames.append(frame)
        return frame

    def _phase(self) -> RunPhase:
        if not self._active:
            return self._ended
        return "waiting" if self.ledger.open_requests() else "running"

    def _register(self) -> None:
        name, decider = self._prefix, self._decider
        workflow.set_signal_handler(f"{name}approve", decider.approve)
        workflow.set_signal_handler(f"{name}reject", decider.reject)
        workflow.set_signal_handler(f"{name}decide", decider.decide_by_signal)
        workflow.set_update_handler(f"{name}decide", decider.decide, validator=decider.refuse)
        workflow.set_query_handler(f"{name}decision", decider.decision)
        workflow.set_query_handler(f"{name}pending_approvals", self._pending)
        workflow.set_query_handler(f"{name}pending_requests", self._pending)
        workflow.set_query_handler(f"{name}status", self._status)
        workflow.set_query_handler(f"{name}transcript", self._transcript)

    def _pending(self, *_: object) -> list[JsonObject]:
        return listed(self.ledger.open_requests())

    def _status(self, *_: object) -> JsonObject:
        frame = self._frames[-1] if self._frames else None
        pending = self.ledger.open_requests()
        return RunStatus(
            status=self._phase(),
            agent=frame.agent if frame else None,
            turn=frame.turn if frame else 0,
            pending=len(pending),
            usage=sum_usage(self._frames),
            calls=[
                CallStatus(call_id=call.call_id, tool=call.tool, state=call.state, request=call.request)
                for call in (frame.calls if frame else [])
            ],
            problem=next((request.reason for request in pending if request.kind == "in_doubt"), None),
        ).to_wire()

    def _transcript(self, *args: object) -> JsonObject:
        query = read_optional(TranscriptQuery, args)
        frame = next((frame for frame in self._frames if frame.id == query.frame), None)
        order = frame.blocks if frame is not None and frame.epoch == query.epoch else []
        return self.transcript.page(order, query).to_wire()


def sum_usage(frames: list[Frame]) -> Usage:
    """What all frames have spent together."""
    total = Usage()
    for frame in frames:
        total = total.plus(frame.usage)
    return total


def _assert_in_init() -> None:
    if workflow.instance() is not None:
        raise ApplicationError(
            "make AgentHost in @workflow.init: in run() a message could arrive before its handlers exist",
            type="HostTooLate",
            non_retryable=True,
        )
