"""Which blocks of a conversation are taken along into a fresh history."""

from __future__ import annotations

import json
import uuid

import pytest

from handfast.workflows.state.transcript import TranscriptState


@pytest.mark.parametrize("block", [uuid.uuid4().hex, str(uuid.uuid4()), "summary"], ids=["hex", "hyphens", "other"])
def test_a_named_block_is_taken_along_and_another_one_is_not(block: str) -> None:
    """An id counts wherever it is named: as a value, or within a text that is JSON itself."""
    ids = (block, uuid.uuid4().hex, str(uuid.uuid4()), "preface")
    transcript = TranscriptState(blocks={each: [{"id": each}] for each in ids})
    for text in (json.dumps({"blocks": [block]}), json.dumps({"own": json.dumps([block])})):
        assert transcript.named_in(text) == TranscriptState(blocks={block: [{"id": block}]})


def test_what_a_text_of_megabytes_names_is_found_in_one_pass() -> None:
    """Hundreds of blocks beside megabytes of arguments: each that is named is found, between hexadecimal words too."""
    ids = [uuid.uuid4().hex for _ in range(400)]
    transcript = TranscriptState(blocks={each: [] for each in ids})
    text = json.dumps([["abcdef0123456789" * 4_000, block] for block in ids[:200]])
    assert list(transcript.named_in(text).blocks) == ids[:200]
