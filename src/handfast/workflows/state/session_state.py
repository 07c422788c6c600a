"""The state of a session beside its frame, its ledger and its mailbox."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from pydantic import BaseModel

from handfast.errors import JsonProfileError
from handfast.payloads.base import json_size
from handfast.payloads.history import KeptHistory
from handfast.payloads.json_profile import JsonObject, JsonValue
from handfast.payloads.model_call import StructuredOutput
from handfast.payloads.sessions import CloseSession, OnBusy, TurnFailure, TurnResult
from handfast.workflows.frame.frame import Frame
from handfast.workflows.frame.items import answer_value, text_of_reply
from handfast.workflows.state.transcript import Transcript

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


KEPT_RECORDS: Final = 1000
"""Messages whose result is kept, the newest ones."""
KEPT_OUTPUT_BYTES: Final = 16_000
"""An output above this is read from the transcript, where it stands anyway."""
KEPT_OUTPUTS_BYTES: Final = 256_000
"""All outputs that are kept beside the transcript, together: the state of a session has to travel."""
CARRIED_ANSWERS_BYTES: Final = 256_000
"""Blocks that are taken into a fresh history for nothing but an old answer, together: the newest ones."""
CARRIED_NOTES_BYTES: Final = 128_000
"""Most bytes of guardrails' results and failures of old turns together: the newest of them are kept in full."""
BRIEF_CHARACTERS: Final = 300
"""Characters that are left of the text of an older failure."""


class TurnRecord(BaseModel):
    """The result of one message.

    Attributes:
        block: Of the reply that is its answer, `structured` as it is read; or, where `made`, of the output itself.
        size: Bytes of the output in `result`; None where it is not kept there.
        taken_back: The message was taken back since.
    """

    result: TurnResult
    block: str | None = None
    structured: StructuredOutput | None = None
    made: bool = False
    size: int | None = None
    taken_back: bool = False


class TurnRecords(BaseModel):
    """The records by message id, oldest first."""

    records: dict[str, TurnRecord] = {}
    kept_bytes: int = 0

    def add(self, message_id: str, record: TurnRecord) -> list[str]:
        """Enter what became of a message; large outputs, and those of old ones, are left where they stand.

        Returns:
            Blocks that nobody needs any more.
        """
        size = json_size(record.result.output)
        if size <= KEPT_OUTPUT_BYTES:
            record.size = size
            self.kept_bytes += size
        else:
            _leave(record)
        self.records[message_id] = record
        for each in self.records.values():
            if self.kept_bytes <= KEPT_OUTPUTS_BYTES:
                break
            self._drop_output(each)
        dropped: list[str] = []
        while len(self.records) > KEPT_RECORDS:
            oldest = self.records.pop(next(iter(self.records)))
            self._drop_output(oldest)
            if oldest.made and oldest.block is not None:
                dropped.append(oldest.block)
        return dropped

    def result_of(self, message_id: str, transcript: Transcript) -> TurnResult | None:
        """Return the record of a message that had its turn; None where it is unknown, or known no more."""
        record = self.records.get(message_id)
        if record is None or record.size is not None or record.block is None:
            return None if record is None else record.result
        found = _read(record.block, record, transcript)
        facts: JsonObject = {"expired": True} if found is None else {"output": found[0]}
        return record.result.model_copy(update=facts)

    def carried(self, standing: Collection[str], transcript: Transcript) -> TurnRecords:
        """Return the records for a fresh history: all of the newest messages, and less of those before.

        Args:
            standing: Blocks that are taken along anyway.
            transcript: Knows how large the others are.
        """
        answers, notes = CARRIED_ANSWERS_BYTES, CARRIED_NOTES_BYTES
        newest_first: list[tuple[str, TurnRecord]] = []
        for message_id, record in reversed(self.records.items()):
            taken = record
            if record.block is not None and record.block not in standing:
                answers -= transcript.size([record.block]) if record.size is None else 0
                if record.size is not None or answers < 0:
                    taken = _without_block(record)
            notes -= _notes_size(record.result)
            newest_first.append((message_id, taken if notes >= 0 else _brief(taken)))
        return TurnRecords(records=dict(reversed(newest_first)), kept_bytes=self.kept_bytes)

    def _drop_output(self, record: TurnRecord) -> None:
        self.kept_bytes -= record.size or 0
        if record.size is not None and record.block is None and record.result.output is not None:
            record.result = record.result.model_copy(update={"expired": True})
        _leave(record)


class SessionState(BaseModel):
    """All that lasts of a session beside its frame, its ledger and its mailbox, where messages wait as *early*.

    Attributes:
        frame: The frame that is reopened for each message; None before the session has begun.
        on_message: What becomes of a message that comes while another one is being answered.
        answering: Messages that the turn under way answers: the one that opened it, and those that steer it.
        records: Results of the newest messages.
        starts: How the newest turns began.
        closing: The session was closed: it ends when the messages that wait have been answered.
    """

    frame: str | None = None
    on_message: OnBusy = "queue"
    answering: list[str] = []
    records: TurnRecords = TurnRecords()
    starts: TurnStarts = TurnStarts()
    closing: CloseSession | None = None


def _leave(record: TurnRecord) -> None:
    record.result, record.size = record.result.model_copy(update={"output": None}), None


def _without_block(record: TurnRecord) -> TurnRecord:
    """The record without the block of its answer, which has expired unless it is kept in the record itself."""
    facts = {} if record.size is not None else {"expired": True}
    return record.model_copy(update={"block": None, "result": record.result.model_copy(update=facts)})


def _notes_size(result: TurnResult) -> int:
    said = json_size([each.to_wire() for each in result.guardrails])
    return said + (0 if result.failure is None else json_size(result.failure.to_wire()))


def _brief(record: TurnRecord) -> TurnRecord:
    """The record with what it cannot do without."""
    failure = record.result.failure
    if failure is not None:
        failure = TurnFailure(type=failure.type, message=failure.message[:BRIEF_CHARACTERS])
    return record.model_copy(update={"result": record.result.model_copy(update={"guardrails": [], "failure": failure})})


def _read(block: str, record: TurnRecord, transcript: Transcript) -> tuple[JsonValue] | None:
    """The output as it stands in the transcript; None where that is kept elsewhere by now."""
    items = transcript.items(block) if transcript.has(block) else []
    if not items:
        return None
    if record.made:
        return (items[0].get("output"),)
    if record.structured is None:
        return (text_of_reply(items),)
    try:
        return (answer_value(items, record.structured),)
    except JsonProfileError:  # it was read when it came in; a version that reads it otherwise has nothing better
        return (text_of_reply(items),)
