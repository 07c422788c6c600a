"""Scenes in which the user's own functions are asked, and answer; and what the log alone tells of. See `record`."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from pydantic import BaseModel

from handfast import (
    Agent,
    AgentEnd,
    AgentHooks,
    Fail,
    FinalOutput,
    InputGuardrail,
    Rejection,
    Run,
    handoff,
    question,
    tool,
)
from handfast.testing import Lab, Reply, call, refusal, text
from support.evidence import logged

DONE = Reply(text("done"))


class Door(BaseModel):
    """Which door."""

    color: str


def let_pass(_context: Any, _arguments: Any) -> None:
    """Have nothing against it."""


def politely(_context: Any, items: Any) -> Fail | None:
    """Refuse what is rude."""
    return Fail("it is rude") if "rude" in str(items) else None


@tool(input_guardrails=[let_pass], output_guardrails=[let_pass])
async def order(amount: int) -> str:
    """Order something."""
    return f"ordered {amount}"


@tool(timeout=timedelta(seconds=0.2))
async def drop() -> str:
    """End with an unknown outcome, which nobody is asked about."""
    await asyncio.Event().wait()
    return "never"


class Ears(AgentHooks):
    """Hear of what only a workflow that was asked to tells."""

    def on_agent_end(self, context: Any, end: AgentEnd) -> None:
        """Hear of it."""

    def on_call_rejected(self, context: Any, rejection: Rejection) -> None:
        """Hear of it."""


@tool(approval=True)
async def send(amount: int) -> str:
    """Send something."""
    return f"sent {amount}"


def last_words(_context: Any, _refusal: Any) -> FinalOutput:
    """Say something in place of a model that refuses."""
    return FinalOutput("it cannot be done")


helper = Agent("helper", model="m")
speaker = Agent("speaker", model="m", on_refusal=last_words)
AGENTS = [
    Agent(
        "clerk",
        model="m",
        tools=[order, drop, question(name="ask_form", form=Door)],
        input_guardrails=[InputGuardrail(politely, parallel=False)],
        after_tools=let_pass,
    ),
    Agent("observed", model="m", tools=[send], hooks=[Ears()]),
    Agent(
        "chief",
        model="m",
        tools=[
            helper.as_tool(
                "ask_helper",
                input_builder=lambda _context, arguments: f"Please: {arguments.input}",
                output_extractor=lambda _context, run: f"{run.agent} says {run.output}",
            ),
            helper.as_tool("ask_again", on_error=lambda _context, failure: f"it failed: {failure.kind}"),
        ],
        handoffs=[handoff(speaker, on_handoff=lambda _context: None)],
    ),
]


async def asked(lab: Lab, run: Run) -> None:
    """A tool's guardrail, a question's form and `after_tools` were asked; a message was refused; completed."""
    request = await lab.next_request(run)
    await run.send("Be rude.", message_id="m1")
    await logged(lab, run, "message_refused", 1)
    await run.answer(request, {"color": "green"}, decided_by="rita")
    await run.result()


async def delegated(_lab: Lab, run: Run) -> None:
    """Input, output and failure of nested agents were made by functions; a handoff was told; a refusal was answered."""
    await run.result()


async def observed(lab: Lab, run: Run) -> None:
    """Hooks heard of a rejected call and of the agent's end; completed."""
    await run.reject(await lab.next_request(run), decided_by="rita")
    await run.result()


SCENES = {
    "observed": ([Reply(call("send", {"amount": 7}, "c1")), DONE], observed),
    "asked": (
        [
            Reply(
                call("order", {"amount": 7}, "c1"),
                call("drop", {}, "c2"),
                call("ask_form", {"question": "Which door?"}, "c3"),
            ),
            DONE,
        ],
        asked,
    ),
    "delegated": (
        [
            Reply(call("ask_helper", {"input": "one"}, "o1")),
            DONE,
            Reply(call("ask_again", {"input": "two"}, "o2")),
            Reply(refusal("I will not")),
            Reply(call("transfer_to_speaker", {}, "h1")),
            Reply(refusal("Nor will I")),
        ],
        delegated,
    ),
}
STARTED_WITH = {"observed": "observed", "asked": "clerk", "delegated": "chief"}
