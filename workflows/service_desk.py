"""`ServiceDesk`: a ticket is worked on now, and looked at once more later."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from temporalio import workflow

from handfast import AgentHost, AgentRef


@dataclass(frozen=True)
class Ticket:
    """What someone asks of the desk.

    Attributes:
        follow_up_after_s: Seconds between the answer and the second look; a day by default.
        requested_by: Who asks: a claimed name, recorded.
        customer: Whose orders it may be about; None is nobody's.
    """

    text: str
    follow_up_after_s: float = timedelta(days=1).total_seconds()
    requested_by: str | None = None
    customer: str | None = None


@dataclass(frozen=True)
class Outcome:
    """What the agent that ends a ticket says of it.

    Attributes:
        report: For the person who wrote the ticket.
        left_open: What was asked for and not done, a sentence each, with the reason.
    """

    report: str
    left_open: list[str]


@dataclass(frozen=True)
class Resolution:
    """What became of a ticket.

    Attributes:
        outcome: What the agents said when they were done.
        ended_by: The agent that said it, after the last handoff.
        closing_note: What the follow-up found.
        model_calls: Replies of the model, all agents together.
    """

    outcome: Outcome
    ended_by: str
    closing_note: str
    model_calls: int


TRIAGE = AgentRef("triage", output_type=Outcome)
FOLLOW_UP = AgentRef("follow_up")


@workflow.defn
class ServiceDesk:
    """Triage finds the agents for a ticket, people are asked where they must be; a timer later someone checks on it."""

    @workflow.init
    def __init__(self, ticket: Ticket) -> None:
        """Make the host, before the first message can arrive."""
        self.agents = AgentHost()

    @workflow.run
    async def run(self, ticket: Ticket) -> Resolution:
        """Work on one ticket to its end."""
        work = await self.agents.run(
            TRIAGE, ticket.text, context={"customer": ticket.customer}, requested_by=ticket.requested_by
        )
        await workflow.sleep(timedelta(seconds=ticket.follow_up_after_s), summary="until the follow-up")
        check = await self.agents.run(
            FOLLOW_UP,
            f"The ticket: {ticket.text}\n\nWhat {work.agent} reported: {work.output.report}",
            requested_by=ticket.requested_by,
        )
        return Resolution(
            outcome=work.output,
            ended_by=work.agent,
            closing_note=str(check.output),
            model_calls=work.usage.requests + check.usage.requests,
        )
