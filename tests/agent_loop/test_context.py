"""Scenario rows P12 and O8: the run's context, what may be in it, and tools that change it."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from pydantic import BaseModel, Field, SecretStr, field_validator

from handfast import Agent, AgentHooks, RunContext, ToolContext, handoff, tool
from handfast.errors import PayloadInvalidError, RunFailedError, RunNotFoundError, UsageError
from handfast.payloads.context_edits import CONTEXT_BYTES, EDITS_BYTES, edited, edits_between
from handfast.testing import Reply, call, text
from support.desk import outputs
from support.labs import MakeLab

DONE = Reply(text("done"))


class Address(BaseModel):
    """Part of a context, filled in by its model where the run has none."""

    city: str = "Utrecht"
    country: str = "NL"


class Basket(BaseModel):
    """A context that tools change."""

    customer: str
    items: list[str] = []
    counts: dict[str, int] = {}
    address: Address = Field(default_factory=lambda: Address(city="Leiden"))
    total: int = 0

    @field_validator("total")
    @classmethod
    def _positive(cls, total: int) -> int:
        if total < 0:
            raise ValueError("a total is never negative")
        return total


def told(ctx: RunContext[Basket]) -> str:
    """Instructions that show the context."""
    basket = ctx.context
    return f"{basket.customer}: {basket.items} {basket.counts} {basket.address.city} {basket.total}"


@tool(approval=True)
async def sign(ctx: ToolContext[Basket]) -> str:
    """Wait for a person."""
    return f"signed with {ctx.context.total}"


async def test_later_tools_and_instructions_see_the_change(make_lab: MakeLab, cache: int) -> None:
    """P12: a tool changes a pydantic context; the next instructions and tools see it, over restarts, and the result."""

    @tool
    def put(ctx: ToolContext[Basket], item: str) -> str:
        """Put an item into the basket."""
        ctx.context.items.append(item)
        ctx.context.counts[item] = 1
        ctx.context.address.city = "Delft"
        ctx.context.total += 5
        return str(len(ctx.context.items))

    script = [
        Reply(call("put", {"item": "a"}, "c1")),
        Reply(call("sign", {}, "c2"), call("put", {"item": "b"}, "c3")),
        DONE,
    ]
    lab = await make_lab(
        [Agent("desk", model="m", instructions=told, tools=[put, sign], context_type=Basket)],
        script=script,
        max_cached_workflows=cache,
    )
    run = await lab.start("desk", context=Basket(customer="Ana"))
    request = await lab.next_request(run)
    await lab.replace_worker()
    await run.approve(request, decided_by="lead")
    result = await run.result()
    assert [request.instructions for request in lab.model.requests] == [
        "Ana: [] {} Leiden 0",
        "Ana: ['a'] {'a': 1} Delft 5",
        "Ana: ['a', 'b'] {'a': 1, 'b': 1} Delft 10",
    ]
    assert outputs(lab, 3)[1:] == [("c2", "signed with 5"), ("c3", "2")]
    assert result.context is not None
    final = Basket.model_validate(result.context)
    assert (final.items, final.total, final.address) == (["a", "b"], 10, Address(city="Delft"))


async def test_parallel_changes_merge_in_call_order(make_lab: MakeLab, cache: int) -> None:
    """P12: of parallel calls each one's own fields, and what it appends, are kept; what several set, the last sets."""
    ended: list[asyncio.Event] = [asyncio.Event(), asyncio.Event(), asyncio.Event()]

    @tool
    async def put(ctx: ToolContext[Basket], place: int) -> None:
        """Set the customer, and a count of its own; later calls end first."""
        if place < 2:
            await ended[place + 1].wait()
        ctx.context.customer = f"customer {place}"
        ctx.context.counts[f"call {place}"] = place
        ctx.context.items.append(str(place))
        ended[place].set()

    lab = await make_lab(
        [Agent("desk", model="m", instructions=told, tools=[put], context_type=Basket)],
        script=[Reply(*(call("put", {"place": place}, f"c{place}") for place in range(3))), DONE],
        max_cached_workflows=cache,
    )
    run = await lab.start("desk", context={"customer": "Ana", "counts": {"before": 9}})
    result = await run.result()
    assert result.context == {
        "customer": "customer 2",
        "counts": {"before": 9, "call 0": 0, "call 1": 1, "call 2": 2},
        "items": ["0", "1", "2"],
    }


