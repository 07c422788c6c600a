"""What happens where the world has changed between an approval and its effect."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from handfast import Agent, Approval, Approve, Changed, Request, Run, RunContext, ToolContext, tool
from handfast.errors import DefinitionError
from handfast.payloads.events import ApprovalVoided, ToolNotRun
from handfast.payloads.json_profile import JsonObject
from handfast.payloads.requests import SHOWN_BYTES
from handfast.testing import Lab, Reply, call
from support.desk import DONE, outputs
from support.labs import Effects, MakeLab

NEVER_HELD = "This call did not run: each time it was approved, something had changed by then."
REFUND = Reply(call("refund", {"amount": 50}, "c1"))


class Till:
    """The world: what is left in it.

    Attributes:
        answers: What `revalidate` answers instead, one after the other: a value, or an exception that it raises.
    """

    def __init__(self, effects: Effects) -> None:
        self.balance = 100
        self.approved_at = 100
        self.answers: list[Any] = []
        self.asked: list[tuple[str, int]] = []
        self._effects = effects

    def agent(self, approval: Any = True, **options: Any) -> Agent:
        """An agent whose refunds depend on the balance."""

        def still(context: ToolContext, arguments: Any) -> Any:
            self.asked.append((context.call_id, arguments.amount))
            if self.answers:
                answer = self.answers.pop(0)
                if isinstance(answer, Exception):
                    raise answer
                return answer
            if self.balance == self.approved_at:
                return None
            before, self.approved_at = self.approved_at, self.balance
            return Changed("the balance is another", before=before, now=self.balance)

        @tool(approval=approval, revalidate=still, **options)
        async def refund(amount: int) -> str:
            """Pay an amount back."""
            self._effects.append(f"refund {amount}")
            return "refunded"

        return Agent("desk", model="m", tools=[refund])


@pytest.fixture
def till(effects: Effects) -> Till:
    """A full one."""
    return Till(effects)


async def reopened(lab: Lab, run: Run, former: Request) -> Request:
    """The request that opened in place of an approval."""
    again = await lab.next_request(run)
    assert again.id != former.id
    assert again.digest != former.digest
    assert again.kind == "approval"
    return again


@pytest.mark.parametrize("approved", [True, False], ids=["approved-again", "rejected"])
async def test_a_changed_world_is_asked_about_with_the_difference(
    make_lab: MakeLab, effects: Effects, till: Till, cache: int, *, approved: bool
) -> None:
    """Where the world changed after an approval, a person is shown the difference: approved again the call runs once,
    rejected never."""
    lab = await make_lab([till.agent()], script=[REFUND, DONE], max_cached_workflows=cache)
    run = await lab.start("desk")
    first = await lab.next_request(run)
    till.balance = 20
    await run.approve(first, decided_by="lead")
    again = await reopened(lab, run, first)
    assert effects == []
    assert again.arguments == {"amount": 50}
    assert again.reason == "changed since lead approved it: the balance is another"
    assert again.facts == {
        "changed": {"why": "the balance is another", "before": 100, "now": 20, "request": first.id, "by": "lead"}
    }
    if approved:
        await run.approve(again, decided_by="boss")
    else:
        await run.reject(again, reason="not now", decided_by="boss")
    await run.result()
    assert outputs(lab) == [("c1", "refunded" if approved else "not now")]
    assert effects == (["refund 50"] if approved else [])
    told = [(event.type, getattr(event, "why", None)) async for event in run.events()]
    assert ("approval_voided", "the balance is another") in told
    kinds = [kind for kind, _ in told]
    assert [kind for kind in kinds if kind.startswith(("request_", "approval_"))] == [
        *("request_opened", "request_decided", "approval_voided", "request_opened", "request_decided")
    ]
    assert kinds.count("tool_output") == int(approved)


async def test_an_unchanged_world_runs_at_once(make_lab: MakeLab, effects: Effects, till: Till) -> None:
    """Where nothing has changed the approved call runs; a call that needs no approval is not asked about."""

    def over_100(context: RunContext, arguments: Any) -> bool:
        return bool(arguments.amount > 100)

    script = [Reply(call("refund", {"amount": 101}, "c1"), call("refund", {"amount": 5}, "c2")), DONE]
    lab = await make_lab([till.agent(over_100)], script=script)
    run = await lab.start("desk")
    await run.approve(await lab.next_request(run), decided_by="lead")
    await run.result()
    assert sorted(effects) == ["refund 101", "refund 5"]
    assert till.asked == [("c1", 101)]


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        pytest.param("it is night", "it is night", id="a-text"),
        pytest.param(
            OSError("the ledger of ana@example.com is away"),
            "whether it still holds could not be found out: revalidate raised OSError",
            id="raises",
        ),
        pytest.param(
            True,
            "whether it still holds could not be found out: revalidate answered bool, not Changed, a text or None",
            id="nonsense",
        ),
    ],
)
async def test_what_cannot_be_found_out_is_asked_anew(
    make_lab: MakeLab, effects: Effects, till: Till, *, answer: Any, why: str
) -> None:
    """A `revalidate` that raises or answers nonsense lets nothing run: a person is asked, and shown the problem. Who
    approves what it says has seen it, and is not asked again about the same."""
    lab = await make_lab([till.agent()], script=[REFUND, DONE])
    run = await lab.start("desk")
    first = await lab.next_request(run)
    till.answers = [answer, answer]
    await run.approve(first, decided_by="lead")
    again = await reopened(lab, run, first)
    assert (again.facts or {})["changed"]["why"] == why
    assert effects == []
    await run.approve(again, decided_by="lead")
    await run.result()
    assert len(till.asked) == 2
    assert effects == ["refund 50"]


async def test_a_remembered_decision_answers_no_change(make_lab: MakeLab, effects: Effects, till: Till) -> None:
    """A decision that holds for all calls of the tool releases none whose world has changed since: a person is asked
    instead, as often as it changes."""
    script = [REFUND, Reply(call("refund", {"amount": 51}, "c2")), DONE]
    lab = await make_lab([till.agent()], script=script)
    run = await lab.start("desk")
    first = await lab.next_request(run)
    till.answers = [None, "one", "two", None]
    await run.approve(first, decided_by="lead", remember="tool")
    again = await reopened(lab, run, first)
    assert again.arguments == {"amount": 51}
    assert (again.facts or {})["changed"] == {"why": "one", "request": first.id, "by": "lead"}
    assert effects == ["refund 50"]
    await run.approve(again, decided_by="boss", remember="tool")
    once_more = await reopened(lab, run, again)
    assert (once_more.facts or {})["changed"] == {"why": "two", "request": again.id, "by": "boss"}
    await run.approve(once_more, decided_by="boss")
    await run.result()
    assert effects == ["refund 50", "refund 51"]


async def test_a_worker_without_revalidate_loosens_no_open_request(
    make_lab: MakeLab, effects: Effects, till: Till
) -> None:
    """XH9: where the worker that runs an approved call has no `revalidate`, being older or a later deploy, a person is
    asked anew and told so; approved again the call runs."""

    @tool(approval=True)
    async def refund(amount: int) -> str:
        """Pay an amount back."""
        effects.append(f"refund {amount}")
        return "refunded"

    lab = await make_lab([till.agent()], script=[REFUND, DONE])
    run = await lab.start("desk")
    first = await lab.next_request(run)
    await lab.stop_worker()
    await lab.start_worker([Agent("desk", model="m", tools=[refund])])
    await run.approve(first, decided_by="lead")
    again = await reopened(lab, run, first)
    assert "revalidate is not there on this worker" in (again.reason or "")
    assert effects == []
    await run.approve(again, decided_by="lead")
    await run.result()
    assert effects == ["refund 50"]


async def test_edited_arguments_are_looked_at_too(make_lab: MakeLab, effects: Effects, till: Till, cache: int) -> None:
    """`revalidate` sees the arguments that a person put in place, the new request shows them, and they run."""
    lab = await make_lab([till.agent()], script=[REFUND, DONE], max_cached_workflows=cache)
    run = await lab.start("desk")
    first = await lab.next_request(run)
    till.answers = ["it is night", None]
    await run.decide(first, Approve(arguments={"amount": 7}), decided_by="lead")
    again = await reopened(lab, run, first)
    assert (again.arguments, again.editors) == ({"amount": 7}, ["lead"])
    await run.approve(again, decided_by="boss")
    await run.result()
    assert till.asked == [("c1", 7), ("c1", 7)]
    assert effects == ["refund 7"]


async def test_edited_arguments_that_are_rejected_then_have_not_run(
    make_lab: MakeLab, effects: Effects, till: Till
) -> None:
    """Where the new request is rejected the model reads the reason alone, and of no arguments that ran."""
    lab = await make_lab([till.agent()], script=[REFUND, DONE])
    run = await lab.start("desk")
    first = await lab.next_request(run)
    till.answers = ["it is night"]
    await run.decide(first, Approve(arguments={"amount": 7}), decided_by="lead")
    again = await reopened(lab, run, first)
    assert again.arguments == {"amount": 7}
    await run.reject(again, reason="not now", decided_by="boss")
    await run.result()
    assert outputs(lab) == [("c1", "not now")]
    assert effects == []


async def test_the_rule_and_a_fresh_deadline_hold_for_the_new_request(
    make_lab: MakeLab, effects: Effects, till: Till
) -> None:
    """Who may decide, and how many have to, stays as it was; votes count anew and the deadline starts anew. A default
    of approve does not hold on: nobody has seen the difference."""
    rule = Approval(
        approvers=["ann", "bob", "cy"], quorum=2, deadline=timedelta(hours=1), on_deadline="approve", reason="large"
    )
    lab = await make_lab([till.agent(rule)], script=[REFUND, DONE])
    run = await lab.start("desk")
    first = await lab.next_request(run)
    till.answers = [Changed("it grew", before={"n": [1]}, now="x" * 9000), None]
    await run.approve(first, decided_by="ann")
    await run.approve(first, decided_by="bob")
    again = await reopened(lab, run, first)
    assert (again.approvers, again.quorum, again.votes) == (["ann", "bob", "cy"], 2, None)
    assert (first.on_deadline, again.on_deadline) == ("approve", "reject")
    assert first.deadline is not None
    assert again.deadline is not None
    assert again.deadline - again.requested_at == first.deadline - first.requested_at
    changed: JsonObject = (again.facts or {})["changed"]
    assert changed["before"] == {"n": [1]}
    assert len(changed["now"]) <= SHOWN_BYTES
    await run.approve(again, decided_by="ann")
    assert effects == []
    await run.approve(again, decided_by="cy")
    await run.result()
    assert effects == ["refund 50"]


async def test_two_programs_do_not_keep_a_run_busy_for_ever(make_lab: MakeLab, effects: Effects, till: Till) -> None:
    """A call that is approved and found changed again and again ends after the tenth time, and has not run."""
    lab = await make_lab([till.agent()], script=[REFUND, DONE])
    run = await lab.start("desk")
    till.answers = [f"it is {minute} past" for minute in range(100)]
    async for request in run.requests():
        await run.approve(request, decided_by="robot")
    await run.result()
    assert outputs(lab) == [("c1", NEVER_HELD)]
    assert len(till.asked) == 11
    assert effects == []
    told = [event async for event in run.events()]
    assert [event.verdict for event in told if isinstance(event, ApprovalVoided)] == [None] * 10 + ["give_up"]
    [closing] = [event for event in told if isinstance(event, ToolNotRun)]
    assert (closing.why, closing.output, closing.call_id) == ("changed", NEVER_HELD, "c1")
    assert isinstance(told[told.index(closing) - 1], ApprovalVoided)


def test_an_option_that_cannot_work_is_refused() -> None:
    """`revalidate` takes a function of two, and a tool that asks for approval; `Changed` says why."""

    async def refund(amount: int) -> str:
        """Pay an amount back."""
        return "refunded"

    for options in (
        {"revalidate": "later", "approval": True},
        {"revalidate": lambda context: None, "approval": True},
        {"revalidate": lambda context, arguments: None},
    ):
        with pytest.raises(DefinitionError, match="revalidate"):
            tool(**options)(refund)
    with pytest.raises(DefinitionError, match="why"):
        Changed(" ")
