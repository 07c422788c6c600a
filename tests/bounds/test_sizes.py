"""Fault row XD1: outputs, replies, arguments and inputs of every size."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.client import Client
from temporalio.converter import DataConverter, PayloadCodec

from handfast import Agent, tool
from handfast.errors import PayloadInvalidError, RunFailedError
from handfast.payloads.tool_call import RESULT_BYTES
from handfast.server import EmbeddedServer
from handfast.testing import Reply, Script, call, text
from handfast.workflows.ledger.requests import PREVIEW_CHARACTERS
from support.evidence import events_of, failed_tasks
from support.labs import Effects, MakeLab
from support.sizes import desk


@pytest.mark.parametrize("megabytes", [0.2, 1.9, 2.2, 5.0, 50.0])
async def test_a_large_output_is_cut_and_the_run_goes_on(make_lab: MakeLab, effects: Effects, megabytes: float) -> None:
    """XD1: an output of any size runs the tool once; beyond 256 KiB the model reads its start and a digest."""
    whole = "a" * int(megabytes * 1_000_000)
    lab = await make_lab(
        [desk(effects)],
        script=[Reply(call("read", {"megabytes": megabytes, "letter": "a"}, "c1")), Reply(text("done"))],
    )
    run = await lab.start("desk")
    assert (await run.result()).output == "done"
    assert effects == [f"read {megabytes}"]
    output = lab.model.requests[1].tool_outputs["c1"]
    if len(whole) <= RESULT_BYTES:
        assert output == whole
    else:
        assert len(output.encode()) <= RESULT_BYTES
        digest = hashlib.sha256(whole.encode()).hexdigest()
        assert output.endswith(f"[cut: {len(whole):,} bytes in all, sha256 {digest}]")
    assert await failed_tasks(lab, run) == 0


@pytest.mark.parametrize("letter", [pytest.param("\x00", id="6-bytes-each"), pytest.param("\U0001f600", id="emoji")])
async def test_what_grows_on_the_wire_fits_too(make_lab: MakeLab, effects: Effects, cache: int, letter: str) -> None:
    """XD1: ten large outputs of characters that JSON writes with many bytes are recorded like any other."""
    calls = [call("read", {"megabytes": 1.0, "letter": letter}, f"c{n}") for n in range(10)]
    lab = await make_lab([desk(effects)], script=[Reply(*calls), Reply(text("done"))], max_cached_workflows=cache)
    run = await lab.start("desk")
    assert (await run.result()).output == "done"
    assert effects == ["read 1.0"] * 10
    outputs = lab.model.requests[1].tool_outputs
    assert {output.count(letter) > 60_000 for output in outputs.values()} == {True}
    assert await failed_tasks(lab, run) == 0


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(Reply(text("x" * 2_200_000)), id="text"),
        pytest.param(Reply(text("ü" * 400_000)), id="text-that-grows-on-the-wire"),
        pytest.param(Reply(call("store", {"body": "x" * 2_200_000})), id="arguments"),
    ],
)
async def test_a_reply_that_cannot_be_recorded_is_paid_once(make_lab: MakeLab, effects: Effects, reply: Reply) -> None:
    """XD1: a reply too large to record fails the run with that reason; the model is not asked again."""
    lab = await make_lab([desk(effects)], script=[reply])
    run = await lab.start("desk")
    with pytest.raises(RunFailedError) as failed:
        await run.result()
    assert failed.value.kind == "ModelReplyTooLarge"
    assert (len(lab.model.requests), effects) == (1, [])
    assert await failed_tasks(lab, run) == 0


class Swelling(PayloadCodec):
    """Makes what is large too large for the server."""

    TAIL = bytes(2_200_000)

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Append much."""
        return [
            Payload(data=each.SerializeToString() + self.TAIL) if len(each.data) > 100_000 else each
            for each in payloads
        ]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        """Cut it off."""
        return [
            Payload.FromString(each.data.removesuffix(self.TAIL)) if each.data.endswith(self.TAIL) else each
            for each in payloads
        ]


