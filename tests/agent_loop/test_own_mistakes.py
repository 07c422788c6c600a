"""What a developer sees of his own mistakes: every exception of user code in the log, once, with his own frames."""

from __future__ import annotations

import asyncio
import logging
import re
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, field_validator

from handfast import (
    Agent,
    AgentHooks,
    Approval,
    HandfastPlugin,
    OutputGuardrail,
    Retry,
    RunContext,
    Secret,
    ToolContext,
    handoff,
    tool,
)
from handfast.discretion import TEXTS
from handfast.errors import HandfastError
from handfast.testing import Lab, Reply, call, text
from handfast.worker import make_worker
from support.labs import MakeLab

DONE = Reply(text("done"))
CALL = Reply(call("wipe", {"target": "t"}, "c1"))
SAID = "no price for 7"


def price(*_told: object) -> Any:
    """Raise, one call below the function that the agent names."""
    raise ValueError(SAID)


def boom(*told: object) -> Any:
    """A function with a bug."""
    return price(*told)


def boom_of_one(given: Any) -> Any:
    """The same for what takes one argument."""
    return boom(given)


def boom_of_two(context: Any, given: Any) -> Any:
    """The same for what takes two."""
    return boom(context, given)


class BrokenHooks(AgentHooks):
    """Hooks of which one has a bug."""

    def on_model_end(self, context: Any, end: Any) -> None:
        """See base class."""
        boom(context, end)


class Broken(BaseModel):
    """A model whose validator has a bug that is no refusal."""

    target: str

    @field_validator("target")
    @classmethod
    def _check(cls, value: str) -> str:
        try:
            return str(boom(value))
        except ValueError as error:
            raise LookupError(SAID) from error


@tool
async def plain(target: str) -> str:
    """Delete a target."""
    return f"wiped {target}"


def wiper(function: Callable[..., Any] | None = None, **options: Any) -> Agent:
    """An agent with one tool."""

    async def wipe(target: str) -> Any:
        """Delete a target."""
        return "wiped" if function is None else function(target)

    return Agent("desk", model="m", tools=[tool(**options)(wipe)])


def secretive() -> Agent:
    """An agent whose tool has a secret."""

    @tool
    async def wipe(target: str, token: Annotated[str, Secret("vault:x")]) -> str:
        """Delete a target."""
        return f"{target} {token}"

    return Agent("desk", model="m", tools=[wipe])


def nesting(**options: Any) -> Agent:
    """An agent with another one as its tool."""
    inner = Agent("inner", model="m")
    return Agent("desk", model="m", tools=[inner.as_tool(name="wipe", **options)])


def handing(**options: Any) -> Agent:
    """An agent that hands over."""
    other = Agent("other", model="m")
    return Agent("desk", model="m", handoffs=[handoff(other, name="wipe", **options)])


NESTED = [Reply(call("wipe", {"input": "t"}, "c1")), DONE, DONE]
HANDED = [Reply(call("wipe", {}, "c1")), DONE]

MISTAKES: dict[str, tuple[Agent, list[Reply], dict[str, Any]]] = {
    "tool": (wiper(boom_of_one), [CALL, DONE], {}),
    "approval rule": (wiper(approval=boom_of_two), [CALL, DONE], {}),
    "enabled rule": (wiper(enabled=boom_of_one), [DONE], {}),
    "idempotency key": (wiper(idempotency_key=boom_of_two), [CALL, DONE], {}),
    "instructions": (Agent("desk", model="m", instructions=boom_of_one), [DONE], {}),
    "hook": (Agent("desk", model="m", hooks=[BrokenHooks()]), [DONE], {}),
    "hook of the worker": (Agent("desk", model="m"), [DONE], {"hooks": [BrokenHooks()]}),
    "input guardrail": (Agent("desk", model="m", input_guardrails=[boom_of_two]), [DONE], {}),
    "output guardrail": (Agent("desk", model="m", output_guardrails=[OutputGuardrail(boom_of_two)]), [DONE], {}),
    "input guardrail of a tool": (wiper(input_guardrails=[boom_of_two]), [CALL, DONE], {}),
    "output guardrail of a tool": (wiper(output_guardrails=[boom_of_two]), [CALL, DONE], {}),
    "on_error of a tool": (wiper(lambda _target: 1 / 0, on_error=boom_of_two), [CALL, DONE], {}),
    "after_tools": (
        Agent("desk", model="m", tools=[plain], after_tools=boom_of_two),
        [Reply(call("plain", {"target": "t"}))],
        {},
    ),
    "on_max_turns": (
        Agent("desk", model="m", tools=[plain], max_turns=1, on_max_turns=boom_of_two),
        [Reply(call("plain", {"target": "t"}))],
        {},
    ),
    "rejection text": (
        Agent("desk", model="m", tools=[tool(approval=True, name="wipe")(plain.function)], rejection_text=boom_of_two),
        [CALL, DONE],
        {},
    ),
    "revalidate": (wiper(approval=True, revalidate=boom_of_two), [CALL, DONE], {}),
    "groups": (wiper(approval=Approval(approvers=["group:finance"])), [CALL, DONE], {"groups": boom_of_one}),
    "secrets": (secretive(), [CALL, DONE], {"secrets": boom_of_one}),
    "input builder": (nesting(input_builder=boom_of_two), NESTED, {}),
    "output extractor": (nesting(output_extractor=boom_of_two), NESTED, {}),
    "on_handoff": (handing(on_handoff=boom_of_one), HANDED, {}),
    "filter of a handoff": (handing(filter=boom_of_two), HANDED, {}),
    "validator of the output type": (
        Agent("desk", model="m", output_type=Broken),
        [Reply(text('{"target": "t"}'))] * 4,
        {},
    ),
    "validator of the context": (Agent("desk", model="m", context_type=Broken), [DONE], {}),
}


