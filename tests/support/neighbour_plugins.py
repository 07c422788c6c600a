"""A user's workflow that asks an agent of another library and one of ours, with a trace around both."""

from __future__ import annotations

from opentelemetry import trace
from pydantic import BaseModel
from temporalio import workflow

from handfast import AgentHost, AgentRef

with workflow.unsafe.imports_passed_through():  # their plugin lets it through, and is not always there
    from agents import Agent as ForeignAgent, Runner


class Question(BaseModel):
    """A model that only a converter which knows pydantic carries as such."""

    text: str
    theirs: bool = True


@workflow.defn
class BothLibraries:
    """Two agent runs, one of each library; ours alone where the question says so."""

    @workflow.init
    def __init__(self, question: Question) -> None:
        """Make the host before the first message."""
        self.agents = AgentHost()

    @workflow.run
    async def run(self, question: Question) -> list[str]:
        """Ask both."""
        answers: list[str] = []
        if question.theirs:
            with trace.get_tracer("shop").start_as_current_span("asked"):
                theirs = await Runner.run(ForeignAgent("foreign", instructions="Answer.", model="m"), question.text)
            answers.append(str(theirs.final_output))
        ours = await self.agents.run(AgentRef("desk"), question.text)
        return [*answers, str(ours.output)]
