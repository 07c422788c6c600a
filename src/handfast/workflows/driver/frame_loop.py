"""A frame under way: what every part of its driver uses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

from temporalio import workflow

from handfast.payloads.evaluation import CallQuestion, Question
from handfast.payloads.model_call import Origin
from handfast.workflows.frame.frame import Call, Frame
from handfast.workflows.frame.identity import Identity
from handfast.workflows.state.call_arguments import CallArguments
from handfast.workflows.state.transcript import Transcript
from handfast.workflows.tasks.await_activity import Cancelled, Done, Failed
from handfast.workflows.tasks.work import Work

AnswerT = TypeVar("AnswerT")
CallQuestionT = TypeVar("CallQuestionT", bound=CallQuestion)


@dataclass(frozen=True)
class FrameLoop:
    """A frame under way, with the parts that everything in its driver uses.

    Attributes:
        frame: The data of the loop.
        work: Its activities and nested loops.
        identity: Of the workflow.
        transcript: Holds the blocks that the frame names.
        arguments: Looks up the arguments of its calls.
    """

    frame: Frame
    work: Work
    identity: Identity
    transcript: Transcript
    arguments: CallArguments

    @property
    def origin(self) -> Origin:
        """Origin of the frame's activities."""
        return self.identity.origin(self.frame)

    async def ask(
        self,
        question: Question[AnswerT],
        what: str,
        config: workflow.ActivityConfig,
        *,
        call: str | None = None,
        by_any_worker: bool = False,
    ) -> Done[AnswerT] | Failed | Cancelled:
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

    def about(self, call: Call, kind: type[CallQuestionT], **own: Any) -> CallQuestionT:
        """Return a question about *call*.

        Args:
            call: The call.
            kind: The kind of question.
            own: Fields that only this kind has.
        """
        arguments, at = self.arguments.placed(self.frame, call)
        return kind(origin=self.origin, tool=call.tool, call_id=call.call_id, arguments=arguments, at=at, **own)
