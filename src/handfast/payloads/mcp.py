"""Payloads about calls of MCP tools: the definition that was shown, questions of the server, and the answers."""

from __future__ import annotations

from typing import Final, Literal

from handfast.payloads.base import Payload
from handfast.payloads.json_profile import JsonObject
from handfast.payloads.model_call import Effect
from handfast.payloads.requests import Difference

__all__ = [
    "FORM_BYTES",
    "MCP_UNAVAILABLE",
    "MESSAGE_CHARACTERS",
    "MOST_QUESTIONS",
    "MOST_ROUNDS",
    "STATE_BYTES",
    "McpAnswer",
    "McpAsked",
    "McpChange",
    "McpQuestion",
    "McpShown",
]

MCP_UNAVAILABLE: Final = "McpUnavailable"
"""Error type of a model call that was not made, as an MCP server that is required could not be reached."""
FORM_BYTES: Final = 8192
"""Largest JSON schema of an answer: it travels with its request."""
STATE_BYTES: Final = 32 * 1024
"""Largest state that a server may want to have back with the answers."""
MOST_QUESTIONS: Final = 10
"""Questions that a server may ask at once."""
MOST_ROUNDS: Final = 10
"""Most questions of a server about one call."""
MESSAGE_CHARACTERS: Final = 4000
"""Most characters of a question's text: the rest is cut."""


class McpShown(Payload):
    """The tool as it was when its call was planned, or when a person was asked about it last.

    Attributes:
        server: Name of the server.
        digest: Of the whole definition.
        definition: Description, schema and annotations; of large ones their digests.
    """

    server: str
    digest: str
    definition: JsonObject = {}


class McpChange(Payload):
    """The definition that a server gives of a tool by now, where that is not the one that was shown.

    Attributes:
        shown: The definition by now.
        effect: That follows from it.
        difference: For the person who is asked.
    """

    shown: McpShown
    effect: Effect
    difference: Difference


class McpQuestion(Payload):
    """A question that a server asks in the middle of a call.

    Attributes:
        key: By which the server knows the answer.
        message: What the person reads.
        form: JSON schema of the answer; None where a page at `url` is to be visited.
        url: Address of that page.
    """

    key: str
    message: str
    form: JsonObject | None = None
    url: str | None = None


class McpAnswer(Payload):
    """The answer to one of them.

    Attributes:
        action: *accept*: with `content`, where it has a form. *decline*: a person said no. *cancel*: nobody answered.
    """

    key: str
    action: Literal["accept", "decline", "cancel"]
    content: JsonObject | None = None


class McpAsked(Payload):
    """The questions of a server, and how the call goes on once they are answered.

    Attributes:
        state: Opaque to us: the server wants it back.
        round: How often it has asked for this call, from 1.
        answers: So far.
        held: The call goes on at the server meanwhile, in a session of the worker that made it.
    """

    questions: list[McpQuestion] = []
    state: str | None = None
    round: int = 1
    answers: list[McpAnswer] = []
    held: bool | None = None

    @property
    def next_question(self) -> McpQuestion | None:
        """The first question without an answer."""
        answered = {each.key for each in self.answers}
        return next((each for each in self.questions if each.key not in answered), None)

    def answered(self, action: Literal["accept", "decline", "cancel"], output: object = None) -> McpAsked:
        """Return it with the answer to the next question.

        Args:
            action: See `McpAnswer`.
            output: What a person answered.
        """
        question = self.next_question
        assert question is not None
        content = output if action == "accept" and question.form is not None and isinstance(output, dict) else None
        answer = McpAnswer(key=question.key, action=action, content=content)
        return self.model_copy(update={"answers": [*self.answers, answer]})
