"""Scenario row H5, and the one order of events and deltas."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path

import pytest
from temporalio.client import Client
from temporalio.converter import DataConverter

from handfast import Agent, Handfast, InProcessDeltas, Run, ToolContext, tool
from handfast.client.merge import Item
from handfast.client.stores import Stores
from handfast.errors import OffsetUnknownError, RunCancelledError, RunNotFoundError
from handfast.payloads.deltas import Delta, DeltasDiscarded
from handfast.payloads.events import (
    AgentFinished,
    ModelReplied,
    RunFinished,
    ToolCalled,
    ToolOutput,
    TurnStarted,
)
from handfast.server import EmbeddedServer
from handfast.testing import Fail, Pause, Reply, Script, When, call, reasoning, text
from support.archives import archived, forget
from support.encryption import KeyedCodec
from support.labs import MakeLab
from support.redis_server import RedisServer

LONG = "Seventeen words, so that the scripted server cuts them into a few pieces of text that follow each other."


@tool(effect="read_only")
async def look(ctx: ToolContext, at: str) -> str:
    """Look at something."""
    ctx.progress(f"looking at {at}")
    return "fine"


DESK = Agent("desk", model="m", tools=[look])
SCRIPT = [Reply(reasoning("First look."), call("look", {"at": "fans"}, "c1")), Reply(text(LONG))]


def streamed(run: Run, after: str | None = None) -> aclosing[AsyncGenerator[Item]]:
    """A stream that is closed as soon as it is left."""
    return aclosing(run.stream(after))


async def seen(run: Run, after: str | None = None) -> list[Item]:
    """Everything from there to the end."""
    async with asyncio.timeout(40), streamed(run, after) as items:
        return [item async for item in items]


class Screen:
    """What a consumer that follows the rules shows: the words of each turn under way."""

    def __init__(self) -> None:
        self.words: dict[tuple[str, int], str] = {}
        self.replies: dict[tuple[str, int], tuple[str, str]] = {}
        self._open: set[tuple[str, int]] = set()

    def show(self, item: Item) -> None:
        """Take an item, and make sure that it is in its place."""
        match item:
            case TurnStarted():
                self._open.add((item.frame, item.turn))
            case Delta(kind="text"):
                assert (item.frame, item.turn) in self._open, "a delta outside of its turn"
                place = (item.frame, item.turn)
                self.words[place] = self.words.get(place, "") + item.text
            case DeltasDiscarded():
                self.words.pop((item.frame, item.turn), None)
            case ModelReplied():
                place = (item.frame, item.turn)
                self.replies[place] = (self.words.get(place, ""), item.text)
                self._open.discard(place)
            case _:
                pass


def shown(items: Sequence[Item]) -> Screen:
    """What a consumer had on the screen in the end."""
    screen = Screen()
    for item in items:
        screen.show(item)
    return screen


@pytest.mark.parametrize("where", ["process", "redis"])
async def test_deltas_stand_between_the_events_of_their_turn(
    make_lab: MakeLab, redis: RedisServer, where: str, cache: int
) -> None:
    """One order, live: a turn begins, is written, and is there; a call begins, tells its progress, has its output."""
    kept = InProcessDeltas() if where == "process" else redis.url
    lab = await make_lab([DESK], script=SCRIPT, deltas=kept, max_cached_workflows=cache)
    run = await lab.start("desk", stream=True)
    items = await seen(run)
    kinds = [item.kind if isinstance(item, Delta) else item.type for item in items]
    once = [kind for place, kind in enumerate(kinds) if place == 0 or kinds[place - 1] != kind]
    assert [kind for kind in once if kind != "status"] == [
        *("run_started", "turn_started", "reasoning", "arguments", "model_reply"),
        *("tool_called", "tool_progress", "tool_output", "turn_started", "text", "model_reply", "run_finished"),
    ]
    assert shown(items).replies[("0", 2)] == (LONG, LONG)
    plain = [event.type async for event in run.events()]
    assert [item.type for item in items if not isinstance(item, Delta)] == plain


async def test_a_reader_goes_on_from_anywhere(make_lab: MakeLab) -> None:
    """Behind every event and every delta: nothing comes twice, and nothing is missing."""
    lab = await make_lab([DESK], script=SCRIPT, deltas=InProcessDeltas())
    run = await lab.start("desk", stream=True)
    items = await seen(run)
    assert len([item for item in items if isinstance(item, Delta)]) >= 4
    for place, item in enumerate(items):
        assert await seen(run, item.offset) == items[place + 1 :]
    # The events alone can go on from there too.
    [delta] = [item for item in items if isinstance(item, Delta) and item.kind == "tool_progress"]
    rest = [event.type async for event in run.events(after=delta.offset)]
    assert rest[0] == "tool_output"
    for wrong in ("nowhere", "nowhere/1-0.0", f"{items[0].offset}/x", f"{items[0].offset}/1"):
        with pytest.raises(OffsetUnknownError):
            await seen(run, wrong)


async def test_half_of_a_reply_is_seen_before_the_rest_is_written(make_lab: MakeLab, redis: RedisServer) -> None:
    """From the start, joined in the middle, and gone on with in the middle: each reader has the words so far, live."""
    lab = await make_lab([DESK], script=[Pause("half", Reply(text(LONG)), after=3)], deltas=redis.url)
    run = await lab.start("desk", stream=True)

    async def until_half(after: str | None, words: str) -> str:
        async with asyncio.timeout(20), streamed(run, after) as items:
            async for item in items:
                if isinstance(item, Delta):
                    words += item.text
                    if len(words) >= 36:
                        return item.offset
        raise AssertionError("it ended before")

    middle = await until_half(None, "")
    assert await until_half(None, "") == middle
    reading = asyncio.create_task(seen(run, middle))
    lab.model.open("half")
    rest = await reading
    assert "".join(item.text for item in rest if isinstance(item, Delta)) == LONG[36:]


async def test_a_retried_attempt_is_told_apart(make_lab: MakeLab, cache: int) -> None:
    """H5: what an attempt said that broke off is discarded before the next one speaks, live and afterwards."""
    script = [Pause("open", Reply(text(LONG)), 3, "server_error"), Reply(text(LONG))]
    lab = await make_lab([DESK], script=script, deltas=InProcessDeltas(), max_cached_workflows=cache)
    run = await lab.start("desk", stream=True)
    watching = asyncio.create_task(seen(run))
    lab.model.open("open")
    items = await watching
    [discarded] = [item for item in items if isinstance(item, DeltasDiscarded)]
    place = items.index(discarded)
    before = [item for item in items[:place] if isinstance(item, Delta)]
    after = [item for item in items[place:] if isinstance(item, Delta)]
    assert {item.attempt for item in before} == {discarded.attempt}
    assert discarded.attempt not in {item.attempt for item in after}
    assert "".join(item.text for item in before) == LONG[:36]
    assert shown(items).replies == {("0", 1): (LONG, LONG)}
    assert await seen(run) == items


OFFICE = """
from handfast import Agent

