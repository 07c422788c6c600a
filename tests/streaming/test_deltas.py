"""What a worker tells while it works: deltas, beside the history, and never in the way of a run."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import uuid
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from redis.asyncio import Redis
from temporalio.api.common.v1 import Payload
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client

from handfast import Agent, Handfast, HandfastPlugin, Run, ToolContext, custom_tool, tool
from handfast.deltas.hub import DeltaHub
from handfast.deltas.local import LocalDeltas
from handfast.deltas.stream import DeltaStream, InProcessDeltas, delta_stream, position_of
from handfast.errors import DefinitionError
from handfast.models.port import ModelAnswer, ModelRequest
from handfast.payloads.deltas import Delta, DeltasDiscarded
from handfast.payloads.json_profile import JsonObject
from handfast.payloads.usage import Usage
from handfast.server import EmbeddedServer
from handfast.testing import Lab, Pause, Reply, call, custom_call, reasoning, text
from handfast.worker import make_worker
from support.deltas import told
from support.labs import MakeLab
from support.neighbour import CONVERTER
from support.redis_server import RedisServer

LONG = "Seventeen words, so that the scripted server cuts them into a few pieces of text that follow each other."


def said(records: Sequence[Delta | DeltasDiscarded], kind: str) -> str:
    """The pieces of one kind, put together."""
    return "".join(record.text for record in records if isinstance(record, Delta) and record.kind == kind)


@tool(effect="read_only")
async def look(ctx: ToolContext, at: str) -> str:
    """Look at something."""
    ctx.progress(f"looking at {at}", done=1, total=2)
    return "fine"


DESK = Agent("desk", model="m", tools=[look])
SCRIPT = [Reply(reasoning("First look."), call("look", {"at": "fans"}, "c1")), Reply(text(LONG))]


@pytest.fixture
async def hub() -> AsyncIterator[DeltaHub]:
    """What `handfast dev` serves to other processes."""
    async with DeltaHub() as running:
        yield running


@pytest.mark.parametrize("where", ["process", "socket", "redis"])
@pytest.mark.quick
async def test_what_a_run_says_is_told_while_it_says_it(
    make_lab: MakeLab, redis: RedisServer, hub: DeltaHub, where: str
) -> None:
    """Text, reasoning, arguments and a tool's progress, each with its place, numbered without a gap."""
    kept = InProcessDeltas() if where == "process" else delta_stream(redis.url if where == "redis" else hub.url)
    lab = await make_lab([DESK], script=SCRIPT, deltas=kept)
    run = await lab.start("desk", stream=True)
    assert (await run.result()).output == LONG
    records = await told(lab, run, kept)
    deltas = [record for record in records if isinstance(record, Delta)]
    assert said(deltas, "text") == LONG
    assert said(deltas, "reasoning") == "First look."
    assert said(deltas, "arguments") == '{"at":"fans"}'
    [progress] = [delta for delta in deltas if delta.kind == "tool_progress"]
    assert (progress.text, progress.done, progress.total, progress.call_id) == ("looking at fans", 1, 2, "c1")
    assert {(delta.kind, delta.turn) for delta in deltas} == {
        ("reasoning", 1),
        ("arguments", 1),
        ("tool_progress", 1),
        ("text", 2),
    }
    for attempt in {delta.attempt for delta in deltas}:
        assert [delta.seq for delta in deltas if delta.attempt == attempt] == list(
            range(sum(delta.attempt == attempt for delta in deltas))
        )
    assert {delta.agent_path[0] for delta in deltas} == {"desk"}
    await kept.close()


async def history_of(lab: Lab, run: Run) -> list[tuple[Any, int]]:
    """Type and size of every event, without what the run's start and the inputs say of streaming."""
    history = await lab.client.get_workflow_handle(run.id).fetch_history()
    flag = b',"stream":true'
    return [
        (EventType.Name(event.event_type), len(event.SerializeToString().replace(flag, b"")))
        for event in history.events
    ]


