"""Scenario row P3: the application is told of requests, and nothing waits for that."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from datetime import timedelta
from typing import Any, Final

import pytest
from temporalio.common import RetryPolicy
from temporalio.testing import WorkflowEnvironment

from handfast import Approval, Escalation, HandfastPlugin, Notification
from handfast.client.execution import Execution
from handfast.errors import DefinitionError, RunFailedError
from handfast.history.reader import history_of
from handfast.payloads.events import NotificationFailed
from handfast.payloads.notify import Notified
from handfast.testing import Gate, Lab, Reply, call
from handfast.workflows.state import notifications
from handfast.workflows.tasks import timeouts
from support.conversations import talk_to
from support.evidence import events_of, failed_tasks, logged
from support.labs import Effects, MakeLab
from support.two_runs import TwoRuns
from support.waits import DONE, WIPE, wiper

HOUR: Final = timedelta(hours=1)
LONG: Final = timedelta(seconds=30)


class Office:
    """Takes what it is told, and fails or hangs where it is made to."""

    def __init__(self) -> None:
        self.told: list[Notification] = []
        self.changed = asyncio.Event()
        self.fails: set[str] = set()
        self.hangs: asyncio.Event | None = None

    async def notify(self, notification: Notification) -> None:
        """What the worker calls."""
        if self.hangs is not None:
            await self.hangs.wait()
        self.told.append(notification)
        self.changed.set()
        if notification.what in self.fails:
            raise RuntimeError("the pager is away")

    async def until(self, count: int) -> list[str]:
        """Wait for so many notifications; return what they tell."""
        async with asyncio.timeout(30):
            while len(self.told) < count:
                self.changed.clear()
                await self.changed.wait()
        return [each.what for each in self.told]


@pytest.fixture
def office() -> Office:
    """Whom the worker tells."""
    return Office()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two quick attempts, and hardly any patience at the end of a run."""
    retries = RetryPolicy(maximum_attempts=2, initial_interval=timedelta(milliseconds=20))
    monkeypatch.setitem(timeouts.NOTIFICATION, "retry_policy", retries)
    monkeypatch.setattr(notifications, "LAST_WORDS", timedelta(seconds=1))


async def notified(lab: Lab, run: Execution) -> int:
    """How many activities of the run told somebody."""
    scheduled = [event.activity_task_scheduled_event_attributes for event in await events_of(lab, run)]
    return sum(each.activity_type.name == "handfast.notify" for each in scheduled)


async def until_noted(lab: Lab, run: Execution, activities: int) -> None:
    """Wait until the run has heard of the end of so many activities."""
    async with asyncio.timeout(30):
        async for event in history_of(lab.client.get_workflow_handle(run.id), wait=True):
            activities -= event.HasField("activity_task_completed_event_attributes")
            if activities <= 0 and event.HasField("workflow_task_completed_event_attributes"):
                return


async def test_people_are_told_what_becomes_of_a_request(
    make_lab: MakeLab, effects: Effects, office: Office, skipping: WorkflowEnvironment
) -> None:
    """P3: the application's function is told when a request opens, when it is brought to mind, to whom it is escalated,
    and who decided; each once, over a restart, with an id of its own."""
    approval = Approval(approvers=["ann"], remind=[HOUR, 3 * HOUR], escalate=[Escalation(2 * HOUR, ["group:managers"])])
    lab = await make_lab(
        [wiper(effects, approval)],
        script=[WIPE, DONE],
        client=skipping.client,
        groups={"managers": ["max"]},
        notify=office.notify,
        max_cached_workflows=0,
    )
    with skipping.with_time_skipping_disabled():
        run = await lab.start("desk", labels={"team": "it"})
    request = await lab.next_request(run)
    assert await office.until(1) == ["opened"]
    await until_noted(lab, run, 2)  # the model's reply, and this
    await lab.replace_worker()
    await skipping.fast_forward(lab.client.get_workflow_handle(run.id), 4 * HOUR)
    assert await office.until(4) == ["opened", "reminded", "escalated", "reminded"]
    await run.approve(request, decided_by="max")
    await run.result()
    assert await office.until(5) == ["opened", "reminded", "escalated", "reminded", "decided"]
    named = ["opened", "reminded:1", "escalated:1", "reminded:2", "decided"]
    assert [each.id for each in office.told] == [f"{request.id}:{name}" for name in named]
    assert {(each.run, each.request.id, each.request.tool) for each in office.told} == {(run.id, request.id, "wipe")}
    assert [each.labels for each in office.told] == [{"team": "it"}] * 5
    escalated, decided = office.told[2], office.told[4]
    assert (escalated.approvers, escalated.request.approvers) == (["group:managers"], ["ann", "group:managers"])
    assert (decided.verdict, decided.by) == ("approve", "max")
    assert await failed_tasks(lab, run) == 0