async def test_a_plain_context_is_changed_likewise(make_lab: MakeLab, cache: int) -> None:
    """P12: without a model the context is plain JSON; keys are set and removed, by sync tools too."""

    @tool
    def first(ctx: ToolContext) -> None:
        """Change keys."""
        ctx.context["nested"]["new"] = None
        del ctx.context["nested"]["old"]

    @tool
    def second(ctx: ToolContext) -> str:
        """Read them."""
        return str(sorted(ctx.context["nested"]))

    lab = await make_lab(
        [Agent("desk", model="m", tools=[first, second])],
        script=[Reply(call("first", {}, "c1")), Reply(call("second", {}, "c2")), DONE],
        max_cached_workflows=cache,
    )
    run = await lab.start("desk", context={"nested": {"old": 1, "kept": [1]}})
    assert (await run.result()).context == {"nested": {"kept": [1], "new": None}}
    assert outputs(lab, 3)[-1] == ("c2", "['kept', 'new']")


async def test_a_run_without_context_may_be_given_one(make_lab: MakeLab) -> None:
    """A tool of a run that was started without a context may set one."""

    @tool
    def set_up(ctx: ToolContext) -> None:
        """Set the context."""
        ctx.context = {"found": ctx.context}

    lab = await make_lab([Agent("desk", model="m", tools=[set_up])], script=[Reply(call("set_up", {}, "c1")), DONE])
    assert (await (await lab.start("desk", requested_by="ana")).result()).context == {"found": None}


def break_total(ctx: ToolContext[Basket]) -> None:
    """A value that the model's own validator refuses."""
    ctx.context.total = -1


def break_type(ctx: ToolContext[Basket]) -> None:
    """A value of another type."""
    ctx.context.items = 5  # type: ignore[assignment] # what a tool may do by mistake


def break_json(ctx: ToolContext[Basket]) -> None:
    """A value that is no JSON."""
    ctx.context.counts["load"] = 2**70


def break_size(ctx: ToolContext[Basket]) -> None:
    """More than one call may change."""
    ctx.context.items.append("x" * EDITS_BYTES)


def replace_it(ctx: ToolContext[Any]) -> None:
    """Something else in its place."""
    ctx.context = ["a list"]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        pytest.param(break_total, "total: Value error, a total is never negative", id="invalid"),
        pytest.param(break_type, "cannot be written as JSON", id="wrong-type"),
        pytest.param(break_json, "an integer is beyond 64 bits", id="no-json"),
        pytest.param(break_size, "one call may change 65,536", id="too-large"),
        pytest.param(replace_it, "it is a list, not a Basket", id="replaced"),
    ],
)
async def test_a_change_that_cannot_be_kept_is_said(make_lab: MakeLab, change: Any, why: str) -> None:
    """P12: a change that breaks the context leaves it as it was; the call's output stands, and the model reads why."""

    @tool
    def work(ctx: ToolContext[Basket]) -> str:
        """Work."""
        change(ctx)
        return "worked"

    lab = await make_lab(
        [Agent("desk", model="m", instructions=told, tools=[work], context_type=Basket)],
        script=[Reply(call("work", {}, "c1")), DONE],
    )
    result = await (await lab.start("desk", context={"customer": "Ana"})).result()
    [(_, output)] = outputs(lab)
    assert output.startswith("worked\n\nWhat this tool changed in the run's context was not kept: ")
    assert why in output
    assert result.context is None
    assert lab.model.requests[1].instructions == lab.model.requests[0].instructions


async def test_changes_of_a_call_that_failed_are_dropped(make_lab: MakeLab) -> None:
    """P12: what a tool changed before it raised is not kept."""

    @tool
    def work(ctx: ToolContext[Basket]) -> str:
        """Work."""
        ctx.context.total = 7
        raise ValueError("no")

    lab = await make_lab(
        [Agent("desk", model="m", tools=[work], context_type=Basket)],
        script=[Reply(call("work", {}, "c1")), DONE],
    )
    assert (await (await lab.start("desk", context={"customer": "Ana"})).result()).context is None


