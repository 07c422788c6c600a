"""Fault row XC2: the update `decide`, with whatever bytes somebody sends."""

from __future__ import annotations

from typing import Any

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.api.update.v1 import Outcome

from handfast import Agent, Approve, GiveUp, Ran, Receipt, Reject, Request, tool
from handfast.errors import (
    DecisionConflictError,
    DecisionInvalidError,
    RefusalError,
    RequestClosedError,
    RunEndedError,
    StaleDigestError,
    UnknownRequestError,
    VerdictNotAllowedError,
)
from handfast.payloads.json_profile import JsonValue
from handfast.payloads.requests import Verdict
from handfast.testing import Lab, Reply, call, text
from support.evidence import MISSHAPEN, UNREADABLE, events_of, failed_tasks, plain, send_update
from support.labs import Effects, MakeLab


def desk(effects: Effects) -> Agent:
    """An agent with one gated tool."""

    @tool(approval=True)
    async def wipe(target: str) -> str:
        """Delete a target."""
        effects.append(target)
        return "wiped"

    return Agent("desk", instructions="Help.", model="m", tools=[wipe])


def junk(request: Request) -> dict[str, tuple[list[Payload], str]]:
    """Argument lists for the update, and the type of the refusal that each gets."""
    approve = {"id": request.id, "verdict": {"kind": "approve"}, "decided_by": "stranger"}
    invalid: dict[str, list[Payload]] = {
        "no argument": [],
        "2 arguments": [plain(approve)] * 2,
        "50 arguments": [plain(approve)] * 50,
        "the bare id": [plain(request.id)],
        "no verdict": [plain({"id": request.id, "decided_by": "stranger"})],
        "verdict is a text": [plain({**approve, "verdict": "approve"})],
        "verdict without a kind": [plain({**approve, "verdict": {}})],
        "verdict of a list": [plain({**approve, "verdict": {"kind": ["approve"]}})],
        "unknown verdict": [plain({**approve, "verdict": {"kind": "levitate"}})],
        "decided_by missing": [plain({"id": request.id, "verdict": {"kind": "approve"}})],
        "decided_by empty": [plain({**approve, "decided_by": ""})],
        "decided_by is a number": [plain({**approve, "decided_by": 5})],
        "arguments are a list": [plain({**approve, "verdict": {"kind": "approve", "arguments": [1]}})],
        "remember": [plain({**approve, "remember": {"scope": "run"}})],
        "above 64 KiB": [plain({**approve, "verdict": {"kind": "answer", "output": "x" * 66_000}})],
        "above 64 KiB in UTF-8 alone": [plain({**approve, "verdict": {"kind": "answer", "output": "ü" * 40_000}})],
    }
    invalid |= {name: [value] for name, value in (UNREADABLE | MISSHAPEN).items()}
    return {name: (arguments, "DecisionInvalidError") for name, arguments in invalid.items()} | {
        "unknown id": ([plain({**approve, "id": "no-such-request"})], "UnknownRequestError"),
        "stale digest": ([plain({**approve, "digest": "v1:00"})], "StaleDigestError"),
        "verdict of another kind": ([plain({**approve, "verdict": {"kind": "ran"}})], "VerdictNotAllowedError"),
    }


def refusal_of(outcome: Outcome) -> tuple[str, bool]:
    """The type of a refusal, and whether it says something of a bearable length."""
    info = outcome.failure.application_failure_info
    return info.type, info.non_retryable and 0 < len(outcome.failure.message) < 4000


