"""How each turn of a session began, the newest ones: what is needed to take its message back. Pure."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel

from handfast.payloads.history import KeptHistory
from handfast.workflows.frame.frame import Frame

KEPT_STARTS: Final = 50


class TurnStart(BaseModel):
    """The start of one turn.

    Attributes:
        messages: Ids of the messages that the turn answers: the one that opened it, and those that steered it.
        block: The first block of it, with the message that opened it; None where nothing of it is in the conversation.
        agent: Who had the conversation; `agent_path` likewise.
        history: What the model's provider kept of it.
    """

    messages: list[str]
    block: str | None
    agent: str
    agent_path: list[str]
    history: KeptHistory | None = None


class TurnStarts(BaseModel):
    """The starts of the newest turns, oldest first."""

    kept: list[TurnStart] = []

    def begin(self, frame: Frame, message_id: str) -> None:
        """Enter the turn that *frame* has been reopened for."""
        start = TurnStart(messages=[message_id], block=frame.input, agent=frame.agent, agent_path=frame.agent_path)
        self.kept = [*self.kept, start][-KEPT_STARTS:]

    def settle(self, frame: Frame, messages: list[str], first: str | None) -> None:
        """Enter what is known of the newest turn now that it is over, and *frame* closed.

        Args:
            frame: The loop.
            messages: Those that it answered.
            first: The first block that is left of the turn.
        """
        start = self.kept[-1] if self.kept else None
        if start is None:
            return  # it began before starts were kept
        start.messages = messages
        start.block = first
        start.history = frame.history_before
