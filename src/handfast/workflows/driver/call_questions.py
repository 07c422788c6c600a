"""Asks the application about the calls of one frame: its guardrails, checks and texts."""

from __future__ import annotations

from typing import Any

from temporalio import workflow

from handfast.payloads.evaluation import CallQuestion
from handfast.workflows.driver.frame_loop import FrameLoop
from handfast.workflows.frame.frame import Call
from handfast.workflows.state.call_arguments import CallArguments
from handfast.workflows.tasks.await_activity import Settled


class CallQuestions:
    """Asks questions about calls, each in an activity."""

    def __init__(self, loop: FrameLoop, arguments: CallArguments) -> None:
        """Take the loop, and the arguments of its calls."""
        self._loop = loop
        self._arguments = arguments

    async def ask(
        self,
        call: Call,
        kind: type[CallQuestion],
        what: str,
        config: workflow.ActivityConfig,
        *,
        cancellable: bool = False,
        by_any_worker: bool = False,
        **own: Any,
    ) -> Settled:
        """Ask a question about *call*.

        Args:
            call: The call.
            kind: The question.
            what: Summary of the activity, after the agent's name.
            config: Options of the activity.
            cancellable: The activity is cancelled with the call.
            by_any_worker: As `start_activity`.
            own: Fields that only this kind of question has.
        """
        arguments, at = self._arguments.placed(self._loop.frame, call)
        question = kind(
            origin=self._loop.origin, tool=call.tool, call_id=call.call_id, arguments=arguments, at=at, **own
        )
        cancelled_with = call.call_id if cancellable else None
        return await self._loop.ask(question, what, config, call=cancelled_with, by_any_worker=by_any_worker)
