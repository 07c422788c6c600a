"""A frame under way: what every part of its driver uses."""

from __future__ import annotations

from dataclasses import dataclass

from temporalio import workflow

from handfast.payloads.base import Payload
from handfast.payloads.model_call import Origin
from handfast.workflows.frame.frame import Frame
from handfast.workflows.frame.identity import Identity
from handfast.workflows.state.transcript import Transcript
from handfast.workflows.tasks.await_activity import Settled
from handfast.workflows.tasks.work import Work


@dataclass(frozen=True)
class FrameLoop:
    """A frame under way.

    Attributes:
        frame: The data of the loop.
        work: Its activities and nested loops.
        identity: Of the workflow.
        transcript: Holds the blocks that the frame names.
    """

    frame: Frame
    work: Work
    identity: Identity
    transcript: Transcript

    @property
    def origin(self) -> Origin:
        """Where an activity of the frame belongs."""
        return self.identity.origin(self.frame)

    async def ask(
        self,
        question: Payload,
        what: str,
        config: workflow.ActivityConfig,
        *,
        call: str | None = None,
        by_any_worker: bool = False,
    ) -> Settled:
        """Ask user code of the frame's agent something, in an activity.

        Args:
            question: Its input.
            what: Its summary, after the agent's name.
            config: Its options.
            call: Id of the call with which it is cancelled.
            by_any_worker: As `start_activity`.
        """
        summary = f"{self.frame.agent} · {what}"
        return await self.work.evaluate(question, summary, config, call=call, by_any_worker=by_any_worker)
