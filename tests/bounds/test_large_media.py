"""Images and files that are too large for a history are kept beside it, and reach the model whole."""

from __future__ import annotations

import base64
import hashlib
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from handfast import Agent, File, Image, tool
from handfast.errors import MessageInvalidError, PayloadInvalidError
from handfast.payloads.json_profile import JsonObject
from handfast.payloads.media import LOST
from handfast.testing import Reply, call, text
from handfast.testing.script import image_generation_item
from support.clear import client_with, files_with, ring
from support.conversations import talk_to
from support.desk import outputs
from support.evidence import history_bytes
from support.labs import MakeLab
from support.large_outputs import stored
from support.outputs import DONE, PAUSE, agent, paused_in_the_middle

PIXELS = random.Random(7).randbytes(2_500_000)
PICTURE = f"data:image/png;base64,{base64.b64encode(PIXELS).decode()}"
"""3.3 MB in base64."""
SHA = hashlib.sha256(PICTURE.encode()).hexdigest()
PLAIN = Agent("desk", model="m")


def shown(url: str = PICTURE) -> JsonObject:
    """A message with a picture."""
    look = [{"type": "input_text", "text": "what is this?"}, {"type": "input_image", "image_url": url, "detail": "low"}]
    return {"role": "user", "content": look}


def pictures(items: Sequence[Any]) -> list[str]:
    """The images in messages, in their order."""
    return [
        part["image_url"] for item in items for part in item.get("content", ()) if part.get("type") == "input_image"
    ]


def lose(folder: Path) -> None:
    """Delete the picture from a store."""
    next(folder.rglob(SHA)).unlink()


async def test_a_tool_shows_a_large_image(make_lab: MakeLab, tmp_path: Path, cache: int) -> None:
    """The model is sent an image of 2.5 MB whole, again after the worker was replaced, and the history stays small."""
    page = File(data=b"%PDF" + PIXELS[:9_000], filename="a.pdf")
    lab = await make_lab(
        [agent(look=[Image(data=PIXELS, detail="low"), page, "meter 7"])],
        script=[Reply(call("look", {}, "c1"), PAUSE), DONE],
        artifacts=tmp_path,
        max_cached_workflows=cache,
    )
    run = await paused_in_the_middle(lab, 1)
    expected = [Image(data=PIXELS, detail="low").part(), page.part(), {"type": "input_text", "text": "meter 7"}]
    assert dict(outputs(lab))["c1"] == expected
    assert stored(tmp_path)[SHA] == PICTURE.encode()
    assert await history_bytes(lab, run) < 60_000
    [output] = [item["output"] for item in await run.transcript() if item.get("call_id") == "c1" and "output" in item]
    assert output == expected


@pytest.mark.parametrize("size", [1_750_022, 1_890_022, 1_900_022])
async def test_no_size_falls_between(make_lab: MakeLab, tmp_path: Path, size: int) -> None:
    """An image that the server just takes, and one that it just does not take, reach the model alike."""
    lab = await make_lab([PLAIN], script=[Reply(text("a meter"))], artifacts=tmp_path)
    run = lab.watch(await lab.hf.start("desk", [shown(PICTURE[:size])]))
    assert (await run.result()).output == "a meter"
    assert pictures(lab.model.requests[0].items) == [PICTURE[:size]]


async def test_a_run_begins_with_a_large_image(make_lab: MakeLab, tmp_path: Path, cache: int) -> None:
    """What a run is started with may hold images above what the server takes; the items of its result have them."""
    lab = await make_lab([PLAIN], script=[Reply(text("a meter"))], artifacts=tmp_path, max_cached_workflows=cache)
    run = lab.watch(await lab.hf.start("desk", [shown(), shown()]))
    result = await run.result(items=True)
    assert result.output == "a meter"
    assert pictures(lab.model.requests[0].items) == [PICTURE, PICTURE]
    assert list(stored(tmp_path)) == [SHA]
    assert result.items is not None
    assert pictures(result.items[:2]) == [PICTURE, PICTURE]
    assert await history_bytes(lab, run) < 60_000


async def test_a_session_is_shown_large_images(make_lab: MakeLab, tmp_path: Path, cache: int) -> None:
    """A message of 64 KiB at most may hold images of any size, and so may what a session begins with; the same message
    sent again is the same."""
    lab = await make_lab(
        [PLAIN], script=[Reply(text("one")), Reply(text("two"))], artifacts=tmp_path, max_cached_workflows=cache
    )
    before = [shown(), {"role": "assistant", "content": [{"type": "output_text", "text": "a meter"}]}]
    session = talk_to(lab, import_items=before)
    small = PICTURE[:100_022]
    assert await (await session.send([shown(small)], message_id="m")).output() == "one"
    assert await (await session.send([shown(small)], message_id="m")).output() == "one"
    await lab.replace_worker()
    assert await (await session.send("and now?")).output() == "two"
    assert [pictures(each.items) for each in lab.model.requests] == [[PICTURE, small]] * 2
    assert pictures(await session.items()) == [PICTURE, small]
    assert pictures(await session.transcript()) == [PICTURE, small]
    assert await history_bytes(lab, session) < 60_000


