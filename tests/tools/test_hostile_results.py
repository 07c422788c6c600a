"""Fault row XC8: whatever a tool returns, raises, or fails to do."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Annotated, Any, NoReturn

import pytest
from pydantic import AfterValidator

from handfast import Agent, Tool, ToolContext, tool
from handfast.definitions.tools.function_tool import Effect
from handfast.errors import RunFailedError
from handfast.testing import Reply, call, text
from handfast.workflows.loop.verdicts import OUTCOME_UNKNOWN
from support.evidence import failed_tasks
from support.labs import Effects, MakeLab


class Secretive:
    """An object that nothing can be made of."""

    def __str__(self) -> NoReturn:
        raise RuntimeError("no text")


class SecretiveError(Exception):
    """An exception whose text cannot be had."""

    def __str__(self) -> NoReturn:
        raise RuntimeError("no text")


def nested(depth: int) -> list[Any]:
    """A list in a list in a list…"""
    inner: list[Any] = []
    for _ in range(depth):
        inner = [inner]
    return inner


def circular() -> list[Any]:
    """A list that holds itself."""
    ring: list[Any] = []
    ring.append(ring)
    return ring


def throw(error: BaseException) -> NoReturn:
    """Raise, as an expression."""
    raise error


def lines() -> Iterator[str]:
    """A generator."""
    yield "one"


NO_JSON = "cannot be given to you as JSON"
ENDINGS: dict[str, tuple[Callable[[], Any], str]] = {
    "an-object": (Secretive, NO_JSON),
    "bytes": (lambda: b"\xff\xfe", NO_JSON),
    "NaN": (lambda: {"load": float("nan")}, NO_JSON),
    "infinity": (lambda: [float("inf")], NO_JSON),
    "2^70": (lambda: 2**70, str(2**70)),
    "2^70-in-a-list": (lambda: [2**70], f'["{2**70}"]'),
    "5,000-digits": (lambda: 10**5000, NO_JSON),
    "lone-surrogate": (lambda: "a\ud800b", "a\ufffdb"),
    "lone-surrogate-in-a-list": (lambda: ["a\ud800b"], NO_JSON),
    "depth-2,000": (lambda: nested(2000), NO_JSON),
    "depth-100,000": (lambda: nested(100_000), NO_JSON),
    "circular": (circular, NO_JSON),
    "generator": (lines, NO_JSON),
    "endless-iterator": (lambda: {"all": itertools.count()}, NO_JSON),
    "a-lock": (threading.Lock, NO_JSON),
    "None": (lambda: None, ""),
    "NUL": (lambda: "a\x00b", "a\x00b"),
    "exception": (lambda: throw(ValueError("no such order")), "Error: ValueError: no such order"),
    "exception-without-text": (lambda: throw(KeyError()), "Error: KeyError"),
    "exception-with-a-surrogate": (lambda: throw(ValueError("a\ud800b")), "Error: ValueError: a\ufffdb"),
    "exception-of-5-MB": (lambda: throw(ValueError("x" * 5_000_000)), "[cut: 5,000,019 bytes in all, sha256 "),
    "exception-that-has-no-text": (lambda: throw(SecretiveError()), "Error: SecretiveError"),
    "exception-with-a-bad-cause": (lambda: throw(ExceptionGroup("\ud800", [SecretiveError()])), "Error: Ex"),
    "SystemExit": (lambda: throw(SystemExit(3)), "Error: SystemExit: 3"),
    "KeyboardInterrupt": (lambda: throw(KeyboardInterrupt()), "Error: KeyboardInterrupt"),
    "CancelledError": (lambda: throw(asyncio.CancelledError()), "Error: CancelledError"),
    "StopIteration": (lambda: throw(StopIteration("x")), "Error: "),
    "GeneratorExit": (lambda: throw(GeneratorExit()), "Error: GeneratorExit"),
    "RecursionError": (lambda: throw(RecursionError("deep")), "Error: RecursionError"),
}


def desk(effects: Effects, effect: Effect) -> Agent:
    """An agent with an async and a sync tool that end in the way that its argument names."""

    @tool(effect=effect)
    async def end_async(how: str) -> Any:
        """End somehow."""
        effects.append(f"async {how}")
        return ENDINGS[how][0]()

    @tool(effect=effect)
    def end_sync(how: str) -> Any:
        """End somehow, in a thread."""
        effects.append(f"sync {how}")
        return ENDINGS[how][0]()

    return Agent("desk", instructions="Help.", model="m", tools=[end_async, end_sync])


@pytest.mark.parametrize("effect", ["at_most_once", "idempotent"])
async def test_whatever_a_tool_does_it_runs_once(
    make_lab: MakeLab, effects: Effects, cache: int, effect: Effect
) -> None:
    """XC8: every result and every exception becomes text for the model; the body ran once, the worker lives on."""
    ways = [(kind, how) for how in ENDINGS for kind in ("async", "sync")]
    calls = [call(f"end_{kind}", {"how": how}, f"{kind} {how}") for kind, how in ways]
    lab = await make_lab(
        [desk(effects, effect)],
        script=[Reply(*calls), Reply(text("done")), Reply(text("alive"))],
        max_cached_workflows=cache,
    )
    run = await lab.start("desk")
    assert (await run.result()).output == "done"
    assert sorted(effects) == sorted(f"{kind} {how}" for kind, how in ways)
    outputs = lab.model.requests[1].tool_outputs
    wrong = {
        f"{kind} {how}": outputs[f"{kind} {how}"][-200:]
        for kind, how in ways
        if ENDINGS[how][1] not in outputs[f"{kind} {how}"] or len(outputs[f"{kind} {how}"]) > 8192
    }
    assert wrong == {}
    assert lab.model.violations == []
    assert await failed_tasks(lab, run) == 0
    assert (await (await lab.start("desk")).result()).output == "alive"


def stuck(effects: Effects, release: threading.Event, effect: Effect) -> Agent:
    """An agent whose tools do not end by themselves."""
    short = timedelta(seconds=1)

    @tool(effect=effect, timeout=short)
    async def hang_async() -> str:
        """Hang."""
        effects.append("async")
        await asyncio.Event().wait()
        return "never"

    @tool(effect=effect, timeout=short)
    async def cling() -> str:
        """Hang, and ignore the first cancellation."""
        effects.append("cling")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            effects.append("cling was cancelled")
        return "too late"

    @tool(effect=effect, timeout=short)
    def hang_sync(ctx: ToolContext) -> str:
        """Hang in a thread."""
        effects.append("sync")
        ctx.cancel_event.wait(30)
        effects.append("sync was asked to stop")
        release.wait(30)
        return "too late"

    tools: list[Tool[..., Any]] = [hang_async, cling, hang_sync]
    return Agent("stuck", instructions="Help.", model="m", tools=tools)


@pytest.mark.parametrize(
    ("effect", "says"),
    [
        pytest.param("at_most_once", OUTCOME_UNKNOWN, id="at-most-once-is-told-as-unknown"),
        pytest.param("read_only", "was stopped: it took longer than its 1 s", id="read-only-is-told-as-stopped"),
    ],
)
async def test_a_tool_that_hangs_is_left_after_its_timeout(
    make_lab: MakeLab, effects: Effects, cache: int, effect: Effect, says: str
) -> None:
    """XC8: a tool that hangs is left when its time is up, its body ran once, and the model is told."""
    release = threading.Event()
    names = ("hang_async", "cling", "hang_sync")
    lab = await make_lab(
        [stuck(effects, release, effect)],
        script=[Reply(*(call(name, {}, name) for name in names)), Reply(text("done"))],
        max_cached_workflows=cache,
    )
    run = await lab.start("stuck")
    try:
        assert (await run.result()).output == "done"
        outputs = lab.model.requests[1].tool_outputs
        assert [name for name in names if says not in outputs[name]] == []
        assert sorted(effects) == ["async", "cling", "cling was cancelled", "sync", "sync was asked to stop"]
        assert await failed_tasks(lab, run) == 0
    finally:
        release.set()


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt, asyncio.CancelledError])
async def test_other_agent_code_that_raises_cannot_stop_a_worker(
    make_lab: MakeLab, effects: Effects, error: type[BaseException]
) -> None:
    """XC8: an approval rule that raises asks a person, a wording that raises leaves the default; the worker lives."""

    async def rule(ctx: object, arguments: object) -> bool:
        raise error("a\ud800b")

    def wording(ctx: object, rejection: object) -> str:
        raise error("a\ud800b")

    @tool(approval=rule)
    async def wipe(target: str) -> str:
        """Delete a target."""
        effects.append(target)
        return "wiped"

    agent = Agent("desk", instructions="Help.", model="m", tools=[wipe], rejection_text=wording)
    lab = await make_lab([agent], script=[Reply(call("wipe", {"target": "temp"}, "c1")), Reply(text("done"))])
    run = await lab.start("desk")
    request = await lab.next_request(run)
    assert request.reason == f"the approval rule raised {error.__name__}"
    await run.reject(request, decided_by="lead")
    assert (await run.result()).output == "done"
    assert lab.model.requests[1].tool_outputs == {"c1": "A person rejected this call. It did not run."}
    assert (effects, len(lab.model.requests)) == ([], 2)
    assert await failed_tasks(lab, run) == 0


@pytest.mark.parametrize("error", [ValueError, SystemExit, asyncio.CancelledError])
async def test_instructions_that_raise_end_the_run_with_a_reason(
    make_lab: MakeLab, effects: Effects, error: type[BaseException]
) -> None:
    """XC8: instructions that raise, whatever they say, fail the run once and cost no model call."""

    def instructions(ctx: object) -> str:
        effects.append("asked")
        raise error("a\ud800b" + "x" * 3_000_000)

    lab = await make_lab([Agent("desk", instructions=instructions, model="m")])
    run = await lab.start("desk")
    with pytest.raises(RunFailedError) as failed:
        await run.result()
    assert failed.value.kind == "InstructionsFailed"
    assert f"raised {error.__name__}: a\ufffdb" in failed.value.message
    assert (effects, lab.model.requests) == (["asked"], [])


async def test_checks_of_arguments_that_raise_are_told_to_the_model(make_lab: MakeLab, effects: Effects) -> None:
    """XC8: a validator or an idempotency key that raises anything keeps its call from running, and no other."""

    def check(value: str) -> str:
        raise KeyError(value)

    def key(ctx: object, arguments: object) -> str:
        raise SystemExit(1)

    def leave(value: str) -> str:
        raise SystemExit(value)

    @tool
    async def checked(value: Annotated[str, AfterValidator(check)]) -> str:
        """Take a value."""
        effects.append("checked")
        return value

    @tool
    async def leaving(value: Annotated[str, AfterValidator(leave)]) -> str:
        """Take a value."""
        effects.append("leaving")
        return value

    @tool(idempotency_key=key)
    async def keyed(value: str) -> str:
        """Take a value."""
        effects.append("keyed")
        return value

    @tool
    async def sound(value: str) -> str:
        """Take a value."""
        effects.append("sound")
        return value

    names = ("checked", "leaving", "keyed", "sound")
    lab = await make_lab(
        [Agent("desk", instructions="Help.", model="m", tools=[checked, leaving, keyed, sound])],
        script=[Reply(*(call(name, {"value": "v"}, name) for name in names)), Reply(text("done"))],
    )
    run = await lab.start("desk")
    assert (await run.result()).output == "done"
    assert (effects, len(lab.model.requests)) == (["sound"], 2)
    assert lab.model.requests[1].tool_outputs == {
        "checked": "Error: KeyError: 'v'",
        "leaving": "Error: invalid arguments for leaving: a validator raised SystemExit",
        "keyed": "Error: the idempotency key raised SystemExit",
        "sound": "v",
    }
