"""A worker is killed after the provider accepted a request, and before anything of it was recorded."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import openai

from handfast import KeptHistory
from handfast.testing import Gate, Lab, Reply, Script, call, text
from handfast.testing.script import RecordedRequest, Step
from support.labs import MakeLab

TESTS = Path(__file__).parent.parent
DONE = Reply(text("done"))


def played() -> Script:
    """A call, then a reply that is held and lost with its worker, then the end; of a background run only that, held."""
    asked: Counter[str] = Counter()

    def play(request: RecordedRequest) -> Step:
        run = request.first_user_text
        if run == "background":
            return Gate(run, DONE)
        if not request.tool_outputs:
            return Reply(call("look", {"check": "fans"}, "c1"))
        asked[run] += 1
        return Gate(run, Reply(call("look", {"check": "lost"}, "lost"))) if asked[run] == 1 else DONE

    return Script.of(play)


def of(lab: Lab, run: str) -> list[RecordedRequest]:
    """The requests for responses that a run made."""
    return [request for request in lab.model.created if request.first_user_text == run]


async def until_all_wait(lab: Lab) -> RecordedRequest:
    """Wait until each run waits for a reply that is held; return the lookup of the one in the background."""
    while True:
        lookups = [request for request in lab.model.requests if request.method == "GET" and "resp_" in request.path]
        if lookups and len(of(lab, "chain")) == len(of(lab, "conversation")) == 2:
            return lookups[0]
        await lab.model.wait_for_request(len(lab.model.requests) + 1)


async def test_a_killed_worker_leaves_no_duplicate_and_no_orphan(make_lab: MakeLab) -> None:
    """G5: killed between acceptance and record: a chain goes on from the same response, a conversation holds each item
    once, and a background response is picked up instead of being made again."""
    lab = await make_lab("support.crash.keeper:AGENTS", script=played(), directory=TESTS)
    chain = await lab.start("keeper", "chain", history="chain")
    conversation = await lab.start("keeper", "conversation", history="conversation")
    background = await lab.start("thinker", "background")
    lookup = await until_all_wait(lab)
    await lab.kill_worker()
    for gate in ("chain", "conversation", "background"):
        lab.model.open(gate)
    await lab.start_worker()
    for run in (chain, conversation, background):
        result = await run.result()
        assert (result.output, result.usage.requests) == ("done", 1 if run is background else 2)

    _, lost, again = of(lab, "chain")
    assert lost.content == again.content
    assert [item.get("call_id") for item in again.items] == [None, "c1", "c1"]

    _, lost, again = of(lab, "conversation")
    assert lost.content == again.content
    kept = (await conversation.status()).history
    assert isinstance(kept, KeptHistory)
    async with openai.AsyncOpenAI(base_url=lab.model.base_url, api_key="test") as client:
        items = client.conversations.items.list(str(kept.conversation), order="asc")
        kinds = [item.type async for item in items]
    assert kinds == ["message", "function_call", "function_call_output", "message"]

    assert len(of(lab, "background")) == 1
    assert {each.path for each in lab.model.requests if "resp_" in each.path} == {lookup.path}
    assert lab.model.violations == []
