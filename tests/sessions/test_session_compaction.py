"""Scenario row F8 in a session: a conversation of many messages is made short before one of them is answered."""

from __future__ import annotations

from datetime import timedelta

from handfast import Agent, Compact
from handfast.testing import Compacted, Reply, text
from handfast.testing.script import Usage
from support.labs import MakeLab

WAIT = timedelta(seconds=30)


async def test_a_session_is_compacted_before_the_next_message_is_answered(make_lab: MakeLab, cache: int) -> None:
    """F8: an answer has passed the mark: nothing happens until the next message, which is read as it is after the
    compacted conversation; the one after that continues there, over a new worker."""
    agent = Agent("desk", model="m", compaction=Compact(at_tokens=1000, keep_turns=0))
    lab = await make_lab(
        [agent],
        script=[
            Reply(text("one"), usage=Usage(5000, 5)),
            *(Compacted(), Reply(text("two"), usage=Usage(100, 5))),
            Reply(text("three"), usage=Usage(120, 5)),
        ],
        max_cached_workflows=cache,
    )
    session = lab.hf.session(f"f8-{lab.task_queue}", agent="desk")
    lab.watch(session)
    assert await (await session.send("first")).output(timeout=WAIT) == "one"
    assert len(lab.model.requests) == 1
    assert await (await session.send("second")).output(timeout=WAIT) == "two"
    await lab.replace_worker()
    assert await (await session.send("third")).output(timeout=WAIT) == "three"
    paths = [request.path.rpartition("/")[2] for request in lab.model.requests]
    assert paths == ["responses", "compact", "responses", "responses"]
    read = [(item["type"], item.get("role")) for item in lab.model.requests[3].body["input"]]
    assert read == [
        *(("message", "user"), ("compaction", None), ("message", "user")),
        *(("message", "assistant"), ("message", "user")),
    ]
    assert lab.model.violations == []
    await session.close()
