"""Scenario rows F: conversations as sessions."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

import pytest

from handfast import Handfast
from handfast.errors import MessageRefusedError
from handfast.testing import Reply, call, text
from support.conversations import desk, kinds, said, talk_to
from support.crash.till_runs import replies_and_outputs
from support.labs import Effects, MakeLab

WAIT = timedelta(seconds=30)


BOTH = Reply(call("wipe", {"target": "temp"}, "c1"), call("look", {"check": "fans"}, "c2"))


ASKED_BOTH = ["user", "function_call", "function_call"]
TWO_OUTPUTS = ["function_call_output", "function_call_output"]


async def test_a_pause_keeps_what_there_is_and_no_placeholder(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """F1: while an approval waits, the session holds the user's message, the calls and the output of the call that
    ran; for the one that waits there is nothing yet."""
    lab = await make_lab([desk(effects)], script=[BOTH, Reply(text("done"))], max_cached_workflows=cache)
    session = talk_to(lab)
    turn = await session.send("clean up")
    request = await lab.next_request(session)
    await replies_and_outputs(lab, session, 2)
    items = await session.items()
    assert kinds(items) == [*ASKED_BOTH, "function_call_output"]
    assert (items[-1]["call_id"], items[-1]["output"]) == ("c2", "fans is fine")
    assert (await turn.status()).state == "working"
    await session.reject(request, decided_by="lead")
    assert await turn.output(timeout=WAIT) == "done"


async def test_going_on_writes_nothing_again(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """F2: after the decision the model is sent the message, the calls and each output once, in the calls' order."""
    lab = await make_lab([desk(effects)], script=[BOTH, Reply(text("done"))], max_cached_workflows=cache)
    session = talk_to(lab)
    turn = await session.send("clean up")
    request = await lab.next_request(session)
    await lab.replace_worker()
    await session.approve(request, decided_by="lead")
    assert await turn.output(timeout=WAIT) == "done"
    sent = lab.model.requests[1].body["input"]
    assert kinds(sent) == [*ASKED_BOTH, *TWO_OUTPUTS]
    assert [item["call_id"] for item in sent[3:]] == ["c1", "c2"]
    assert kinds(await session.items()) == [*kinds(sent), "assistant"]
    assert lab.model.violations == []