async def test_a_decision_waits_for_nobody_who_is_told(
    make_lab: MakeLab, effects: Effects, office: Office, impatient: None
) -> None:
    """P3: while the application's function hangs, a decision counts at once, the call runs, the run goes on to its end,
    and that waits no longer than it says."""
    office.hangs = asyncio.Event()
    lab = await make_lab([wiper(effects)], script=[WIPE, DONE], notify=office.notify)
    run = await lab.start("desk")
    assert (await run.approve(await lab.next_request(run), decided_by="lead")).state == "recorded"
    assert (await run.result()).output == "done"
    assert (effects, office.told) == (["wipe t"], [])
    office.hangs.set()


async def test_who_cannot_be_told_is_in_the_log_and_the_run_unharmed(
    make_lab: MakeLab, effects: Effects, office: Office, impatient: None
) -> None:
    """P3: a function that raises is called again, a few times; then the run's events say so, without what it raised.
    What it took is not told again, and the run is none the worse."""
    office.fails = {"opened"}
    lab = await make_lab([wiper(effects)], script=[WIPE, DONE], notify=office.notify)
    run = await lab.start("desk")
    request = await lab.next_request(run)
    [failed] = await logged(lab, run, "notify_failed", 1)
    assert failed.why == f"{request.id}:opened: notify raised RuntimeError"
    await run.approve(request, decided_by="lead")
    await run.result()
    assert Counter(each.id for each in office.told) == {f"{request.id}:opened": 2, f"{request.id}:decided": 1}
    assert [event.type async for event in run.events()].count("notification_failed") == 1
    assert effects == ["wipe t"]


async def test_many_requests_are_told_together(
    make_lab: MakeLab, effects: Effects, office: Office, impatient: None
) -> None:
    """P3: forty requests that open at once cost the history two activities, not forty; where one of them cannot be told
    the others are told once."""
    asked = Reply(*(call("wipe", {"target": f"t{number}"}, f"c{number}") for number in range(40)))
    poor: list[str] = []

    def notify(notification: Notification) -> None:
        assert threading.current_thread() is not threading.main_thread()
        office.told.append(notification)
        if notification.request.arguments == {"target": "t7"}:
            poor.append(notification.id)
            raise ValueError("no")

    lab = await make_lab([wiper(effects)], script=[asked, DONE], notify=notify)
    run = await lab.start("desk")
    requests = await lab.open_requests(run, 40)
    await logged(lab, run, "notify_failed", 1)
    assert await notified(lab, run) == 2
    told = Counter(each.id for each in office.told)
    assert set(told) == {f"{each.id}:opened" for each in requests}
    assert {name for name, count in told.items() if count > 1} == set(poor)
    await run.cancel()


async def test_without_a_function_nothing_is_scheduled(make_lab: MakeLab, effects: Effects) -> None:
    """P3: where no worker has a function to tell, the history has no event for it."""
    lab = await make_lab([wiper(effects)], script=[WIPE, DONE])
    run = await lab.start("desk")
    await run.approve(await lab.next_request(run), decided_by="lead")
    await run.result()
    assert await notified(lab, run) == 0