async def test_open_reasoning_and_free_text_are_told_too(make_lab: MakeLab) -> None:
    """Reasoning that a server does not hide, and the input of a custom tool, while they are written."""

    @custom_tool(effect="read_only")
    async def poem(words: str) -> str:
        """Take a poem."""
        return f"read {len(words)} characters"

    script = [Reply(reasoning(LONG), custom_call("poem", LONG[::-1], "c1")), Reply(text("done"))]
    kept = InProcessDeltas()
    lab = await make_lab([Agent("poet", model="m", tools=[poem])], script=script, deltas=kept, dialect="lmstudio")
    run = await lab.start("poet", stream=True)
    assert (await run.result()).output == "done"
    deltas = [record for record in await told(lab, run, kept) if isinstance(record, Delta)]
    assert (said(deltas, "reasoning"), said(deltas, "arguments")) == (LONG, LONG[::-1])
    assert {delta.call_id for delta in deltas if delta.kind == "arguments"} == {"c1"}


async def test_a_history_does_not_grow_by_what_is_told(make_lab: MakeLab) -> None:
    """The same events, as long as those of a run that tells nothing, apart from the word that says so."""
    lab = await make_lab([DESK], script=[*SCRIPT, *SCRIPT], deltas=InProcessDeltas())
    told_run = await lab.start("desk", id="a-run-that-is-told", stream=True)
    await told_run.result()
    quiet_run = await lab.start("desk", id="a-run-that-is-not-")
    await quiet_run.result()
    loud, quiet = await history_of(lab, told_run), await history_of(lab, quiet_run)
    assert [kind for kind, _ in loud] == [kind for kind, _ in quiet]
    # Lengths in front of the parts of an event, and numbers, take a byte more or less.
    assert all(abs(one - other) <= 8 for (_, one), (_, other) in zip(loud, quiet, strict=True)), (loud, quiet)
    assert [request.body.get("stream") for request in lab.model.requests] == [True, True, None, None]


async def test_a_stream_that_is_not_asked_for_is_none(make_lab: MakeLab) -> None:
    """Neither a run without stream=True nor a worker without a stream of deltas asks the model for one."""
    lab = await make_lab([DESK], script=[Reply(text("a"))])
    run = await lab.start("desk", stream=True)
    await run.result()
    assert "stream" not in lab.model.requests[0].body


async def test_what_a_failed_attempt_said_is_discarded(make_lab: MakeLab) -> None:
    """An attempt that breaks off says itself that its words are void, and the next one's begin anew."""
    kept = InProcessDeltas()
    lab = await make_lab(
        [DESK], script=[Pause("open", Reply(text(LONG)), 3, "server_error"), Reply(text(LONG))], deltas=kept
    )
    lab.model.open("open")
    run = await lab.start("desk", stream=True)
    await run.result()
    records = await told(lab, run, kept)
    places = [place for place, record in enumerate(records) if isinstance(record, DeltasDiscarded)]
    assert places
    before, after = records[: places[0]], records[places[-1] + 1 :]
    assert said(before, "text") == LONG[: len(said(before, "text"))] != ""
    assert {records[place].attempt for place in places} == {before[0].attempt}
    assert said(after, "text") == LONG
    assert {record.attempt for record in after} != {before[0].attempt}