desk = Agent("desk", model="m")
"""


async def test_a_killed_worker_leaves_no_words(make_lab: MakeLab, redis: RedisServer, tmp_path: Path) -> None:
    """H5: a worker is killed in the middle of a reply; the next one's attempt replaces what stood there."""
    (tmp_path / "office_of_one.py").write_text(OFFICE)
    script = [Pause("never", Reply(text(LONG)), after=3), Reply(text(LONG))]
    lab = await make_lab("office_of_one", script=script, deltas=redis.url, directory=tmp_path)
    run = await lab.start("desk", stream=True)
    items: list[Item] = []
    async with asyncio.timeout(60), streamed(run) as coming:
        async for item in coming:
            items.append(item)
            said = sum(len(each.text) for each in items if isinstance(each, Delta))
            if isinstance(item, Delta) and said == 36:
                await lab.kill_worker()
                await lab.spawn_worker("office_of_one")
    assert len([item for item in items if isinstance(item, DeltasDiscarded)]) == 1
    assert shown(items).replies == {("0", 1): (LONG, LONG)}


async def test_a_cancelled_reply_is_discarded(make_lab: MakeLab) -> None:
    """What a reply had said that is not written to its end does not stay on a screen."""
    lab = await make_lab([DESK], script=[Pause("never", Reply(text(LONG)), after=3)], deltas=InProcessDeltas())
    run = await lab.start("desk", stream=True)
    items: list[Item] = []
    async with asyncio.timeout(30), streamed(run) as coming:
        async for item in coming:
            items.append(item)
            if isinstance(item, Delta) and items and len(item.text) >= 12:
                await run.cancel("enough")
    assert isinstance(items[-1], RunFinished)
    assert shown(items).words == {}
    with pytest.raises(RunCancelledError):
        await run.result()