async def decided(lab: Lab, name: str, run: Any) -> None:
    """Decide what the scene asks, and let the run end whatever way it does."""
    if name in ("approval rule", "rejection text"):
        await run.reject(await lab.next_request(run), decided_by="lead")
    if name == "revalidate":
        first = await lab.next_request(run)
        await run.approve(first, decided_by="lead")
        async for request in run.requests():
            if request.id != first.id:
                await run.reject(request, decided_by="lead")
                break
    if name == "secrets":  # the call is tried again a few times, then a person is asked
        await lab.next_request(run)
        await run.cancel("enough")
    if name == "groups":
        with pytest.raises(HandfastError, match="raised ValueError"):
            await run.approve(await lab.next_request(run), decided_by="ann")
        await run.cancel("enough")
    with suppress(HandfastError):
        await run.result()


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged of user code, each as one text."""
    return [record.getMessage() for record in caplog.records if record.name == "handfast.user_code"]


@pytest.mark.parametrize("texts", [pytest.param("own", id="with-texts"), pytest.param(None, id="discreet")])
@pytest.mark.parametrize("name", MISTAKES)
async def test_each_exception_of_user_code_is_logged_where_it_happens(
    make_lab: MakeLab,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    *,
    name: str,
    texts: str | None,
) -> None:
    """Every exception of your code is logged by the worker with the frames of your own files, its kind and its place;
    what it says only where texts may be logged, and no frame of a library ever."""
    monkeypatch.delenv(TEXTS, raising=False)
    if texts is not None:
        monkeypatch.setenv(TEXTS, texts)
    agent, script, options = MISTAKES[name]
    lab = await make_lab([agent], script=script, **options)
    run = await lab.start("desk", context={"target": "t"} if agent.context_type else None)
    await decided(lab, name, run)
    lines = [line for line in told(caplog) if "ValueError" in line]
    assert lines, caplog.text
    if name not in ("validator of the output type", "revalidate", "secrets", "groups"):
        assert len(lines) == 1, "it is logged once"
    line = lines[0]
    assert f"run {run.id}" in line
    assert "agent desk" in line
    assert re.search(r'File "[^"]*test_own_mistakes\.py", line \d+, in boom\n    return price\(\*told\)', line)
    assert "in price" in line
    files = set(re.findall(r'File "([^"]+)"', line))
    assert files == {__file__}
    last = line.splitlines()[-1]
    kind = "LookupError" if name.startswith("validator") else "ValueError"
    assert last == (f"{kind}: {SAID}" if texts else kind)
    assert (SAID in line) is (texts is not None)
    if texts is None:
        assert SAID not in "".join(record.getMessage() for record in caplog.records)
    # The SDK's own trace of a failed attempt would be nothing but library frames.
    assert not [record for record in caplog.records if record.name == "temporalio.activity" and record.exc_info]


async def test_a_member_of_an_exception_group_is_shown(
    make_lab: MakeLab, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an exception group each member is shown with its own frames, and the causes of an exception too."""
    monkeypatch.setenv(TEXTS, "own")

    @tool(effect="read_only")
    async def wipe(target: str) -> str:
        """Delete a target."""

        async def first() -> None:
            boom(target)

        async def second() -> None:
            try:
                boom(target)
            except ValueError as error:
                raise LookupError("no such target") from error

        async with asyncio.TaskGroup() as group:
            group.create_task(first())
            group.create_task(second())
        return "never"

    lab = await make_lab([Agent("desk", model="m", tools=[wipe])], script=[CALL, DONE])
    await (await lab.start("desk")).result()
    [line] = told(caplog)
    assert "the tool wipe raised ExceptionGroup" in line
    assert "ExceptionGroup: unhandled errors in a TaskGroup (2 sub-exceptions)" in line
    assert line.count(f"ValueError: {SAID}") == 2
    assert "The above exception was the direct cause of the following exception:" in line
    assert "LookupError: no such target" in line
    assert "in first" in line
    assert set(re.findall(r'File "([^"]+)"', line)) == {__file__}