async def test_what_no_result_records_no_other_call_sees(make_lab: MakeLab) -> None:
    """P12: instructions, rules and a tool that fails may change a plain context in place as deep as they like: nothing
    of it is kept, so that the next call does not see it either, on this worker or on any other."""
    seen: list[dict[str, Any]] = []

    def instructions(ctx: RunContext[Any]) -> str:
        ctx.context["basket"]["items"].append("by instructions")
        return "Help."

    def rule(ctx: RunContext[Any], _arguments: Any) -> bool:
        ctx.context["basket"]["items"].append("by a rule")
        return False

    @tool(approval=rule)
    async def spoil(ctx: ToolContext[Any]) -> str:
        """Fail in the middle."""
        ctx.context["basket"]["items"].append("by a tool")
        raise ValueError("no")

    @tool
    async def look(ctx: ToolContext[Any]) -> str:
        """Look at the context."""
        seen.append(ctx.context)
        return "seen"

    agent = Agent("a", model="m", instructions=instructions, tools=[spoil, look])
    lab = await make_lab([agent], script=[Reply(call("spoil")), Reply(call("look")), DONE])
    run = await lab.start("a", context={"basket": {"items": ["tea"]}})
    await run.result()
    assert seen == [{"basket": {"items": ["tea"]}}]


async def test_a_context_that_grows_without_end_fails_the_run(make_lab: MakeLab, cache: int) -> None:
    """P12: a context that tools make larger than 1 MB ends the run, typed, and never wedges it."""

    @tool
    def grow(ctx: ToolContext) -> None:
        """Add something."""
        ctx.context["more"] = "x" * 1000

    lab = await make_lab(
        [Agent("desk", model="m", tools=[grow])],
        script=[Reply(call("grow", {}, "c1")), DONE],
        max_cached_workflows=cache,
    )
    run = await lab.start("desk", context={"start": "x" * CONTEXT_BYTES})
    with pytest.raises(RunFailedError, match="keep large data elsewhere") as failed:
        await run.result()
    assert failed.value.kind == "ContextTooLarge"


class Secret(BaseModel):
    """A context that masks what it holds."""

    token: SecretStr


class Locked(BaseModel, arbitrary_types_allowed=True):
    """A context that holds what has no JSON."""

    lock: Any = Field(default_factory=threading.Lock)


@pytest.mark.parametrize(
    ("context", "why"),
    [
        pytest.param(object(), "context must be a JSON object (a dict) or a pydantic model", id="object"),
        pytest.param(["a"], "not a list", id="list"),
        pytest.param("text", "not a str", id="text"),
        pytest.param({"at": threading.Lock()}, "context: at at: lock is no JSON type", id="lock"),
        pytest.param({"ids": {1, 2}}, "context: at ids: set is no JSON type", id="set"),
        pytest.param({1: "x"}, "a key of context must be a string, not 1 (an int)", id="number-as-key"),
        pytest.param({"load": float("nan")}, "context: at load: a number is not finite", id="nan"),
        pytest.param(Secret(token=SecretStr("hush")), "does it hold a secret", id="secret"),
        pytest.param(Locked(), "holds what has no JSON", id="model-with-a-lock"),
        pytest.param(Basket, "not the class Basket; write Basket(…)", id="the-class"),
    ],
)
async def test_a_context_that_is_no_json_is_refused_at_once(
    make_lab: MakeLab, context: Any, why: str, cache: int
) -> None:
    """O8: a context that cannot be recorded as it is fails the start with a clear error; it never becomes {}."""
    lab = await make_lab([Agent("desk", model="m")], script=[DONE], max_cached_workflows=cache)
    with pytest.raises((PayloadInvalidError, UsageError)) as refused:
        await lab.start("desk", context=context, id=f"o8-{lab.task_queue}")
    assert why in str(refused.value)
    assert "hush" not in str(refused.value)
    with pytest.raises(RunNotFoundError):
        await lab.hf.run(f"o8-{lab.task_queue}").status()


