"""Scenario rows J: what tools return, and what the model reads of it."""

from __future__ import annotations

import base64
import dataclasses
import datetime
import json
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel

from handfast import Agent, File, Image, Text, tool
from handfast.activities.runtime.outputs import bounded_output
from handfast.errors import DefinitionError
from handfast.payloads.tool_call import RESULT_BYTES
from handfast.testing import Reply, call
from support.desk import outputs
from support.labs import MakeLab
from support.outputs import DONE, PAUSE, agent, paused_in_the_middle, tool_outcomes

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


class Order(BaseModel):
    """What a tool may return; its fields are in no alphabetical order."""

    total: float
    customer: str
    day: datetime.date
    note: str | None = None


@dataclasses.dataclass
class Line:
    """Likewise."""

    sku: str
    amount: int


RESULTS: dict[str, tuple[Any, str]] = {
    "dict": ({"z": 1, "a": [None, True, 1.0]}, '{"z": 1, "a": [null, true, 1.0]}'),
    "list": ([{"größe": "ü"}, "x"], '[{"größe": "ü"}, "x"]'),
    "model": (
        Order(total=5.5, customer="Ana", day=datetime.date(2026, 1, 2)),
        '{"total": 5.5, "customer": "Ana", "day": "2026-01-02", "note": null}',
    ),
    "dataclass": ([Line("b", 2)], '[{"sku": "b", "amount": 2}]'),
    "number": (7, "7"),
}


@pytest.mark.quick
async def test_structured_outputs_stay_structured_over_a_restart(make_lab: MakeLab, cache: int) -> None:
    """J1: dicts, lists, models and dataclasses come out of the history as they were returned, keys in their order."""
    values = {name: value for name, (value, _) in RESULTS.items()}
    script = [Reply(*(call(name, {}, name) for name in RESULTS), PAUSE), DONE]
    lab = await make_lab([agent(**values)], script=script, max_cached_workflows=cache)
    run = await paused_in_the_middle(lab, len(RESULTS))
    recorded = {outcome.output: outcome for outcome in await tool_outcomes(lab, run)}
    for _, read in RESULTS.values():
        assert recorded[read].value == json.loads(read)
        assert recorded[read].form == "json"
    assert recorded["signed"].form is None
    assert recorded["signed"].value == "signed"


async def test_what_is_no_text_is_read_as_json_text(make_lab: MakeLab, cache: int) -> None:
    """J3: the model reads a pydantic output, and every other structure, as JSON text, never as a Python repr."""
    values = {name: value for name, (value, _) in RESULTS.items()}
    script = [Reply(*(call(name, {}, name) for name in RESULTS), PAUSE), DONE]
    lab = await make_lab([agent(**values)], script=script, max_cached_workflows=cache)
    await paused_in_the_middle(lab, len(RESULTS))
    assert outputs(lab) == [*((name, read) for name, (_, read) in RESULTS.items()), ("last", "signed")]
    assert lab.model.violations == []


async def test_images_and_files_are_content_parts_after_a_restart(make_lab: MakeLab, cache: int) -> None:
    """J2: an image, a file and mixed content reach the model as content parts, restart or not."""
    values: dict[str, Any] = {
        "photo": Image(data=PNG, detail="low"),
        "paper": File(data=b"%PDF", filename="a.pdf"),
        "mixed": ["two of them:", Image(url="https://x.example/a.png"), Text("and"), File(file_id="file-1")],
    }
    script = [Reply(*(call(name, {}, name) for name in values), PAUSE), DONE]
    lab = await make_lab([agent(**values)], script=script, max_cached_workflows=cache)
    lab.model.add_file("file-1")
    await paused_in_the_middle(lab, len(values))
    encoded = base64.b64encode(PNG).decode()
    assert dict(outputs(lab)) == {
        "photo": [{"type": "input_image", "image_url": f"data:image/png;base64,{encoded}", "detail": "low"}],
        "paper": [{"type": "input_file", "file_data": "data:application/pdf;base64,JVBERg==", "filename": "a.pdf"}],
        "mixed": [
            {"type": "input_text", "text": "two of them:"},
            {"type": "input_image", "image_url": "https://x.example/a.png", "detail": "auto"},
            {"type": "input_text", "text": "and"},
            {"type": "input_file", "file_id": "file-1"},
        ],
        "last": "signed",
    }
    assert lab.model.violations == []