async def test_a_message_that_interrupts_discards_what_was_written(make_lab: MakeLab) -> None:
    """Sent *now*, it ends the model call under way: its words are void, and those of the next call take their place."""
    script = [Pause("never", Reply(text("This is going nowhere at all, so to speak.")), after=2), Reply(text(LONG))]
    lab = await make_lab([DESK], script=script, deltas=InProcessDeltas())
    run = await lab.start("desk", stream=True)
    items: list[Item] = []
    async with asyncio.timeout(60), streamed(run) as coming:
        async for item in coming:
            items.append(item)
            if isinstance(item, Delta) and not any(isinstance(each, Delta) for each in items[:-1]):
                await run.send("stop that", when="now")
    assert [item.type for item in items].count("deltas_discarded") == 1
    assert shown(items).replies == {("0", 1): (LONG, LONG)}


async def test_each_message_of_a_session_has_its_own_words(make_lab: MakeLab) -> None:
    """Also the one after a message that failed, whose turn it makes anew; a session is one run, and goes on."""
    script = [Reply(text(LONG)), Fail(400), Reply(text(LONG[::-1])), Reply(text("Good night."))]
    lab = await make_lab([DESK], script=script, deltas=InProcessDeltas())
    session = lab.hf.session(f"talk-{lab.task_queue}", agent="desk", stream=True)
    said: list[str] = []
    for message in ("one", "two", "three", "four"):
        turn = await session.send(message)
        async with asyncio.timeout(30):
            items = [item async for item in turn.stream()]
        said.append("".join(item.text for item in items if isinstance(item, Delta)))
    assert said == [LONG, "", LONG[::-1], "Good night."]
    await session.close()


async def test_nested_agents_speak_in_their_own_frames(make_lab: MakeLab, cache: int) -> None:
    """Two agents used as tools write at the same time: every word stands within its own turn."""
    writer = Agent("writer", model="m", instructions="write")
    head = Agent("head", model="m", instructions="head", tools=[writer.as_tool(name="write")])
    calls = Reply(call("write", {"input": "one"}, "c1"), call("write", {"input": "two"}, "c2"))
    script = Script.rules(
        When(instructions="write", then=Reply(text(LONG))),
        When(instructions="head", turn=0, then=calls),
        When(instructions="head", then=Reply(text("done"))),
    )
    lab = await make_lab([head, writer], script=script, deltas=InProcessDeltas(), max_cached_workflows=cache)
    run = await lab.start("head", stream=True)
    items = await seen(run)
    replies = shown(items).replies
    assert sorted(replies) == [("0", 1), ("0", 2), ("1", 1), ("2", 1)]
    assert replies["1", 1] == replies["2", 1] == (LONG, LONG)
    assert {tuple(item.agent_path) for item in items if isinstance(item, Delta)} == {("head",), ("head", "writer")}
    for place, item in enumerate(items):
        if isinstance(item, AgentFinished):
            assert not [each for each in items[place:] if isinstance(each, Delta) and each.frame == item.frame]


