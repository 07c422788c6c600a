"""Numbers, nulls and blanks, from the model's text through history, request and decision into the tool and back."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from pydantic import BaseModel
from temporalio import activity
from temporalio.worker import Worker

from handfast import Agent, RunContext, ToolContext, activity_tool, question, tool
from handfast.payloads.binding import digest_of
from handfast.testing import Reply, call, text
from security.test_digest import in_javascript
from support.evidence import failed_tasks
from support.labs import MakeLab

DONE = Reply(text("done"))
LARGEST, SMALLEST, ODD = 2**64 - 1, -(2**63), 2**53 + 1


class Ledger(BaseModel):
    """A run's context."""

    account: int
    last: int = 0


class Total(BaseModel):
    """A final answer."""

    total: int
    lowest: int = SMALLEST


async def test_integers_of_64_bits_arrive_exactly_everywhere(make_lab: MakeLab, cache: int) -> None:
    """Q3: in the arguments, the request, its digest as JavaScript computes it, the context, a result and the output."""
    seen: list[Any] = []

    @tool(approval=True)
    def transfer(ctx: ToolContext[Ledger], to: int, cents: int) -> dict[str, int]:
        """Move money."""
        seen.append((ctx.context.account, to, cents))
        ctx.context.last = to
        return {"id": LARGEST, "was": SMALLEST, "odd": ODD}

    agent = Agent("desk", model="m", tools=[transfer], context_type=Ledger, output_type=Total)
    script = [
        Reply(call("transfer", {"to": LARGEST, "cents": SMALLEST}, "c1")),
        Reply(text(json.dumps({"total": LARGEST, "lowest": None}))),
    ]
    lab = await make_lab([agent], script=script, max_cached_workflows=cache)
    run = await lab.start("desk", context=Ledger(account=ODD))
    request = await lab.next_request(run)
    assert request.arguments == {"to": LARGEST, "cents": SMALLEST}
    wire = await lab.client.get_workflow_handle(run.id).query("pending_approvals")
    assert in_javascript(json.dumps(wire)) == [request.digest]
    await run.approve(request, decided_by="lead")
    result = await run.result()
    assert seen == [(ODD, LARGEST, SMALLEST)]
    assert json.loads(lab.model.requests[1].tool_outputs["c1"]) == {"id": LARGEST, "was": SMALLEST, "odd": ODD}
    assert result.context == {"account": ODD, "last": LARGEST}
    assert result.output == {"total": LARGEST, "lowest": None}
    assert await failed_tasks(lab, run) == 0


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        pytest.param("3.0", 3, id="with-a-point"),
        pytest.param("1e3", 1000, id="with-an-exponent"),
        pytest.param("-0.0", 0, id="minus-zero"),
        pytest.param("9007199254740993.0", ODD, id="with-a-point-and-no-double"),
        pytest.param("1e18", 10**18, id="large-with-an-exponent"),
        pytest.param("1.8446744073709551615E19", LARGEST, id="largest-with-an-exponent"),
    ],
)
async def test_an_integer_written_otherwise_is_that_integer(
    make_lab: MakeLab, cache: int, written: str, meant: int
) -> None:
    """Q3: what is shown, approved and run is the same number, however the model wrote it."""
    seen: list[int] = []

    @tool(approval=True)
    def pay(cents: int) -> str:
        """Pay."""
        seen.append(cents)
        return "paid"

    script = [Reply(call("pay", f'{{"cents": {written}}}', "c1")), DONE]
    lab = await make_lab([Agent("desk", model="m", tools=[pay])], script=script, max_cached_workflows=cache)
    run = await lab.start("desk")
    request = await lab.next_request(run)
    assert request.arguments is not None
    assert request.arguments["cents"] == meant
    assert request.binding is not None
    assert digest_of(request.binding, {"cents": meant}) == request.digest
    await run.approve(request, decided_by="lead")
    await run.result()
    assert (seen, type(seen[0])) == ([meant], int)


@pytest.mark.parametrize("written", ["18446744073709551616", "-9223372036854775809", "1e30", "1.5", "1e400"])
async def test_what_cannot_be_carried_is_said_before_anybody_is_asked(make_lab: MakeLab, written: str) -> None:
    """Q3: the model reads what is wrong; nobody is asked and nothing runs."""
    ran: list[int] = []

    @tool(approval=True)
    def pay(cents: int) -> None:
        """Pay."""
        ran.append(cents)

    script = [Reply(call("pay", f'{{"cents": {written}}}', "c1")), DONE]
    lab = await make_lab([Agent("desk", model="m", tools=[pay])], script=script)
    run = await lab.start("desk")
    assert ((await run.result()).output, ran) == ("done", [])
    said = lab.model.requests[1].tool_outputs["c1"]
    assert "64 bits" in said or "valid integer" in said or "not finite" in said


