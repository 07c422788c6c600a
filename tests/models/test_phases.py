"""The output of a run is its final answer, and not what the model said on the way to it."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from handfast import Agent, Allow, OutputGuardrail
from handfast.payloads.events import ModelReplied
from handfast.testing import Reply, call, raw
from handfast.workflows.frame.items import answers_of, text_of_reply
from support.labs import Effects, MakeLab
from support.model_outputs import desk


def said(text: str, phase: str | None = None, **more: Any) -> dict[str, Any]:
    """A message of the model's."""
    phased = {} if phase is None else {"phase": phase}
    content = [{"type": "output_text", "text": text, "annotations": []}]
    return {"type": "message", "role": "assistant", "content": content, **phased, **more}


LOOKING, SHIPPED = said("I will look.", "commentary"), said("It has shipped.", "final_answer")
REPLIES = {
    "phases": ([LOOKING, SHIPPED], "It has shipped."),
    "commentary-last": ([SHIPPED, LOOKING], "It has shipped."),
    "two-parts-of-the-answer": ([LOOKING, SHIPPED, said("Today.", "final_answer")], "It has shipped.\n\nToday."),
    "no-phases": ([said("I will look."), said("It has shipped.")], "I will look.\n\nIt has shipped."),
    "commentary-and-none": ([LOOKING, said("It has shipped.")], "It has shipped."),
    "commentary-alone": ([LOOKING], "I will look."),
    "an-empty-answer": ([LOOKING, said(" ", "final_answer")], "I will look."),
    "blank-beside": ([said("\n"), said("It has shipped.")], "It has shipped."),
    "an-echo": ([{**said("What?"), "role": "user"}, said("It has shipped.")], "It has shipped."),
}


@pytest.mark.parametrize("name", REPLIES)
def test_the_text_of_a_reply_is_its_final_answer(name: str) -> None:
    """Phases tell the answer from what was said on the way; without them all messages are it, a blank line
    between."""
    items, text = REPLIES[name]
    assert text_of_reply(items) == text


def test_parts_of_one_message_are_one_text() -> None:
    """What is one message stays one, however many parts it has."""
    parts = [{"type": "output_text", "text": each} for each in ("It has ", "shipped.")]
    assert answers_of([{"type": "message", "role": "assistant", "content": parts}]) == ["It has shipped."]


async def test_a_run_ends_with_the_final_answer(make_lab: MakeLab, effects: Effects) -> None:
    """Result, event and hooks say the final answer; both messages go back with their phases, and commentary beside
    a call is no answer."""
    script = [Reply(raw(LOOKING), call("note", {"line": "a"})), Reply(raw(LOOKING), raw(SHIPPED)), Reply(raw(SHIPPED))]
    lab = await make_lab([desk(effects)], script=script)
    session = lab.hf.session(f"talk-{lab.task_queue}", agent="desk")
    first = await session.send("where is it?")
    assert await first.output() == "It has shipped."
    lab.watch(session)
    second = await session.send("sure?")
    assert await second.output() == "It has shipped."
    phases = [item.get("phase") for item in lab.model.requests[2].body["input"] if item.get("role") == "assistant"]
    assert phases == ["commentary", "commentary", "final_answer"]
    replies = [event.text async for event in first.stream() if isinstance(event, ModelReplied)]
    assert replies == ["I will look.", "It has shipped."]
    assert lab.model.violations == []


class Parcel(BaseModel):
    """Where a parcel is."""

    shipped: bool


async def test_a_structured_answer_is_the_final_one(make_lab: MakeLab) -> None:
    """Commentary before or after it is no part of the JSON that the output type reads."""
    seen: list[object] = []

    async def look(ctx: Any, output: object) -> Allow:
        seen.append(output)
        return Allow()

    agent = Agent("desk", model="m", output_type=Parcel, output_guardrails=[OutputGuardrail(look)])
    reply = Reply(raw(LOOKING), raw(said('{"shipped": true}', "final_answer")), raw(said("Done.", "commentary")))
    lab = await make_lab([agent], script=[reply])
    assert (await (await lab.start("desk")).result()).output == {"shipped": True}
    assert seen == [Parcel(shipped=True)]