async def test_redis_that_goes_away_takes_only_deltas_with_it(
    make_lab: MakeLab, tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Killed in the middle of a run: the run goes on at its pace and one line is logged; once it is back, so are the
    deltas."""
    server = await RedisServer(tmp_path).start()
    kept = delta_stream(server.url)
    script = [Pause("half", Reply(text(LONG)), after=2), Reply(text("second")), Pause("third", Reply(text(LONG)))]
    caplog.set_level(logging.WARNING, "handfast.activities.runtime.deltas")
    try:
        lab = await make_lab([DESK], script=script, deltas=server.url)
        run = await lab.start("desk", stream=True)
        assert await told(lab, run, kept, wait_s=20)
        await server.kill()
        lab.model.open("half")
        assert (await run.result()).output == LONG
        run = await lab.start("desk", stream=True)
        assert (await run.result()).output == "second"
        [line] = [record.getMessage() for record in caplog.records]
        assert "runs go on without" in line
        await server.start()
        run = await lab.start("desk", stream=True)
        assert await told(lab, run, kept, wait_s=20)
        lab.model.open("third")
        await run.result()
        assert said(await told(lab, run, kept), "text").endswith(LONG[-20:])
    finally:
        await kept.close()
        await server.kill()


class Flaky(InProcessDeltas):
    """A stream that is away until it is back."""

    def __init__(self) -> None:
        super().__init__()
        self.is_away = True
        self.accepted: list[str] = []

    async def publish(self, run: str, entry: bytes) -> None:
        """See `DeltaStream`."""
        if self.is_away:
            raise ConnectionError("away")
        self.accepted.append(run)
        await super().publish(run, entry)


async def test_what_ended_while_a_stream_was_away_is_not_kept_for_it(make_lab: MakeLab) -> None:
    """However long it is away, a worker holds only what goes on: of what has ended nothing is published later."""
    kept = Flaky()
    lab = await make_lab([DESK], script=[Reply(text(LONG))] * 8 + [Pause("on", Reply(text(LONG)))], deltas=kept)
    runs = [await lab.start("desk", stream=True) for _ in range(8)]
    for run in runs:
        assert (await run.result()).output == LONG
    kept.is_away = False
    last = await lab.start("desk", stream=True)
    assert await told(lab, last, kept, wait_s=20)
    lab.model.open("on")
    await last.result()
    description = await lab.client.get_workflow_handle(last.id).describe()
    assert set(kept.accepted) == {description.run_id}


@pytest.mark.parametrize(
    ("where", "words"),
    [
        pytest.param("http://example.com", "a URL of Redis", id="other-scheme"),
        pytest.param("redis://host:no-port", "no URL of Redis", id="no-port"),
        pytest.param(7, "or a DeltaStream", id="no-stream"),
    ],
)
def test_a_stream_that_is_none_is_refused_when_the_plugin_is_made(where: Any, words: str) -> None:
    """One line that says what is wanted, before anything is started."""
    with pytest.raises(DefinitionError, match=words):
        HandfastPlugin([DESK], deltas=where)


@pytest.mark.parametrize("where", ["process", "socket", "redis"])
async def test_entries_are_read_on_and_waited_for(redis: RedisServer, hub: DeltaHub, where: str) -> None:
    """From any entry on, in order, each run its own; a reader that waits is woken by the next one."""
    stream: DeltaStream = (
        InProcessDeltas() if where == "process" else delta_stream(redis.url if where == "redis" else hub.url)
    )
    mine, others = uuid.uuid4().hex, uuid.uuid4().hex
    for entry in (b"one", b"two", b"three"):
        await stream.publish(mine, entry)
    await stream.publish(others, b"other")
    found = await stream.read(mine, None, 0)
    assert [entry for _, entry in found] == [b"one", b"two", b"three"]
    assert await stream.read(mine, found[0][0], 0) == found[1:]
    assert await stream.read(mine, found[-1][0], 0) == []
    assert await stream.read(mine, found[-1][0], 0.05) == []
    waiting = asyncio.create_task(stream.read(mine, found[-1][0], 20))
    await stream.publish(mine, b"four")
    assert [entry for _, entry in await waiting] == [b"four"]
    places = [position_of(position) for position, _ in await stream.read(mine, None, 0)]
    assert places == sorted(set(places))
    await stream.close()


async def test_a_hub_gives_out_much_in_pages(hub: DeltaHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that comes late to long replies gets all of them, however much one answer may hold."""
    monkeypatch.setattr("handfast.deltas.local.LINE_BYTES", 3_500_000)
    stream = LocalDeltas(hub.url)
    for number in range(6):
        await stream.publish("run", bytes([number]) * 900_000)
    read: list[int] = []
    after: str | None = None
    while found := await stream.read("run", after, 0):
        read += [entry[0] for _, entry in found]
        after = found[-1][0]
    assert read == list(range(6))


async def test_a_hub_answers_those_who_know_its_secret(hub: DeltaHub) -> None:
    """Another user of the machine, who can reach the port, neither reads nor writes; nor does nonsense end the hub."""
    stranger = LocalDeltas(re.sub("//.*@", "//guessed@", hub.url))
    with pytest.raises(ConnectionError):
        await stranger.publish("run", b"entry")
    with pytest.raises(ConnectionError):
        await stranger.read("run", None, 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", int(hub.url.rpartition(":")[2]))
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    async with asyncio.timeout(10):
        assert await reader.read() == b""
    writer.close()
    await LocalDeltas(hub.url).publish("run", b"entry")
    with pytest.raises(DefinitionError, match="handfast dev"):
        LocalDeltas("handfast://127.0.0.1:7")


async def test_a_codec_keeps_what_is_said_from_whoever_keeps_it(server: EmbeddedServer, make_lab: MakeLab) -> None:
    """Entries go through the codec of the worker's client, and the reader's own reads them."""
    kept = InProcessDeltas()
    client = await Client.connect(server.address, data_converter=CONVERTER)
    lab = await make_lab([DESK], script=SCRIPT, deltas=kept, client=client)
    run = await lab.start("desk", stream=True)
    await run.result()
    description = await lab.client.get_workflow_handle(run.id).describe()
    entries = await kept.read(description.raw_description.workflow_execution_info.first_run_id, None, 0)
    assert entries
    assert not [entry for _, entry in entries if b"words" in entry or b"desk" in entry]
    async with asyncio.timeout(20):
        items = [item async for item in run.stream()]
    assert "".join(item.text for item in items if isinstance(item, Delta) and item.kind == "text") == LONG


class Parrot:
    """A model port of somebody who never heard of streams."""

    async def answer(self, request: ModelRequest) -> ModelAnswer:
        """Say the same each time."""
        content: list[JsonObject] = [{"type": "output_text", "text": "polly", "annotations": []}]
        message: JsonObject = {"type": "message", "role": "assistant", "content": content}
        return ModelAnswer(items=[message], usage=Usage(requests=1))


async def test_a_model_port_that_cannot_stream_works_as_before(server: EmbeddedServer) -> None:
    """A run with stream=True on it has its answer, and no deltas."""
    client = await Client.connect(server.address)
    kept, queue = InProcessDeltas(), f"parrot-{uuid.uuid4().hex[:8]}"
    plugin = HandfastPlugin([DESK], models={"default": Parrot()}, deltas=kept)
    async with make_worker(client, plugin, task_queue=queue):
        run = await Handfast(client, task_queue=queue, deltas=kept).start("desk", "hello", stream=True)
        async with asyncio.timeout(30):
            types = [item.type async for item in run.stream()]
    assert "delta" not in types
    assert (await run.result()).output == "polly"


async def test_other_languages_find_deltas_by_name(make_lab: MakeLab, redis: RedisServer) -> None:
    """The key, the field and the shape of an entry are those of the page about the wire; the key is forgotten by
    itself."""
    lab = await make_lab([DESK], script=[Reply(text(LONG))], deltas=redis.url)
    run = await lab.start("desk", stream=True)
    await run.result()
    description = await lab.client.get_workflow_handle(run.id).describe()
    key = f"handfast:deltas:{description.raw_description.workflow_execution_info.first_run_id}"
    client: Any = Redis.from_url(redis.url)
    async with client:
        entries = await client.xrange(key)
        assert 0 < await client.ttl(key) <= 3600
    [value] = [json.loads(Payload.FromString(fields[b"d"]).data) for _, fields in entries][:1]
    assert {"type", "run", "frame", "agent_path", "turn", "attempt", "seq", "kind", "text", "item"} <= value[0].keys()
    assert "offset" not in value[0]
    written = [each["text"] for _, fields in entries for each in json.loads(Payload.FromString(fields[b"d"]).data)]
    assert "".join(written) == LONG
