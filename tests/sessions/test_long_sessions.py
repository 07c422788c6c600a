"""What a session takes along into its fresh histories, and what becomes of one that weighs too much."""

from __future__ import annotations

import random
import uuid
from datetime import timedelta
from pathlib import Path

import pytest

from handfast import Agent
from handfast.client.session import Session
from handfast.errors import AnswerExpiredError, MessageRefusedError, RunFailedError, SessionClosedError, TurnFailedError
from handfast.payloads.base import json_size
from handfast.payloads.continuation import Carry
from handfast.payloads.guardrails import GuardrailResult
from handfast.payloads.sessions import TurnFailure, TurnResult
from handfast.testing import Lab, Reply, text
from handfast.workflows.state.run_state import RunState
from handfast.workflows.state.session_state import KEPT_OUTPUTS_BYTES, TurnRecord, TurnRecords
from handfast.workflows.state.transcript import Transcript, TranscriptState
from support.labs import MakeLab

WAIT = timedelta(seconds=30)
SHORT = 40


def clerk() -> Agent:
    """An agent without tools."""
    return Agent("clerk", model="m")


def letter(number: int, size: int) -> str:
    """An answer that hardly becomes smaller when it is compressed."""
    return random.Random(number).randbytes(size // 2).hex()


def begun(lab: Lab) -> Session:
    """A session that leaves its histories early."""
    return lab.watch(lab.hf.session(f"s-{uuid.uuid4().hex[:8]}", agent="clerk", segment_events=SHORT))


async def states(lab: Lab, session: Session) -> list[RunState]:
    """What it took along, each time."""
    found = []
    for history in (await lab.histories(session))[1:]:
        given = history.events[0].workflow_execution_started_event_attributes.input.payloads
        [start] = await lab.client.data_converter.decode(given)
        found.append(RunState.model_validate_json(Carry.from_wire(start["carried"]).text()))
    return found


async def test_answers_that_are_kept_elsewhere_do_not_travel(
    make_lab: MakeLab, tmp_path: Path, cache: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Old answers do not weigh on every fresh history: short ones stay at hand, the newest long ones too; of an older
    one a typed error says where it still stands."""
    monkeypatch.setattr("handfast.workflows.state.session_state.CARRIED_ANSWERS_BYTES", 60_000)
    sizes = (20_000, 300, 20_000, 300, 20_000, 300, 20_000, 300, 20_000, 300, 20_000, 300)
    said = [letter(number, size) for number, size in enumerate(sizes)]
    lab = await make_lab(
        [clerk()], script=[Reply(text(each)) for each in said], artifacts=str(tmp_path), max_cached_workflows=cache
    )
    session = begun(lab)
    for number in range(len(said)):
        turn = await session.send("go on", message_id=f"m{number}")
        assert await turn.output(timeout=WAIT) == said[number]
    carried = await states(lab, session)
    assert len(carried) >= 3
    held = [sum(len(str(items)) for items in each.transcript.blocks.values()) for each in carried]
    assert max(held) < 60_000 + 3 * 25_000, held  # what is at hand, and the latest turns
    for number in (1, 3, 5, 7, 9, 11, 10):
        assert await session.turn(f"m{number}").output(timeout=WAIT) == said[number]
    with pytest.raises(AnswerExpiredError, match="items"):
        await session.turn("m0").output(timeout=WAIT)
    result = await session.turn("m0").result(timeout=WAIT, output_type=str)
    assert result.expired
    assert result.turns == 1
    assert "output" not in result.to_wire()
    assert said[0] in str(await session.items())


async def test_a_session_that_cannot_be_taken_along_ends_in_time(
    make_lab: MakeLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session too large for a fresh history ends with the remedy, between two messages too; it does not go on
    until no worker can replay it."""
    monkeypatch.setattr("handfast.workflows.continuation.carry.CARRY_BYTES", 2_000)
    monkeypatch.setattr("handfast.workflows.continuation.carry.POSTPONED_EVENTS", 30)
    monkeypatch.setattr("handfast.workflows.continuation.carry.LATEST_EVENTS", 90)
    lab = await make_lab([clerk()], script=[Reply(text(letter(number, 1_000))) for number in range(40)], replay=False)
    session = begun(lab)
    ended = False
    while not ended:
        try:
            await (await session.send("go on")).output(timeout=WAIT)
        except (SessionClosedError, TurnFailedError, MessageRefusedError):
            ended = True
    with pytest.raises(RunFailedError, match="artifacts=") as failed:
        await session.result(timeout=WAIT)
    assert failed.value.kind == "ConversationTooLarge"
    with pytest.raises(SessionClosedError):
        await session.send("go on")
    assert len(lab.model.requests) < 40


def test_what_was_said_of_old_messages_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the newest messages everything travels; of older ones neither what guardrails said nor a long text why they
    failed, so that a thousand of them never keep a session from going on."""
    monkeypatch.setattr("handfast.workflows.state.session_state.CARRIED_NOTES_BYTES", 25_000)
    records = TurnRecords()
    said = GuardrailResult(guardrail="polite", agent="clerk", kind="input", outcome="fail", info="x" * 2_000)
    failure = TurnFailure(type="GuardrailTripped", message="y" * 8_000, facts={"more": "z"})
    for number in range(10):
        records.add(f"m{number}", TurnRecord(result=TurnResult(agent="clerk", guardrails=[said], failure=failure)))
    carried = records.carried((), Transcript(TranscriptState(), str))
    assert list(carried.records) == [f"m{number}" for number in range(10)]
    whole = [len(each.result.guardrails) for each in carried.records.values()]
    assert whole == [0] * 8 + [1] * 2
    oldest = carried.records["m0"].result.failure
    assert oldest is not None
    assert (oldest.type, len(oldest.message), oldest.facts) == ("GuardrailTripped", 300, None)
    assert len(carried.model_dump_json()) < 30_000


def test_what_is_kept_of_answers_is_counted_once() -> None:
    """Failed turns among many answers do not loosen the bound on what is kept."""
    records = TurnRecords()
    for number in range(200):
        records.add(
            f"f{number}", TurnRecord(result=TurnResult(agent="clerk", failure=TurnFailure(type="T", message="m")))
        )
    for number in range(200):
        records.add(f"a{number}", TurnRecord(result=TurnResult(agent="clerk", output="x" * 10_000), block=f"b{number}"))
    kept = [each for each in records.records.values() if each.size is not None]
    held = sum(json_size(each.result.output) for each in kept)
    assert records.kept_bytes == held <= KEPT_OUTPUTS_BYTES