@pytest.mark.parametrize("history", [None, "chain", "conversation"])
async def test_a_model_paints_a_large_image(make_lab: MakeLab, tmp_path: Path, history: Any, cache: int) -> None:
    """A reply with an image of 2.5 MB no longer ends the run, and the model is shown it again."""
    painted = image_generation_item(result=PICTURE.partition(",")[2])
    lab = await make_lab(
        [agent()],
        script=[Reply(painted, PAUSE), DONE],
        artifacts=tmp_path,
        max_cached_workflows=cache,
    )
    run = lab.watch(await lab.hf.start("desk", "paint", history=history))
    request = await lab.next_request(run)
    await lab.replace_worker()
    await run.approve(request, decided_by="lead")
    result = await run.result(items=True)
    assert result.items is not None
    [whole] = [item["result"] for item in result.items if item.get("type") == "image_generation_call"]
    assert whole == PICTURE.partition(",")[2]
    sent = [item for item in lab.model.created[1].body["input"] if item.get("type") == "image_generation_call"]
    assert [item["result"] for item in sent] == ([whole] if history is None else [])
    assert lab.model.violations == []
    assert await history_bytes(lab, run) < 60_000


async def test_a_lost_image_ends_no_session(make_lab: MakeLab, tmp_path: Path) -> None:
    """Where the store has lost an image the model reads that in its place, and the conversation goes on."""
    lab = await make_lab([PLAIN], script=[Reply(text("one")), Reply(text("two"))], artifacts=tmp_path)
    session = talk_to(lab)
    assert await (await session.send([shown()])).output() == "one"
    lose(tmp_path)
    await lab.replace_worker()
    assert await (await session.send("and now?")).output() == "two"
    content = lab.model.requests[1].items[0]["content"]
    assert content == [{"type": "input_text", "text": "what is this?"}, {"type": "input_text", "text": LOST}]


async def test_an_address_that_looks_like_a_reference_is_none(make_lab: MakeLab, tmp_path: Path) -> None:
    """An image's address that somebody made up to look like a reference names nothing of another run."""
    lab = await make_lab([PLAIN], script=[Reply(text("one")), Reply(text("two"))], artifacts=tmp_path)
    first = lab.watch(await lab.hf.start("desk", [shown()]))
    await first.result()
    second = lab.watch(await lab.hf.start("desk", [shown(f"handfast-artifact:{SHA}:{len(PICTURE)}")]))
    await second.result()
    assert pictures(lab.model.requests[1].items) == []


async def test_without_a_store_it_is_said_what_to_do(make_lab: MakeLab) -> None:
    """Without a store large images are refused where they are given, and the model reads why a tool's are not there."""
    lab = await make_lab([agent(look=Image(data=PIXELS))], script=[Reply(call("look", {}, "c1")), DONE])
    with pytest.raises(PayloadInvalidError, match=r"artifacts="):
        await lab.hf.start("desk", [shown()])
    with pytest.raises(MessageInvalidError, match=r"artifacts="):
        await lab.hf.session("never", agent="desk").send([shown()])
    await (await lab.start("desk")).result()
    assert "take 3,33" in str(dict(outputs(lab))["c1"])


async def test_a_store_that_is_down_costs_no_effect(make_lab: MakeLab, tmp_path: Path) -> None:
    """Where the store fails the tool has run once, and the model reads why its image is not there."""
    (tmp_path / "no-folder").write_text("in the way")
    ran = []

    @tool
    def look() -> Image:
        """Look."""
        ran.append(1)
        return Image(data=PIXELS)

    lab = await make_lab(
        [Agent("desk", model="m", tools=[look])],
        script=[Reply(call("look", {}, "c1")), DONE],
        artifacts=tmp_path / "no-folder",
    )
    assert (await (await lab.start("desk")).result()).output == "done"
    assert "the store failed" in str(dict(outputs(lab))["c1"])
    assert ran == [1]


async def test_images_are_encrypted_and_erased(make_lab: MakeLab, server: Any, tmp_path: Path) -> None:
    """With a key ring the store holds no image that can be read; erasing the run erases its images."""
    client = await client_with(server, ring("a"))
    lab = await make_lab([PLAIN], script=[Reply(text("a meter"))], artifacts=tmp_path, client=client)
    run = await lab.hf.start("desk", [shown()])
    assert (await run.result()).output == "a meter"
    assert pictures(lab.model.requests[0].items) == [PICTURE]
    assert len(stored(tmp_path)) == 1
    assert files_with(PICTURE[:200], tmp_path) == []
    await lab.hf.erase(run.id)
    assert stored(tmp_path) == {}