async def test_a_consumer_that_stalls_or_leaves_holds_nothing_up(make_lab: MakeLab, redis: RedisServer) -> None:
    """The run ends while one stands still and another has gone; whoever goes on misses nothing."""
    lab = await make_lab([DESK], script=SCRIPT, deltas=redis.url)
    run = await lab.start("desk", stream=True)
    async with streamed(run) as leaving:
        await anext(leaving)
    async with streamed(run) as stalled:
        items = [await anext(stalled)]
        assert (await run.result()).output == LONG
        async with asyncio.timeout(20):
            items += [item async for item in stalled]
    assert shown(items).replies["0", 2] == (LONG, LONG)
    assert [type(item) for item in items if isinstance(item, ToolCalled | ToolOutput)] == [ToolCalled, ToolOutput]


async def test_without_a_stream_of_deltas_it_is_the_events(
    make_lab: MakeLab, redis: RedisServer, tmp_path: Path
) -> None:
    """None configured, one that is away, or a run that was not to be streamed: the events, all of them."""
    lab = await make_lab([DESK], script=[*SCRIPT, *SCRIPT])
    run = await lab.start("desk", stream=True)
    plain = [event async for event in run.events()]
    assert await seen(run) == plain
    away = RedisServer(tmp_path)
    assert await seen(Run(lab.client, run.id, stores=Stores(deltas=away.url))) == plain
    assert await seen(Run(lab.client, run.id, stores=Stores(deltas=redis.url))) == plain


async def test_a_stream_goes_on_over_continue_as_new(make_lab: MakeLab) -> None:
    """Words of the second history are shown too, and a reader may go on from any place in either."""
    turns = 12
    script = [*(Reply(call("look", {"at": "fans"})) for _ in range(turns)), Reply(text(LONG))]
    lab = await make_lab([DESK], script=script, deltas=InProcessDeltas())
    run = await lab.start("desk", stream=True, max_turns=None, segment_events=40)
    items = await seen(run)
    assert len({item.offset.partition(":")[0] for item in items}) > 1
    assert shown(items).replies["0", turns + 1] == (LONG, LONG)
    for place in range(0, len(items), 9):
        assert await seen(run, items[place].offset) == items[place + 1 :]


async def test_a_codec_with_a_key_for_each_workflow_reads_all_of_it(
    make_lab: MakeLab, server: EmbeddedServer, tmp_path: Path
) -> None:
    """Events, words, conversation and what is archived are read with the key of their run; where the server has
    forgotten it, the stream is what the archive has of its events."""
    converter = DataConverter(payload_codec=KeyedCodec(b"root"))
    client = await Client.connect(server.address, data_converter=converter)
    script = [Reply(call("look", {"at": "fans"}, "c1")), Reply(text(LONG))]
    lab = await make_lab([DESK], script=script, deltas=InProcessDeltas(), archive=tmp_path, client=client)
    run = await lab.hf.start("desk", "look", stream=True)
    items = await seen(run)
    assert shown(items).replies["0", 2] == (LONG, LONG)
    await archived(lab, run, tmp_path)
    kept = await Handfast(client).run(run.id).transcript()
    assert [item["type"] for item in kept] == ["message", "function_call", "function_call_output", "message"]
    await forget(lab, run.id)
    assert await lab.hf.run(run.id).transcript() == kept
    told = [item for item in items if not isinstance(item, Delta)]
    assert [item.type for item in await seen(run)] == [item.type for item in told]
    assert [item.type for item in await seen(run, told[-2].offset)] == [told[-1].type]
    with pytest.raises(RunNotFoundError):
        await seen(Run(client, "nobody", stores=lab.hf.stores))
