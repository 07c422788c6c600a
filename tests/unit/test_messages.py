"""When a message is checked, placed or refused: pure, so no server is needed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import pytest

from handfast.errors import MessageConflictError
from handfast.payloads.guardrails import Judged
from handfast.payloads.messages import Message
from handfast.payloads.model_call import ModelReply
from handfast.payloads.usage import Usage
from handfast.workflows.frame.frame import Frame, Guard, Queued
from handfast.workflows.ledger.log import RequestLog
from handfast.workflows.loop import guardrails, messages, next_steps
from handfast.workflows.loop.messages import CheckMessage, PlaceMessages, RefuseMessages
from handfast.workflows.loop.steps import CallModel, Stop
from handfast.workflows.state.mailbox import KEPT_MESSAGES, Mailbox, MailboxState

NOW: Final = datetime(2026, 1, 1, tzinfo=UTC)


def frame_with(*queued: str, input_guard: bool = False) -> Frame:
    """A frame whose next step is a model call, with messages of these ids."""
    frame = Frame(id="0", agent="desk", agent_path=["desk"], guards_known=True)
    frame.queue = [Queued(id=name, block=f"block of {name}", size=1) for name in queued]
    if input_guard:
        frame.guards = [Guard(name="names", agent="desk", kind="input", state="done")]
    return frame


def steps(frame: Frame) -> list[object]:
    """What the loop wants next."""
    return list(next_steps.next_steps(frame, {}, NOW, Usage()))


def test_a_model_call_waits_until_every_message_was_looked_at() -> None:
    """Two messages are checked side by side; the model is called when both have passed, and are placed."""
    frame = frame_with("m1", "m2", input_guard=True)
    checks = steps(frame)
    assert [(type(each), each.message.id) for each in checks if isinstance(each, CheckMessage)] == [
        (CheckMessage, "m1"),
        (CheckMessage, "m2"),
    ]
    for each in checks:
        assert isinstance(each, CheckMessage)
        each.guard.state = "running"
    assert steps(frame) == []
    for each in checks:
        assert isinstance(each, CheckMessage)
        assert guardrails.take_message(frame, each.message, each.guard, Judged(outcome="allow")) is None
    assert steps(frame) == [PlaceMessages()]
    frame.queue = []
    assert steps(frame) == [CallModel()]
    assert [result.message for result in frame.guardrails] == ["m1", "m2"]


def test_before_the_first_model_call_nothing_is_placed() -> None:
    """While it is not known which guardrails there are, messages stay in the queue, and the model is asked first."""
    frame = frame_with("m1")
    frame.guards_known = False
    assert steps(frame) == [CallModel()]
    assert [message.id for message in frame.queue] == ["m1"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param({}, [PlaceMessages()], id="a-further-turn"),
        pytest.param({"max_turns": 1}, "no_turn", id="no-turn-left"),
        pytest.param({"max_turns": 1, "granted_turns": 1}, [PlaceMessages()], id="a-turn-was-granted"),
        pytest.param({"on_message": "refuse"}, "no_turn", id="refused-by-policy"),
        pytest.param({"stop": "enough"}, "stopped", id="told-to-stop"),
    ],
)
def test_a_message_at_the_end_is_answered_or_refused(change: dict[str, object], expected: object) -> None:
    """A frame that has its output goes on for a message where it may; else it says why not, and ends."""
    frame = frame_with("m1").model_copy(update={"turn": 1, **change})
    guardrails.finish(frame, "the answer", ModelReply(block="b", items=[]))
    assert frame.phase == "checking"
    found = steps(frame)
    if not isinstance(expected, str):
        assert found == expected
        assert (frame.phase, frame.output, frame.answer) == ("model", None, None)
        return
    [refusal] = found
    assert isinstance(refusal, RefuseMessages)
    assert refusal.reason == expected
    frame.queue = []
    assert steps(frame) == []
    assert (frame.phase, frame.output) == ("finished", "the answer")


def test_an_output_that_is_being_looked_at_is_not_given_up() -> None:
    """While an output guardrail runs, a message waits: what trips on the answer ends the run as ever."""
    frame = frame_with("m1")
    frame.output_guards = [Guard(name="polite", agent="desk", kind="output", state="running")]
    guardrails.finish(frame, "the answer")
    assert steps(frame) == []
    frame.guards[0].state = "done"
    assert steps(frame) == [PlaceMessages()]
    assert frame.guards == []


def test_a_stop_comes_before_a_message() -> None:
    """A frame that is told to stop makes no further call for a message that waits."""
    frame = frame_with("m1", input_guard=True)
    frame.stop = "enough"
    assert steps(frame) == [Stop()]
    assert messages.next_checks(frame) == []


def test_the_newest_thousand_messages_are_known_by_their_ids() -> None:
    """Of older ones nothing is known any more; what is known goes along into a fresh history."""
    state = MailboxState()
    box = Mailbox(state, RequestLog({}), str)
    frame = frame_with()
    for number in range(KEPT_MESSAGES + 1):
        message = Message(text=f"{number}", id=f"m{number}")
        box.take(frame, message, f"m{number}", NOW)
    other = Mailbox(MailboxState.model_validate_json(state.model_dump_json()), RequestLog({}), str)
    assert other.repeated(Message(text="0", id="m0")) is None
    known = other.repeated(Message(text="1", id="m1", by="somebody else"))
    assert known is not None
    assert (known.state, known.duplicate, known.at) == ("queued", True, NOW)
    with pytest.raises(MessageConflictError):
        other.repeated(Message(text="1", id="m2"))