async def test_what_a_codec_makes_too_large_is_done_once(
    make_lab: MakeLab, effects: Effects, server: EmbeddedServer
) -> None:
    """XD1: a reply that only an application's codec makes too large to record is paid once and fails the run; an output
    is made once, and the model reads that it could not be recorded."""

    @tool(effect="idempotent")
    async def look() -> str:
        """Look at much."""
        effects.append("look")
        return "a" * 200_000

    client = await Client.connect(server.address, data_converter=DataConverter(payload_codec=Swelling()))
    script = [Reply(text("x" * 200_000)), Reply(call("look", {}, "c1")), Reply(text("done"))]
    lab = await make_lab([Agent("desk", tools=[look])], script=script, client=client)
    with pytest.raises(RunFailedError) as failed:
        await (await lab.start("desk")).result()
    assert failed.value.kind == "PayloadsTooLarge"
    assert len(lab.model.requests) == 1
    assert (await (await lab.start("desk")).result()).output == "done"
    assert effects == ["look"]
    assert "exceeded the error limit" in lab.model.requests[2].tool_outputs["c1"]


@pytest.mark.parametrize("size", [20_000, 300_000, 1_500_000])
async def test_large_arguments_are_shown_by_their_start_and_run_whole(
    make_lab: MakeLab, effects: Effects, cache: int, size: int
) -> None:
    """XD1: a request with large arguments shows their start and their size; an approval runs exactly the whole."""
    arguments = {"body": "".join(f"{n:07d}," for n in range(size // 8))}
    lab = await make_lab(
        [desk(effects)],
        script=[Reply(call("store", arguments, "c1")), Reply(text("done"))],
        max_cached_workflows=cache,
    )
    run = await lab.start("desk")
    request = await lab.next_request(run)
    assert request.arguments is None
    assert request.arguments_bytes == len(json.dumps(arguments))
    assert request.arguments_preview == json.dumps(arguments)[:PREVIEW_CHARACTERS]
    await run.approve(request, decided_by="lead")
    assert (await run.result()).output == "done"
    assert effects == [hashlib.sha256(arguments["body"].encode()).hexdigest()]
    assert await failed_tasks(lab, run) == 0
    stored = [event for event in await events_of(lab, run) if event.ByteSize() > size]
    assert len(stored) == 1  # the model's reply: nothing else holds the arguments a second time


async def test_200_requests_with_large_arguments_open_at_once(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """XD1: the requests of 200 gated calls with 1.6 MB of arguments fit into one task, and are all listed."""
    calls = [call("store", {"body": f"{n:04d}" + "ü" * 1200}, f"c{n}") for n in range(200)]
    lab = await make_lab([desk(effects)], script=[Reply(*calls)], max_cached_workflows=cache)
    run = await lab.start("desk")
    assert len(await lab.open_requests(run, 200)) == 200
    assert len((await run.status()).calls) == 200
    assert await failed_tasks(lab, run) == 0


async def test_a_large_input_starts_a_run(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """XD1: a run starts with an input of 1.5 MB, and the model gets it whole in every turn."""
    question = "".join(f"{n:07d}," for n in range(1_500_000 // 8))
    script = [Reply(call("read", {"megabytes": 0.0, "letter": "a"})), Reply(text("done"))]
    lab = await make_lab([desk(effects)], script=script, max_cached_workflows=cache)
    run = await lab.start("desk", question)
    assert (await run.result()).output == "done"
    assert [request.first_user_text == question for request in lab.model.requests] == [True, True]
    assert await failed_tasks(lab, run) == 0


async def test_labels_of_every_size_do_no_harm(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """XD1: the longest labels that are taken can be published; longer ones are refused before a run starts."""
    labels = {f"key{n:02d}": "ü" * 14 for n in range(20)}  # 1,880 bytes: each letter takes six
    script = Script.per_conversation({"": [Reply(text("done"))]})
    lab = await make_lab([desk(effects)], script=script, max_cached_workflows=cache)
    run = await lab.start("desk", labels=labels)
    assert (await run.result()).output == "done"
    assert await failed_tasks(lab, run) == 0
    with pytest.raises(PayloadInvalidError):
        await lab.start("desk", labels={**labels, "key00": "ü" * 40})
