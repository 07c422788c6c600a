"""User code that is neither a model call nor a tool: evaluated by name, in an activity."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from holdfast.payloads.base import Payload
from holdfast.payloads.json_profile import JsonObject
from holdfast.payloads.model_call import Origin
from holdfast.payloads.tool_call import ArgumentsAt


class WordRejection(Payload):
    """Ask the agent's `rejection_text` for the output of a rejected call."""

    kind: Literal["word_rejection"] = "word_rejection"
    origin: Origin
    tool: str
    arguments: JsonObject | None = None
    at: ArgumentsAt | None = None
    decided_by: str | None = None


class CheckArguments(Payload):
    """Validate arguments that a person edited against the tool's schema."""

    kind: Literal["check_arguments"] = "check_arguments"
    origin: Origin
    tool: str
    arguments: JsonObject | None = None
    at: ArgumentsAt | None = None


Evaluation = Annotated[WordRejection | CheckArguments, Field(discriminator="kind")]
EVALUATION: TypeAdapter[WordRejection | CheckArguments] = TypeAdapter(Evaluation)


class Evaluated(Payload):
    """The answer: `text` for the model, or `problem` where something is refused; both None means fine."""

    text: str | None = None
    problem: str | None = None
