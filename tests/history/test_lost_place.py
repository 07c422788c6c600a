"""What happens to whoever reads a run's history when the server loses the place up to which it was read."""

from __future__ import annotations

from temporalio.client import (
    Client,
    FetchWorkflowHistoryEventsInput,
    Interceptor,
    OutboundInterceptor,
    WorkflowHistoryEventAsyncIterator,
)
from temporalio.service import RPCError

from handfast import Agent, Handfast, tool
from handfast.testing import Reply, call, text
from support.labs import Effects, MakeLab

ANOTHER_BRANCH = b"\x52\x04\x10\xc0\x84\x3d"
"""Appended to a page token, names a version of the history's last item that the server never had."""


class LosingIterator(WorkflowHistoryEventAsyncIterator):
    """Asks for its second page with a token that the server does not know any more."""

    def __init__(
        self, whole: WorkflowHistoryEventAsyncIterator, input: FetchWorkflowHistoryEventsInput, refused: list[str]
    ) -> None:
        super().__init__(whole._client, input)
        self._refused = refused

    async def fetch_next_page(self, *, page_size: int | None = None) -> None:
        if self._next_page_token is not None:
            self._next_page_token += ANOTHER_BRANCH
        try:
            await super().fetch_next_page(page_size=page_size)
        except RPCError as error:
            self._refused.append(error.message)
            raise


class Losing(Interceptor):
    """Makes the first long polls of a client lose their place.

    Attributes:
        refused: What the server said.
    """

    def __init__(self, times: int) -> None:
        self.times = times
        self.refused: list[str] = []

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        losing = self

        class Outbound(OutboundInterceptor):
            def fetch_workflow_history_events(
                self, input: FetchWorkflowHistoryEventsInput
            ) -> WorkflowHistoryEventAsyncIterator:
                whole = super().fetch_workflow_history_events(input)
                if not (input.wait_new_event and losing.times):
                    return whole
                losing.times -= 1
                return LosingIterator(whole, input, losing.refused)

        return Outbound(next)


async def test_a_lost_place_is_found_again(make_lab: MakeLab, effects: Effects) -> None:
    """A reader whose place the server loses, twice, gets every request once and the run's end all the same."""

    @tool(approval=True)
    async def pay(amount: int) -> str:
        """Pay an amount."""
        effects.append(f"paid {amount}")
        return "paid"

    script = [Reply(call("pay", {"amount": 1})), Reply(call("pay", {"amount": 2})), Reply(text("done"))]
    lab = await make_lab([Agent("desk", model="m", tools=[pay])], script=script)
    losing = Losing(times=2)
    config = lab.client.config()
    config["interceptors"] = [losing]
    client = Client(**config)
    run = Handfast(client).run((await lab.start("desk")).id)
    asked = []
    async for request in run.requests():
        asked.append(request.arguments)
        await run.approve(request, decided_by="lead")
    assert asked == [{"amount": 1}, {"amount": 2}]
    assert effects == ["paid 1", "paid 2"]
    assert len(losing.refused) == 2
    assert all("don't match" in message for message in losing.refused)