async def test_three_turns_over_new_processes(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """F3: approve; a new worker, a new client, approve; reject: the item counts are exact, and each tool ran once or
    never, although the model gave its calls the same ids each time."""
    script = [BOTH, Reply(text("one")), BOTH, Reply(text("two")), BOTH, Reply(text("three"))]
    lab = await make_lab([desk(effects)], script=script, max_cached_workflows=cache)
    session = talk_to(lab)
    turn = await session.send("first")
    await session.approve(await lab.next_request(session), decided_by="lead")
    assert await turn.output(timeout=WAIT) == "one"
    await lab.replace_worker()
    again = Handfast(lab.client, task_queue=lab.task_queue).session(session.id)
    second = await again.send("second", message_id="m2")
    await again.approve((await lab.open_requests(again, 1))[0], decided_by="lead")
    assert await session.turn("m2").output(timeout=WAIT) == "two"
    third = await session.send("third")
    await session.reject((await lab.open_requests(session, 1))[0], decided_by="lead")
    assert await third.output(timeout=WAIT) == "three"
    assert second.id == "m2"
    assert sorted(effects) == ["look fans"] * 3 + ["wipe temp"] * 2
    whole = [*ASKED_BOTH, *TWO_OUTPUTS, "assistant"] * 3
    assert kinds(await session.items()) == whole
    assert [len(request.body["input"]) for request in lab.model.requests] == [1, 5, 7, 11, 13, 17]
    assert lab.model.violations == []


@pytest.mark.parametrize("policy", ["queue", "steer", "refuse"])
@pytest.mark.quick
async def test_a_message_while_an_approval_waits(
    make_lab: MakeLab, effects: Effects, cache: int, policy: Literal["queue", "steer", "refuse"]
) -> None:
    """F5: what comes while an approval waits gets a turn of its own, steers the one under way, or is refused: as the
    session's policy says, and never by chance."""
    script = [Reply(call("wipe", {"target": "temp"}, "c1")), Reply(text("one")), Reply(text("two"))]
    lab = await make_lab([desk(effects)], script=script, max_cached_workflows=cache)
    session = talk_to(lab, on_message=policy)
    first = await session.send("clean up")
    request = await lab.next_request(session)
    if policy == "refuse":
        with pytest.raises(MessageRefusedError, match="being answered") as refused:
            await session.send("and hurry")
        assert refused.value.facts["reason"] == "busy"
        second = None
    else:
        second = await session.send("and hurry")
        assert (await second.status()).state == "queued"
    await lab.replace_worker()
    await session.approve(request, decided_by="lead")
    assert await first.output(timeout=WAIT) == "one"
    asked = [said(each.body["input"]) for each in lab.model.requests]
    if second is None:
        assert asked == [["clean up"], ["clean up"]]
        return
    assert await second.output(timeout=WAIT) == ("two" if policy == "queue" else "one")
    asked = [said(each.body["input"]) for each in lab.model.requests]
    both = ["clean up", "and hurry"]
    assert asked == ([["clean up"], ["clean up"], both] if policy == "queue" else [["clean up"], both])
    assert kinds(lab.model.requests[1].body["input"])[:3] == ["user", "function_call", "function_call_output"]
    assert lab.model.violations == []


async def test_a_message_may_say_itself_what_happens(make_lab: MakeLab, effects: Effects) -> None:
    """F5: `when` goes before the session's policy, both ways."""
    script = [Reply(call("wipe", {"target": "temp"}, "c1")), Reply(text("one")), Reply(text("two"))]
    lab = await make_lab([desk(effects)], script=script)
    session = talk_to(lab, on_message="refuse")
    first = await session.send("clean up")
    request = await lab.next_request(session)
    later = await session.send("then tell me", when="after")
    hurry = await session.send("hurry", when="next")
    await session.approve(request, decided_by="lead")
    assert [await each.output(timeout=WAIT) for each in (first, hurry, later)] == ["one", "one", "two"]
    assert said(lab.model.requests[2].body["input"]) == ["clean up", "hurry", "then tell me"]


async def test_the_end_of_a_turn_is_seen_after_everything_is_written(
    make_lab: MakeLab, effects: Effects, cache: int
) -> None:
    """F9: whoever sees that a message is answered finds all of its turn in the session at once."""
    lab = await make_lab([desk(effects)], script=[BOTH, Reply(text("done"))], max_cached_workflows=cache)
    session = talk_to(lab)
    turn = await session.send("clean up")
    await session.approve(await lab.next_request(session), decided_by="lead")
    result = await turn.result(timeout=WAIT)
    items = await session.items()
    assert kinds(items) == [*ASKED_BOTH, *TWO_OUTPUTS, "assistant"]
    assert items[-1]["content"][0]["text"] == result.output
    assert (result.turns, result.usage.requests) == (2, 2)


async def test_a_remembered_decision_ends_with_its_message(make_lab: MakeLab, effects: Effects, cache: int) -> None:
    """C4: an "always" holds for the rest of the turn it was given in, also after a restart; the next message asks."""
    wipes = [Reply(call("wipe", {"target": name}, f"c{name}")) for name in "abc"]
    script = [wipes[0], wipes[1], Reply(text("one")), wipes[2], Reply(text("two"))]
    lab = await make_lab([desk(effects)], script=script, max_cached_workflows=cache)
    session = talk_to(lab)
    first = await session.send("wipe a and b")
    request = await lab.next_request(session)
    await lab.replace_worker()
    await session.approve(request, decided_by="lead", remember="tool")
    assert await first.output(timeout=WAIT) == "one"
    assert effects == ["wipe a", "wipe b"]
    second = await session.send("wipe c")
    await session.reject(await lab.next_request(session), decided_by="lead")
    assert await second.output(timeout=WAIT) == "two"
    assert effects == ["wipe a", "wipe b"]
