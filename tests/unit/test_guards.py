"""Which guardrail runs when: pure, so no server is needed."""

from __future__ import annotations

from typing import Literal

import pytest

from handfast.payloads.guardrails import KEPT_RESULTS, GuardrailResult, Judged, kept
from handfast.payloads.model_call import ModelReply, NamedGuardrail, PlannedCall
from handfast.workflows.frame.frame import Call, Frame
from handfast.workflows.loop import guardrails


def frame_with(*named: tuple[str, bool], output: list[str] | None = None) -> Frame:
    """A frame that has just heard of its agent's guardrails."""
    frame = Frame(id="0", agent="desk", agent_path=["desk"], phase="thinking")
    asked = ModelReply(
        block="b", items=[], input_guardrails=[NamedGuardrail(name=name, parallel=beside) for name, beside in named]
    )
    assert guardrails.know(frame, asked) is bool(named)
    guardrails.know(frame, ModelReply(block="c", items=[], output_guardrails=output))
    return frame


def started(frame: Frame) -> list[str]:
    """Start what is to be started; its names."""
    names = []
    for step in guardrails.next_guards(frame):
        step.guard.state = "running"
        names.append(step.guard.name)
    return names


def passes(frame: Frame, name: str) -> None:
    """Let a guardrail allow."""
    guardrails.take(frame, next(each for each in frame.guards if each.name == name), Judged(outcome="allow"))


def test_blocking_guardrails_come_one_by_one_then_the_others_together() -> None:
    """The model is held until the blocking ones have passed; parallel ones start together and hold effects."""
    frame = frame_with(("a", False), ("b", False), ("c", True), ("d", True))
    assert started(frame) == ["a"]
    assert started(frame) == []
    passes(frame, "a")
    assert started(frame) == ["b"]
    assert guardrails.hold_model(frame)
    passes(frame, "b")
    assert not guardrails.hold_model(frame)
    assert started(frame) == ["c", "d"]
    effect: list[tuple[Literal["read_only"] | None, bool]] = [("read_only", False), (None, True)]
    for declared, held in effect:
        plan = PlannedCall(index=0, kind="run", effect=declared)
        assert guardrails.hold_call(frame, Call(plan=plan, call_id="c1", tool="t")) is held
    passes(frame, "c")
    passes(frame, "d")
    assert not guardrails.hold_call(frame, Call(plan=PlannedCall(index=0, kind="run"), call_id="c1", tool="t"))


@pytest.mark.parametrize("beside", [False, True], ids=["input-done", "input-under-way"])
def test_an_output_ends_the_frame_when_every_guardrail_has_passed(*, beside: bool) -> None:
    """Output guardrails come one by one; with a parallel one of the input under way the frame is not finished."""
    frame = frame_with(*([("beside", True)] if beside else []), output=["x", "y"])
    assert started(frame) == (["beside"] if beside else [])
    guardrails.finish(frame, "done")
    for name in ["beside", "x", "y"] if beside else ["x", "y"]:
        assert frame.phase == "checking"
        started(frame)
        passes(frame, name)
        guardrails.finish_if_checked(frame)
    assert (frame.phase, frame.output) == ("finished", "done")


def test_without_guardrails_an_output_ends_the_frame_at_once() -> None:
    """Nothing is waited for where there is nothing to wait for."""
    frame = frame_with()
    guardrails.finish(frame, "done")
    assert frame.phase == "finished"


@pytest.mark.parametrize(("outcome", "kind"), [("fail", "GuardrailTripped"), ("error", "GuardrailFailed")])
def test_one_that_stops_the_run_leaves_its_facts(outcome: Literal["fail", "error"], kind: str) -> None:
    """The failure names the guardrail and its reason, as text and as facts."""
    frame = frame_with(("a", True))
    guardrails.take(frame, frame.guards[0], Judged(outcome=outcome, reason="no"))
    assert frame.failure is not None
    assert (frame.failure.type, frame.failure.facts) == (kind, frame.guardrails[0].to_wire())
    assert "input guardrail a of desk" in frame.failure.message


def test_results_are_bounded() -> None:
    """The latest results are kept: 100 of them, and 128 KB in all, so that they fit beside any output."""
    many = [GuardrailResult(guardrail=str(n), kind="input", agent="desk", outcome="allow") for n in range(150)]
    assert [each.guardrail for each in kept(many)] == [str(n) for n in range(50, 50 + KEPT_RESULTS)]
    large = [each.model_copy(update={"info": "x" * 2000}) for each in many]
    found = kept(large)
    assert 0 < len(found) < KEPT_RESULTS
    assert found[-1].guardrail == "149"