async def test_the_note_about_edited_arguments_stands_before_the_parts(make_lab: MakeLab, cache: int) -> None:
    """J2: content of a call that a person edited begins with what it ran with, and stays content."""

    @tool(approval=True)
    def photo(number: int) -> Image:
        """Take a photo."""
        return Image(url=f"https://x.example/{number}.png")

    lab = await make_lab(
        [Agent("desk", model="m", tools=[photo])],
        script=[Reply(call("photo", {"number": 1}, "c1")), DONE],
        max_cached_workflows=cache,
    )
    run = await lab.start("desk")
    await run.approve(await lab.next_request(run), decided_by="lead", arguments={"number": 2})
    await run.result()
    [(_, [note, image])] = outputs(lab)
    assert '{"number": 2}' in note["text"]
    assert image["image_url"] == "https://x.example/2.png"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        pytest.param({"photo": Image(url="https://x.example/a.png")}, "content parts stand alone", id="nested-image"),
        pytest.param([Image(url="https://x.example/a.png"), 5], "content parts stand alone", id="image-and-number"),
        pytest.param(Image(data=b"x" * RESULT_BYTES), "should return their addresses", id="large-image"),
        pytest.param(object(), "cannot be given to you as JSON", id="object"),
        pytest.param({1.5: {b"\xff"}}, "cannot be given to you as JSON", id="bytes-in-a-set"),
    ],
)
async def test_what_cannot_be_encoded_is_a_clear_error(make_lab: MakeLab, value: Any, reason: str) -> None:
    """J4: a result that has no JSON, or content too large to record, is an error that the model reads; no fallback."""
    lab = await make_lab([agent(odd=value)], script=[Reply(call("odd", {}, "c1")), DONE])
    await (await lab.start("desk")).result()
    [(_, output)] = outputs(lab)
    assert output.startswith("Error: the tool ran, but ")
    assert reason in output


@pytest.mark.parametrize("value", ["x" * (3 * RESULT_BYTES), ["ü" * (3 * RESULT_BYTES)]], ids=["text", "json"])
async def test_a_large_output_is_cut_and_says_so(make_lab: MakeLab, value: Any, cache: int) -> None:
    """J6: an output above 256 KiB is cut with its size and digest; the run goes on, and its history replays."""
    lab = await make_lab(
        [agent(big=value)], script=[Reply(call("big", {}, "c1"), PAUSE), DONE], max_cached_workflows=cache
    )
    run = await paused_in_the_middle(lab, 1)
    read = dict(outputs(lab))["c1"]
    assert len(read.encode()) <= RESULT_BYTES
    assert "[cut: " in read
    assert "sha256" in read
    [cut] = [outcome for outcome in await tool_outcomes(lab, run) if outcome.bytes is not None]
    assert cut.form is None
    assert cut.bytes is not None
    assert cut.bytes >= 3 * RESULT_BYTES


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(Image, id="image-of-nothing"),
        pytest.param(lambda: Image(url="u", data=b"x"), id="image-of-two"),
        pytest.param(lambda: Image(url=""), id="empty-url"),
        pytest.param(lambda: Image(data=b"x", media_type="image/tiff"), id="unknown-type"),
        pytest.param(lambda: Image(url="u", detail="much"), id="unknown-detail"),  # type: ignore[arg-type] # refused
        pytest.param(lambda: File(data=b"x"), id="data-without-name"),
        pytest.param(lambda: File(data="x", filename="f"), id="text-as-data"),  # type: ignore[arg-type] # refused
        pytest.param(lambda: Text(5), id="text-of-a-number"),  # type: ignore[arg-type] # refused
    ],
)
def test_content_is_checked_where_it_is_made(make: Callable[[], object]) -> None:
    """A part that the API would refuse is refused in the tool that makes it."""
    with pytest.raises(DefinitionError):
        make()


def test_a_list_of_texts_is_no_content() -> None:
    """Strings alone are a list, read as JSON."""
    assert bounded_output(["a", "b"]).output == '["a", "b"]'