async def test_a_call_of_blanks_is_one_without_arguments(make_lab: MakeLab) -> None:
    """Q2: blanks are read like an empty text, and what goes back to the model is a valid request."""
    ran: list[str] = []

    @tool
    def look() -> str:
        """Look."""
        ran.append("looked")
        return "fine"

    blanks = ["", " ", "\n\t ", "\u00a0"]
    calls = [call("look", blank, f"c{index}") for index, blank in enumerate(blanks)]
    lab = await make_lab([Agent("desk", model="m", tools=[look])], script=[Reply(*calls), DONE])
    await (await lab.start("desk")).result()
    assert ran == ["looked"] * 4
    assert lab.model.violations == []
    sent = [item["arguments"] for item in lab.model.requests[1].body["input"] if item.get("type") == "function_call"]
    assert sent == ["{}"] * 4


class Line(BaseModel):
    sku: str
    quantity: int = 1


async def test_edited_arguments_and_answers_may_hold_nulls_too(make_lab: MakeLab, cache: int) -> None:
    """Q1: what a person changes arguments to is read as what a model writes, and so is an answer to a form."""
    seen: list[Any] = []

    @tool(approval=True)
    def order(lines: list[Line] | None) -> str:
        """Order."""
        seen.append(lines)
        return "ordered"

    ask = question(form=Line)
    script = [
        Reply(call("order", {"lines": None}, "c1"), call("ask_person", {"question": "which?"}, "c2")),
        DONE,
    ]
    lab = await make_lab([Agent("desk", model="m", tools=[order, ask])], script=script, max_cached_workflows=cache)
    run = await lab.start("desk")
    by_kind = {request.kind: request for request in await lab.open_requests(run, 2)}
    edited = {"lines": [{"sku": "a", "quantity": None}, {"sku": "b", "quantity": 2.0}]}
    await run.approve(by_kind["approval"], decided_by="lead", arguments=edited)
    await run.answer(by_kind["question"], {"sku": "c", "quantity": None}, decided_by="lead")
    await run.result()
    assert seen == [[Line(sku="a"), Line(sku="b", quantity=2)]]


async def test_an_agent_that_reads_its_arguments_reads_the_defaults(make_lab: MakeLab, cache: int) -> None:
    """Q1: a nested agent is not given the nulls that the strict schema made the calling model write."""

    class Task(BaseModel):
        lines: list[Line] | Line
        urgent: bool = False

    nested = Agent("clerk", model="m").as_tool(parameters=Task)
    written = {"lines": [{"sku": "a", "quantity": None}], "urgent": None}
    script = [Reply(call("clerk", written, "c1")), Reply(text("ok")), DONE]
    lab = await make_lab([Agent("desk", model="m", tools=[nested])], script=script, max_cached_workflows=cache)
    await (await lab.start("desk")).result()
    [said] = lab.model.requests[1].body["input"][0]["content"]
    assert json.loads(said["text"]) == {"lines": [{"sku": "a", "quantity": 1}], "urgent": False}


async def test_another_teams_activity_gets_integers_as_integers(make_lab: MakeLab) -> None:
    """Q3: not every language reads 250.0 as an integer, so it is sent as 250; large ones and recursive ones arrive."""
    got: list[str] = []

    class Part(BaseModel):
        id: int
        cents: int
        share: float
        parts: list[Part] | None = None

    @activity.defn(name="assemble")
    async def assemble(part: Any) -> dict[str, int]:
        got.append(json.dumps(part, sort_keys=True))
        return {"id": LARGEST, "beyond": 2**70}

    queue = f"parts-{uuid.uuid4().hex[:8]}"
    inner = '{"id": 1e0, "cents": 2, "share": 1, "parts": null}'
    written = f'{{"id": {ODD}.0, "cents": 250.0, "share": 0.5, "parts": [{inner}]}}'
    built = activity_tool("assemble", input=Part, task_queue=queue)
    agent = Agent("desk", model="m", tools=[built])
    lab = await make_lab([agent], script=[Reply(call("assemble", written, "c1")), DONE])
    async with Worker(lab.client, task_queue=queue, activities=[assemble]):
        await (await lab.start("desk")).result()
    assert got == [
        f'{{"cents": 250, "id": {ODD}, "parts": [{{"cents": 2, "id": 1, "parts": null, "share": 1}}], "share": 0.5}}'
    ]
    said = lab.model.requests[1].tool_outputs["c1"]
    assert json.loads(said) == {"id": LARGEST, "beyond": str(2**70)}


async def test_a_rule_sees_the_number_that_runs(make_lab: MakeLab) -> None:
    """Q3: an approval rule compares the integer, not a double beside it."""
    seen: list[int] = []

    def rule(_context: RunContext[Any], arguments: Any) -> bool:
        seen.append(arguments.cents)
        return False

    @tool(approval=rule)
    def pay(cents: int) -> str:
        """Pay."""
        return f"paid {cents}"

    lab = await make_lab(
        [Agent("desk", model="m", tools=[pay])], script=[Reply(call("pay", f'{{"cents": {ODD}.0}}', "c1")), DONE]
    )
    await (await lab.start("desk")).result()
    assert seen == [ODD]
    assert lab.model.requests[1].tool_outputs == {"c1": f"paid {ODD}"}