async def test_a_retry_is_logged_as_one(
    make_lab: MakeLab, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An attempt after which a tool is tried again is one line that says so, with file and line; the last one is
    logged with its frames."""
    monkeypatch.setenv(TEXTS, "own")

    @tool(
        effect="idempotent",
        retry=Retry(attempts=3, on=(ValueError,), first_pause=timedelta(milliseconds=10)),
    )
    async def wipe(ctx: ToolContext, target: str) -> str:
        """Delete a target."""
        return str(boom(ctx.attempt, target))

    lab = await make_lab([Agent("desk", model="m", tools=[wipe])], script=[CALL, DONE])
    await (await lab.start("desk")).result()
    first, second, third = (record for record in caplog.records if record.name == "handfast.user_code")
    for number, record in ((1, first), (2, second)):
        assert record.levelno == logging.WARNING
        [line] = record.getMessage().splitlines()
        assert re.match(
            r"the tool wipe raised ValueError at \S+test_own_mistakes\.py, line \d+ and is tried again", line
        )
        assert f"attempt {number} of 3" in line
    assert third.levelno == logging.ERROR
    assert third.getMessage().endswith(f"ValueError: {SAID}")
    assert not [record for record in caplog.records if record.name == "temporalio.activity"]


async def test_a_function_that_hangs_is_named(
    make_lab: MakeLab, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A function that takes too long is logged with its name and its limit."""
    monkeypatch.setattr("handfast.activities.runtime.rules.RULE_S", 0.2)

    async def never(_context: RunContext, _arguments: object) -> bool:
        await asyncio.Event().wait()
        return True

    lab = await make_lab([wiper(approval=never)], script=[CALL, DONE])
    run = await lab.start("desk")
    await run.approve(await lab.next_request(run), decided_by="lead")
    await run.result()
    [line] = told(caplog)
    assert line.startswith("the approval rule of wipe took longer than 0.2 s; a person is asked (agent desk, turn 1")


async def test_a_secret_is_not_logged_with_an_exception(
    make_lab: MakeLab, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a tool's exception quotes its secret, the log has a marker in its place, with texts too."""
    monkeypatch.setenv(TEXTS, "own")
    monkeypatch.setenv("TOKEN", "hush-hush")

    @tool
    async def wipe(target: str, token: Annotated[str, Secret("env:TOKEN")]) -> str:
        """Delete a target."""
        raise ValueError(f"{target} refused {token}")

    lab = await make_lab([Agent("desk", model="m", tools=[wipe])], script=[CALL, DONE])
    await (await lab.start("desk")).result()
    [line] = told(caplog)
    assert line.endswith("ValueError: t refused [secret]")


@pytest.mark.parametrize("when", ["in", "out"])
async def test_resources_that_raise_are_logged(
    make_lab: MakeLab, caplog: pytest.LogCaptureFixture, *, when: str
) -> None:
    """Resources that cannot be made, or not be closed, are logged with your own frames, and end the worker."""

    made = threading.Event()

    @asynccontextmanager
    async def resources() -> AsyncIterator[str]:
        if when == "in":
            boom()
        made.set()
        yield "pool"
        boom()

    lab = await make_lab([Agent("desk", model="m")])
    plugin = HandfastPlugin(resources=resources)
    worker = make_worker(lab.client, plugin, task_queue=f"{lab.task_queue}-too")
    running = asyncio.create_task(worker.run())
    if when == "out":
        assert await asyncio.to_thread(made.wait, 10)
        await worker.shutdown()
    with pytest.raises(ValueError, match=SAID):
        await running
    [line] = told(caplog)
    assert line.startswith("resources of HandfastPlugin raised ValueError; the worker ends")
    assert set(re.findall(r'File "([^"]+)"', line)) == {__file__}