async def test_no_update_can_break_a_run(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """XC2: whatever the update carries, it gets a typed refusal, and the run's history does not even grow."""
    lab = await make_lab(
        [desk(effects)],
        script=[Reply(call("wipe", {"target": "temp"})), Reply(text("done"))],
        max_cached_workflows=cache,
    )
    run = await lab.start("desk")
    request = await lab.next_request(run)
    before = len(await events_of(lab, run))
    messages = junk(request)
    answers = {
        name: refusal_of(await send_update(lab, run, "decide", arguments)) for name, (arguments, _) in messages.items()
    }
    assert answers == {name: (kind, True) for name, (_, kind) in messages.items()}
    assert len(await events_of(lab, run)) == before
    assert (await run.status()).status == "waiting"
    await run.approve(request, decided_by="lead")
    assert (await run.result()).output == "done"
    assert effects == ["temp"]
    assert await failed_tasks(lab, run) == 0


async def two_requests(make_lab: MakeLab, effects: Effects, cache: int) -> Lab:
    """A lab whose agent asks for two effects at once."""
    return await make_lab(
        [desk(effects)],
        script=[
            Reply(call("wipe", {"target": "temp"}, "c1"), call("wipe", {"target": "logs"}, "c2")),
            Reply(text("done")),
        ],
        max_cached_workflows=cache,
    )


async def test_a_decision_counts_once(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """XC2: a repeated decision gets its receipt again; its id with other content, and a second one, are refused."""
    lab = await two_requests(make_lab, effects, cache)
    run = await lab.start("desk")
    first, second = await lab.open_requests(run, 2)
    receipt = await run.approve(first, decided_by="lead", decision_id="d1")
    again = await run.approve(first, decided_by="lead", decision_id="d1")
    assert (again, receipt.duplicate) == (receipt, False)
    elsewhere = {"id": first.id, "verdict": {"kind": "approve"}, "decided_by": "lead", "decision_id": "d1"}
    outcome = await send_update(lab, run, "decide", [plain({**elsewhere, "digest": first.digest})])
    [answer] = await lab.client.data_converter.decode(outcome.success.payloads)
    assert Receipt.from_wire(answer) == receipt.model_copy(update={"duplicate": True})
    with pytest.raises(DecisionConflictError):
        await run.reject(first, decided_by="lead", decision_id="d1")
    with pytest.raises(DecisionConflictError):
        await run.approve(second, decided_by="lead", decision_id="d1")
    with pytest.raises(RequestClosedError) as closed:
        await run.reject(first, decided_by="boss")
    assert (closed.value.facts["closed_by"], closed.value.facts["verdict"]) == ("lead", "approve")
    await run.reject(second, decided_by="lead", reason="not that one")
    assert (await run.result()).output == "done"
    assert effects == ["temp"]
    assert await failed_tasks(lab, run) == 0
    with pytest.raises(RunEndedError):
        await run.approve(second, decided_by="lead")


@pytest.mark.parametrize(
    ("verdict", "changes", "error"),
    [
        pytest.param(Approve(), {"digest": "v1:" + "0" * 64}, StaleDigestError, id="stale-digest"),
        pytest.param(Ran(output="yes"), {}, VerdictNotAllowedError, id="ran-is-for-in-doubt"),
        pytest.param(GiveUp(), {}, VerdictNotAllowedError, id="give-up-is-for-in-doubt"),
        pytest.param(Reject(reason="x" * 70_000), {}, DecisionInvalidError, id="above-64-KiB"),
        pytest.param(Approve(arguments={"target": "y" * 3_000_000}), {}, DecisionInvalidError, id="above-2-MB"),
    ],
)
async def test_the_client_raises_what_was_refused(
    make_lab: MakeLab, effects: Effects, verdict: Verdict, changes: dict[str, Any], error: type[RefusalError]
) -> None:
    """XC2: a refusal reaches the client as its own exception, and the request stays open."""
    lab = await make_lab([desk(effects)], script=[Reply(call("wipe", {"target": "temp"}))])
    run = await lab.start("desk")
    request = await lab.next_request(run)
    before = len(await events_of(lab, run))
    with pytest.raises(error):
        await run.decide(request, verdict, decided_by="lead", **changes)
    with pytest.raises(UnknownRequestError):
        await run.decide("no-such-request", Approve(), decided_by="lead")
    assert len(await events_of(lab, run)) == before
    assert [each.id for each in await run.pending()] == [request.id]
    assert effects == []


@pytest.mark.parametrize(
    ("output", "read"),
    [
        pytest.param("wiped by hand", "wiped by hand", id="text"),
        pytest.param({"wiped": 3}, '{"wiped": 3}', id="object"),
        pytest.param([1, 2], "[1, 2]", id="list"),
        pytest.param([], "[]", id="empty-list"),
        pytest.param(5, "5", id="number"),
        pytest.param([{"type": "input_text", "text": "seen"}], "seen", id="content-parts"),
    ],
)
async def test_an_answer_of_any_shape_is_readable(
    make_lab: MakeLab, effects: Effects, output: JsonValue, read: str
) -> None:
    """XC2: whatever JSON a person answers in a tool's place, the model reads it, and the API takes it."""
    lab = await make_lab([desk(effects)], script=[Reply(call("wipe", {"target": "temp"}, "c1")), Reply(text("done"))])
    run = await lab.start("desk")
    await run.answer(await lab.next_request(run), output, decided_by="lead")
    assert (await run.result()).output == "done"
    assert lab.model.requests[1].tool_outputs == {"c1": read}
    assert (lab.model.violations, effects) == ([], [])