async def test_a_model_as_context_arrives_whole(make_lab: MakeLab, cache: int) -> None:
    """O8: a pydantic model given as context is what tools and instructions get, field for field."""
    seen: list[Basket] = []

    def instructions(ctx: RunContext[Basket]) -> str:
        seen.append(ctx.context)
        return ""

    given = Basket(customer="Ana", items=["a"], address=Address(city="Delft"), total=3)
    lab = await make_lab(
        [Agent("desk", model="m", instructions=instructions, context_type=Basket)],
        script=[DONE],
        max_cached_workflows=cache,
    )
    await (await lab.start("desk", context=given)).result()
    assert seen == [given]


@pytest.mark.parametrize(
    ("stored", "before", "after"),
    [
        pytest.param({"a": 1}, {"a": 1}, {"a": True}, id="true-is-not-one"),
        pytest.param({}, {"a": {"b": 1, "c": 2}}, {"a": {"b": 2, "c": 2}}, id="below-a-default"),
        pytest.param({"a": {"b": 1}}, {"a": {"b": 1}}, {"a": {}}, id="removed"),
        pytest.param({"a": [1]}, {"a": [1]}, {"a": [1, 2], "b": None}, id="list-and-null"),
        pytest.param(None, None, {"a": 1}, id="from-nothing"),
    ],
)
def test_edits_lead_from_before_to_after(stored: Any, before: Any, after: Any) -> None:
    """Applied to what the run keeps, the edits give what the tool left; nothing is shared with it."""
    edits = edits_between(stored, before, after)
    assert edited(stored, edits) == {**(stored or {}), **after}
    assert [edit.from_wire(edit.to_wire()) for edit in edits] == edits


@pytest.mark.parametrize("plain", [False, True], ids=["model", "plain"])
async def test_on_handoff_changes_the_context_as_tools_do(make_lab: MakeLab, cache: int, *, plain: bool) -> None:
    """What `on_handoff` changes in the context is kept: the next agent's instructions and the result see it."""

    def note(ctx: RunContext[Any]) -> None:
        if plain:
            ctx.context["items"].append("handed over")
        else:
            ctx.context.items.append("handed over")

    kind = None if plain else Basket
    seen: list[str] = []

    def instructions(ctx: RunContext[Any]) -> str:
        seen.append(str(ctx.context["items"] if plain else ctx.context.items))
        return "Help."

    billing = Agent("billing", model="m", context_type=kind, instructions=instructions)
    front = Agent("front", model="m", context_type=kind, handoffs=[handoff(billing, on_handoff=note)])
    script = [Reply(call("transfer_to_billing", {}, "c1")), DONE]
    lab = await make_lab([front, billing], script=script, max_cached_workflows=cache)
    run = await lab.start("front", context={"customer": "ann", "items": ["lamp"]})
    result = await run.result()
    assert seen == ["['lamp', 'handed over']"]
    assert result.context == {"customer": "ann", "items": ["lamp", "handed over"]}


async def test_a_change_of_on_handoff_that_cannot_be_kept_is_said(make_lab: MakeLab) -> None:
    """The model reads with the handoff's output that its change of the context was not kept, and why."""

    async def spoil(ctx: RunContext[Basket]) -> None:
        ctx.context.total = -1

    billing = Agent("billing", model="m", context_type=Basket)
    front = Agent("front", model="m", context_type=Basket, handoffs=[handoff(billing, on_handoff=spoil)])
    lab = await make_lab([front, billing], script=[Reply(call("transfer_to_billing", {}, "c1")), DONE])
    result = await (await lab.start("front", context={"customer": "ann"})).result()
    assert result.context is None
    [(_, output)] = outputs(lab)
    assert output.startswith("The agent billing goes on from here.")
    assert "was not kept" in output
    assert "a total is never negative" in output


def spoils(*told: Any) -> None:
    """Change the context from where nothing keeps it."""
    told[0].context["spoiled"] = True


def spoils_given(context: RunContext[Any], _given: Any) -> None:
    """The same for what takes two arguments."""
    spoils(context)


def spoils_and_words(context: RunContext[Any], _given: Any) -> str:
    """The same for what answers a text."""
    spoils(context)
    return "words"


