"""`ServiceDesk`: a ticket is worked on now, and looked at once more later."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from temporalio import workflow

from holdfast import AgentHost, AgentRef


@dataclass(frozen=True)
class Ticket:
    """What someone asks of the desk.

    Attributes:
        follow_up_after_s: Seconds between the answer and the second look; a day by default.
        requested_by: Who asks: a claimed name, recorded.
    """

    text: str
    follow_up_after_s: float = timedelta(days=1).total_seconds()
    requested_by: str | None = None


@dataclass(frozen=True)
class Resolution:
    """What became of a ticket.

    Attributes:
        answer: What IT support said when it was done.
        closing_note: What the follow-up found.
        model_calls: Replies of the model, both agents together.
    """

    answer: str
    closing_note: str
    model_calls: int


@workflow.defn
class ServiceDesk:
    """IT support works on the ticket, asking people where it must; a timer later a second agent checks the outcome."""

    @workflow.init
    def __init__(self, ticket: Ticket) -> None:
        """Make the host, before the first message can arrive."""
        self.agents = AgentHost()

    @workflow.run
    async def run(self, ticket: Ticket) -> Resolution:
        """Work on one ticket to its end."""
        work = await self.agents.run(AgentRef("it_support"), ticket.text, requested_by=ticket.requested_by)
        await workflow.sleep(timedelta(seconds=ticket.follow_up_after_s), summary="until the follow-up")
        check = await self.agents.run(
            AgentRef("follow_up"),
            f"The ticket: {ticket.text}\n\nWhat IT support reported: {work.output}",
            requested_by=ticket.requested_by,
        )
        return Resolution(
            answer=str(work.output),
            closing_note=str(check.output),
            model_calls=work.turns + check.turns,
        )
