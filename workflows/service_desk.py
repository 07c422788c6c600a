"""`ServiceDesk`: agents work on a ticket now, and one checks the work later."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from temporalio import workflow

from handfast import AgentHost, AgentRef


@dataclass(frozen=True)
class Ticket:
    """A request to the desk.

    Attributes:
        follow_up_after_s: Seconds between the answer and the second look; a day by default.
        requested_by: Name of the person who asks, as claimed.
        customer: The customer whose orders the ticket may be about; None allows no order.
    """

    text: str
    follow_up_after_s: float = timedelta(days=1).total_seconds()
    requested_by: str | None = None
    customer: str | None = None


@dataclass(frozen=True)
class Outcome:
    """The last agent's report on a ticket.

    Attributes:
        report: Report to the person who wrote the ticket.
        left_open: A sentence for each thing that was asked for and not done, with the reason.
    """

    report: str
    left_open: list[str]


@dataclass(frozen=True)
class Resolution:
    """The end of a ticket.

    Attributes:
        outcome: The report of the last agent.
        ended_by: Name of that agent.
        closing_note: Result of the follow-up.
        model_calls: Replies of the model to all agents.
    """

    outcome: Outcome
    ended_by: str
    closing_note: str
    model_calls: int


TRIAGE = AgentRef("triage", output_type=Outcome)
FOLLOW_UP = AgentRef("follow_up")


@workflow.defn
class ServiceDesk:
    """Triage finds the agents for a ticket, they ask people where they must, and later one checks the work."""

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