def spoils_and_asks(context: RunContext[Any], _given: Any) -> bool:
    """The same for a rule."""
    spoils(context)
    return True


def spoils_and_shows(context: RunContext[Any]) -> bool:
    """The same for an enabled rule."""
    spoils(context)
    return True


class Spoiling(AgentHooks):
    """Hooks that change the context."""

    async def on_model_start(self, context: RunContext, start: Any) -> None:
        """See base class."""
        spoils(context)

    def on_tool_end(self, context: ToolContext, end: Any) -> None:
        """See base class."""
        spoils(context)


def worker_of(**options: Any) -> Agent:
    """An agent with a tool that may fail."""

    async def work(fails: bool = False) -> str:
        """Work."""
        if fails:
            raise ValueError("no")
        return "worked"

    return Agent("desk", model="m", tools=[tool(**options)(work)])


WORK = Reply(call("work", {}, "c1"))
FAILS = Reply(call("work", {"fails": True}, "c1"))
SPOILED: dict[str, tuple[Agent, list[Reply], str]] = {
    "hook": (Agent("desk", model="m", hooks=[Spoiling()]), [DONE], "the hook Spoiling.on_model_start"),
    "hook of a tool": (
        Agent("desk", model="m", tools=worker_of().tools, hooks=[Spoiling()]),
        [WORK, DONE],
        "the hook Spoiling.on_tool_end",
    ),
    "input builder": (
        Agent("desk", model="m", tools=[Agent("in", model="m").as_tool(name="work", input_builder=spoils_and_words)]),
        [Reply(call("work", {"input": "x"}, "c1")), DONE, DONE],
        "the input builder of work",
    ),
    "input guardrail of a tool": (
        worker_of(input_guardrails=[spoils_given]),
        [WORK, DONE],
        "the guardrail spoils_given of work",
    ),
    "after_tools": (
        Agent("desk", model="m", tools=worker_of().tools, after_tools=spoils_given),
        [WORK, DONE],
        "after_tools of agent desk",
    ),
    "approval rule": (worker_of(approval=spoils_and_asks), [WORK, DONE], "the approval rule of work"),
    "enabled rule": (worker_of(enabled=spoils_and_shows), [DONE], "the enabled rule of work"),
    "on_error of a tool": (worker_of(on_error=spoils_and_words), [FAILS, DONE], "on_error of work"),
    "output guardrail": (
        Agent("desk", model="m", output_guardrails=[spoils_given]),
        [DONE],
        "the guardrail spoils_given of agent desk",
    ),
}


@pytest.mark.parametrize("name", SPOILED)
async def test_a_change_from_elsewhere_is_refused_aloud(
    make_lab: MakeLab, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """Whatever else changes `ctx.context` changes nothing of the run, and the log names it."""
    agent, script, who = SPOILED[name]
    lab = await make_lab([agent], script=script)
    run = await lab.start("desk", context={"customer": "ann"})
    if name == "approval rule":
        await run.approve(await lab.next_request(run), decided_by="lead")
    result = await run.result()
    assert result.output == "done"
    assert result.context is None
    lines = [record.getMessage() for record in caplog.records if record.name == "handfast.user_code"]
    assert any(line.startswith(f"{who} changed ctx.context; the change is lost") for line in lines), caplog.text


async def test_what_shares_a_tools_call_changes_the_context_with_it(make_lab: MakeLab) -> None:
    """A tool's output guardrails, and hooks that hear of its start, have the tool's own context: what they change is
    kept with what the tool changes."""

    class Starts(AgentHooks):
        def on_tool_start(self, context: ToolContext) -> None:
            """See base class."""
            context.context["started"] = True

    def counts(context: ToolContext, _output: Any) -> None:
        context.context["seen"] = True

    @tool(output_guardrails=[counts])
    async def work(ctx: ToolContext) -> str:
        """Work."""
        ctx.context["worked"] = True
        return "worked"

    lab = await make_lab([Agent("desk", model="m", tools=[work], hooks=[Starts()])], script=[WORK, DONE])
    result = await (await lab.start("desk", context={})).result()
    assert result.context == {"started": True, "seen": True, "worked": True}
