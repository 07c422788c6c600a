"""Fault row XC2: an output that a person gave in the place of a call's, as content parts or nearly so."""

from __future__ import annotations

import json
from typing import Any

import pytest

from handfast.testing import Reply, call
from handfast.workflows.loop.verdicts import as_output
from support.evidence import failed_tasks
from support.labs import Effects, MakeLab
from support.model_outputs import DONE, desk

TEXT = {"type": "input_text", "text": "four"}
URL = "https://files.test/a.png"

PARTS: list[list[Any]] = [
    [TEXT],
    [{"type": "input_text", "text": ""}],
    [TEXT, {"type": "input_image", "image_url": URL}],
    [{"type": "input_image", "file_id": "file-1", "image_url": None, "detail": "original"}],
    [{"type": "input_image", "image_url": URL, "detail": None}],
    [{"type": "input_file", "file_data": "data:text/plain;base64,YQ==", "filename": "a.txt"}],
    [{"type": "input_file", "file_id": "file-1", "detail": "low"}],
    [{"type": "input_file", "file_url": URL}],
]
NO_PARTS: list[list[Any]] = [
    [],
    [5],
    [TEXT, "four"],
    [{"text": "four"}],
    [{"type": ["input_text"], "text": "four"}],
    [{"type": "output_text", "text": "four"}],
    [{"type": "input_text"}],
    [{"type": "input_text", "text": None}],
    [{"type": "input_text", "text": 4}],
    [{"type": "input_text", "text": "four", "mood": "good"}],
    [TEXT, {"type": "input_text"}],
    [{"type": "input_image"}],
    [{"type": "input_image", "image_url": None}],
    [{"type": "input_image", "image_url": {"url": URL}}],
    [{"type": "input_image", "image_url": URL, "detail": "sharp"}],
    [{"type": "input_image", "image_url": URL, "file_id": 5}],
    [{"type": "input_image", "image_url": ""}],
    [{"type": "input_image", "image_url": "cat.png"}],
    [{"type": "input_image", "image_url": "file:///cat.png"}],
    [{"type": "input_image", "image_url": "data:image/png,cat"}],
    [{"type": "input_file", "file_url": "a.pdf"}],
    [{"type": "input_file", "file_data": "YQ=="}],
    [{"type": "input_file", "file_id": "", "filename": "a.txt"}],
    [{"type": "input_file"}],
    [{"type": "input_file", "filename": "a.txt"}],
    [{"type": "input_file", "file_url": URL, "detail": "original"}],
    [{"type": "input_file", "file_url": URL, "detail": None}],
]


@pytest.mark.parametrize("output", PARTS, ids=json.dumps)
def test_parts_that_the_model_takes_stay_parts(output: list[Any]) -> None:
    """XC2: a list of complete content parts reaches the model as such."""
    assert as_output(output) == output


@pytest.mark.parametrize("output", NO_PARTS, ids=json.dumps)
def test_a_list_that_is_no_parts_becomes_text(output: list[Any]) -> None:
    """XC2: a list that the API would refuse as content parts is given to the model as JSON text."""
    shaped = as_output(output)
    assert isinstance(shaped, str)
    assert json.loads(shaped) == output


async def test_a_broken_part_in_an_answer_does_not_end_the_run(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """XC2: answers that only look like content parts are read by the model, and no request is out of order."""
    outputs = [*PARTS, *NO_PARTS]
    calls = [call("wipe", {"target": str(n)}, f"c{n:02d}") for n in range(len(outputs))]
    lab = await make_lab([desk(effects)], script=[Reply(*calls), DONE], max_cached_workflows=cache)
    lab.model.add_file("file-1")
    run = await lab.start("desk")
    for request, output in zip(await lab.open_requests(run, len(outputs)), outputs, strict=True):
        await run.answer(request, output, decided_by="lead")
    assert (await run.result()).output == "done"
    assert (lab.model.violations, effects) == ([], [])
    given = [item["output"] for item in lab.model.requests[1].items if item.get("type") == "function_call_output"]
    assert given[: len(PARTS)] == PARTS
    assert [json.loads(text) for text in given[len(PARTS) :]] == NO_PARTS
    assert await failed_tasks(lab, run) == 0