async def test_the_last_words_of_a_run_are_told(make_lab: MakeLab, effects: Effects, office: Office) -> None:
    """P3: a request whose deadline ends the run is told as expired, those of a cancelled run as withdrawn."""
    approval = Approval(deadline=timedelta(seconds=1), on_deadline="fail")

    def rule(context: Any, _arguments: Any) -> Approval | bool:
        return approval if context.labels else True

    lab = await make_lab([wiper(effects, rule)], script=[WIPE, WIPE], notify=office.notify)
    failing, cancelled = await lab.start("desk", labels={"ends": "soon"}), await lab.start("desk")
    await lab.next_request(cancelled)
    await cancelled.cancel()
    with pytest.raises(RunFailedError):
        await failing.result()
    await office.until(4)
    told = {run.id: [each.what for each in office.told if each.run == run.id] for run in (failing, cancelled)}
    assert told == {failing.id: ["opened", "expired"], cancelled.id: ["opened", "withdrawn"]}
    [expired] = [each for each in office.told if each.what == "expired"]
    assert expired.verdict == "fail"


async def test_a_fresh_history_forgets_nobody_who_is_to_be_told(
    make_lab: MakeLab, effects: Effects, office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P3: a run that goes on in a fresh history while its notification hangs tells it there, under the same id."""
    monkeypatch.setattr("handfast.workflows.continuation.carry.TOLD_WITHIN", timedelta(milliseconds=50))
    lab = await make_lab([wiper(effects)], script=[*[WIPE] * 9, DONE], notify=office.notify, max_cached_workflows=0)
    run = await lab.start("desk", segment_events=40)
    seen: list[str] = []
    async for request in run.requests():
        seen.append(request.id)
        if len(seen) == 4:
            office.hangs = asyncio.Event()
        if len(seen) == 7 and office.hangs is not None:
            office.hangs.set()
        await run.approve(request, decided_by="lead")
    await run.result()
    assert {each.id for each in office.told} == {f"{each}:{what}" for each in seen for what in ("opened", "decided")}
    assert len(await lab.histories(run)) > 1


async def test_a_session_tells_of_its_requests(make_lab: MakeLab, effects: Effects, office: Office) -> None:
    """P3: what a session asks people is told like what a run asks, under the session's id, with each message anew."""
    lab = await make_lab([wiper(effects)], script=[WIPE, DONE, WIPE, DONE], notify=office.notify)
    session = talk_to(lab)
    for number in (1, 2):
        turn = await session.send("go")
        await session.approve(await lab.next_request(session), decided_by="lead")
        assert await turn.output(timeout=LONG) == "done"
        assert await office.until(2 * number) == ["opened", "decided"] * number
    assert {each.run for each in office.told} == {session.id}
    assert len({each.id for each in office.told}) == 4


async def test_a_workflow_of_ones_own_tells_of_its_requests(
    make_lab: MakeLab, effects: Effects, office: Office
) -> None:
    """P3: an agent in a workflow of the user's own has people told like any other, under that workflow's id."""
    script = [WIPE, DONE, WIPE, DONE]
    lab = await make_lab([wiper(effects)], script=script, notify=office.notify, workflows=[TwoRuns])
    started = await lab.client.start_workflow(TwoRuns.run, "desk", id="two-told", task_queue=lab.task_queue)
    run = lab.watch(lab.hf.run(started.id))
    asked = []
    async for request in run.requests():
        asked.append(request.id)
        await run.approve(request, decided_by="lead")
    assert await started.result() == ["done", "done"]
    assert [each.id for each in office.told] == [f"{each}:{what}" for each in asked for what in ("opened", "decided")]
    assert {each.run for each in office.told} == {"two-told"}
    assert len(asked) == 2


async def test_a_session_that_rests_in_a_fresh_history_tells_there_at_once(
    make_lab: MakeLab, effects: Effects, office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P3: what hangs when a session that has nothing to do goes on in a fresh history is told again there, and not only
    with the next message."""
    monkeypatch.setattr("handfast.workflows.continuation.carry.TOLD_WITHIN", timedelta(milliseconds=50))
    hanging = office.hangs = asyncio.Event()
    script = [WIPE, Gate("all hang", DONE)]
    lab = await make_lab([wiper(effects)], script=script, notify=office.notify, max_cached_workflows=0)
    session = talk_to(lab, segment_events=40)
    turn = await session.send("go")
    request = await lab.next_request(session)
    await session.approve(request, decided_by="lead")
    await lab.model.wait_for_request(2)
    for _ in range(40):  # long enough to leave it, once nothing is under way
        await lab.client.get_workflow_handle(session.id).signal("approve", "no-such-request")
    office.hangs = None  # whatever is told from now on; what was begun before hangs for ever
    lab.model.open("all hang")
    assert await turn.output(timeout=LONG) == "done"
    assert sorted(await office.until(2)) == ["decided", "opened"]
    assert {each.id for each in office.told} == {f"{request.id}:opened", f"{request.id}:decided"}
    hanging.set()


@pytest.mark.parametrize("answer", [{"failed": "no"}, 5, None], ids=["another shape", "a number", "nothing"])
async def test_an_answer_that_cannot_be_read_harms_no_run(
    make_lab: MakeLab, effects: Effects, office: Office, monkeypatch: pytest.MonkeyPatch, answer: Any
) -> None:
    """P3: where the answer of the one that told people is none, the run's events say that they may not have been told,
    and what comes after is told."""
    monkeypatch.setattr(Notified, "to_wire", lambda _: answer)
    lab = await make_lab([wiper(effects)], script=[WIPE, DONE], notify=office.notify, max_cached_workflows=0)
    run = await lab.start("desk")
    request = await lab.next_request(run)
    [failed] = await logged(lab, run, "notify_failed", 1)
    assert (failed.why or "").startswith(f"{request.id}:opened: what became of it cannot be read: not a valid Notified")
    await run.approve(request, decided_by="lead")
    assert (await run.result()).output == "done"
    assert await office.until(2) == ["opened", "decided"]
    assert await failed_tasks(lab, run) == 0


async def test_what_is_taken_along_is_bounded(
    make_lab: MakeLab, effects: Effects, office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P3: where nobody can be told for long, a run takes the newest notifications into its next history and gives the
    oldest up, visibly: they leave room for the run itself."""
    monkeypatch.setattr("handfast.workflows.continuation.carry.TOLD_WITHIN", timedelta(milliseconds=50))
    monkeypatch.setattr(notifications, "CARRIED_BYTES", 4_000)
    hanging = office.hangs = asyncio.Event()
    script = [*[WIPE] * 5, DONE]
    lab = await make_lab([wiper(effects)], script=script, notify=office.notify, max_cached_workflows=0, replay=False)
    run = await lab.start("desk", segment_events=40)
    seen: list[str] = []
    async for request in run.requests():
        seen.append(request.id)
        if len(seen) == 5:
            office.hangs = None
            hanging.set()
        await run.approve(request, decided_by="lead")
    assert (await run.result()).output == "done"
    assert len(await lab.histories(run)) > 1
    failed = [each async for each in run.events() if isinstance(each, NotificationFailed)]
    given_up = [each.request for each in failed if "too much waited" in (each.why or "")]
    order = [seen.index(each or "") for each in given_up]
    assert order == sorted(order) != []
    assert f"{seen[-1]}:decided" in {each.id for each in office.told}
    await lab.replay()  # here, where as little is taken along


def test_a_function_to_tell_takes_one_notification() -> None:
    """P3: anything but a function of one notification is refused where the plugin is made."""
    with pytest.raises(DefinitionError, match="notify"):
        HandfastPlugin(notify=lambda: None)  # type: ignore[misc, arg-type]  # what is checked here
    with pytest.raises(DefinitionError, match="notify"):
        HandfastPlugin(notify="mail")  # type: ignore[arg-type]  # likewise
