"""The final answer of a frame: read from the reply that holds it, or asked for once more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from handfast.definitions.schema.output_type import unwrapped
from handfast.payloads.json_profile import JsonObject, JsonValue, reparse_json
from handfast.payloads.model_call import ModelReply, StructuredOutput
from handfast.payloads.transcript import user_message
from handfast.workflows.frame.frame import Failure, Frame
from handfast.workflows.loop import guardrails, next_steps
from handfast.workflows.state.run_state import RunState

MOST_INVALID_OUTPUTS: Final = 2
"""Answers that do not fit the output type before the run fails: the model is told once what was wrong."""


class Answers:
    """Takes the final answers of one frame."""

    def __init__(self, state: RunState, frame: Frame) -> None:
        self._state = state
        self._frame = frame

    def take(self, reply: ModelReply) -> None:
        """Take a reply without calls: it ends the frame, or it is asked for again."""
        structured = reply.structured
        if structured is None:
            guardrails.finish(self._frame, next_steps.text_of_reply(reply.items), reply)
        elif structured.problem is not None:
            self._refuse(structured.problem)
        else:
            try:
                value = value_of(reply.items, structured)
            except ValueError as error:  # the activity of another version thought otherwise
                self._refuse(str(error))
            else:
                guardrails.finish(self._frame, value, reply)

    def _refuse(self, problem: str) -> None:
        """Tell the model what was wrong, once."""
        frame = self._frame
        frame.invalid_outputs += 1
        if frame.invalid_outputs >= MOST_INVALID_OUTPUTS:
            frame.failure = Failure(type="OutputInvalid", message=f"{frame.agent}: {problem}")
            return
        text = f"Your answer could not be used: {problem}. Answer again in the required format."
        frame.blocks.append(self._state.new_block([user_message(text)]))
        frame.phase = "model"


def value_of(items: Sequence[JsonObject], structured: StructuredOutput) -> JsonValue:
    """The JSON value of an answer that was found to fit, as the model wrote it.

    Raises:
        ValueError: It is no JSON.
    """
    # The activity has checked it: a second time would be 0.4 s of a workflow task for two megabytes.
    value: JsonValue = reparse_json(answer_text(items))
    return unwrapped(value) if structured.wrapped else value


def answer_text(items: Sequence[JsonObject]) -> str:
    """The text of the last message of an answer: what comes before it is no part of a structured one."""
    return next(reversed(next_steps.answers_of(items)), "")
