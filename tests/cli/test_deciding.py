"""Deciding from the command line: by prefix, across runs, and refused where nothing was recorded."""

from __future__ import annotations

import asyncio
import os
import pty
from collections import Counter
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from pydantic import BaseModel

from handfast import Agent, Approval, Run, question, tool
from handfast.cli import exits
from handfast.testing import Lab, Reply, call
from support.command_desk import ASKS, DESK, DONE, on
from support.commands import DEADLINE_S, Cli, finish
from support.labs import MakeLab


async def waiting(lab: Lab, run_id: str) -> tuple[Run, str]:
    """A run that waits for one approval, and the request's id."""
    run = await lab.start("desk", id=run_id)
    return run, (await lab.next_request(run)).id


@pytest.mark.quick
async def test_approve_by_the_start_of_an_id(make_lab: MakeLab, cli: Cli) -> None:
    """`approvals` lists across runs, and the start of an id is enough to approve; the claimed name is recorded."""
    lab = await make_lab([DESK], script=[ASKS, DONE])
    run, request = await waiting(lab, "cli-prefix")
    listed = [each for each in (await cli("approvals", "--json")).document if each["run"] == run.id]
    assert [each["request"]["id"] for each in listed] == [request]
    table = await cli("approvals")
    assert request[:8] in table.out
    assert '{"target": "temp"}' in table.out
    approved = await cli("approve", request[:8], "--note", "fine", "--json", HANDFAST_USER="lead")
    assert approved.code == exits.OK
    assert approved.document["run"] == run.id
    assert approved.document["receipt"]["decided_by"] == "lead"
    assert approved.document["receipt"]["state"] == "recorded"
    assert (await run.result()).output == "all done"


async def test_reject_hands_the_reason_to_the_agent(make_lab: MakeLab, cli: Cli) -> None:
    """`reject --reason` reaches the model word for word, and the tool does not run."""
    lab = await make_lab([DESK], script=[ASKS, DONE])
    run, request = await waiting(lab, "cli-reject")
    rejected = await cli("reject", request, "--reason", "not on a Friday")
    assert rejected.code == exits.OK
    assert "rejected" in rejected.out
    await run.result()
    assert "not on a Friday" in str(lab.model.requests[-1].body)


async def test_approve_with_other_arguments(make_lab: MakeLab, cli: Cli) -> None:
    """`approve --arguments` runs the call with these; such that do not fit are refused with 4, and it stays open."""
    lab = await make_lab([DESK], script=[ASKS, DONE])
    run, request = await waiting(lab, "cli-edit")
    refused = await cli("approve", request, "--run", run.id, "--arguments", '{"target": 5}')
    assert refused.code == exits.REFUSED
    assert "target" in refused.line
    assert len(await run.pending()) == 1
    assert (await cli("approve", request, "--run", run.id, "--arguments", '{"target": "logs"}')).code == exits.OK
    await run.result()
    assert "wiped logs" in str(lab.model.requests[-1].body)


async def test_what_is_closed_is_refused(make_lab: MakeLab, cli: Cli) -> None:
    """A second decision is refused with 4 and says who decided; after the run's end too; an unknown id is 3."""
    lab = await make_lab([DESK], script=[Reply(*ASKS.outputs, call("wipe", {"target": "logs"}, "c2")), DONE])
    run = await lab.start("desk", id="cli-closed")
    first, second = await lab.open_requests(run, 2)
    assert (await cli("approve", first.id, "--by", "lead")).code == exits.OK
    again = await cli("reject", first.id, "--by", "deputy", "--run", run.id)
    assert again.code == exits.REFUSED
    assert "lead" in again.line
    unknown = await cli("approve", "0000000000", "--run", run.id, "--json")
    assert unknown.code == exits.NOT_FOUND
    assert unknown.document["error"]["type"] == "UnknownRequestError"
    wrong = await cli("decide", second.id, "--verdict", "run_again")
    assert wrong.code == exits.REFUSED
    assert (await cli("decide", second.id, "--verdict", "answer", "--output", "done by hand")).code == exits.OK
    await run.result()
    assert "done by hand" in str(lab.model.requests[-1].body)
    ended = await cli("approve", first.id, "--run", run.id)
    assert ended.code == exits.REFUSED
    assert "ended" in ended.line


async def test_a_prefix_of_several_requests_decides_none(make_lab: MakeLab, cli: Cli) -> None:
    """A prefix that fits several requests is refused with 2 and names them; none is decided."""
    many = Reply(*(call("wipe", {"target": str(number)}, f"c{number}") for number in range(24)))
    lab = await make_lab([DESK], script=[many, DONE])
    run = await lab.start("desk", id="cli-ambiguous")
    pending = await lab.open_requests(run, 24)
    [(start, count), *_] = Counter(request.id[0] for request in pending).most_common(1)
    finished = await cli("approve", start, "--run", run.id)
    assert finished.code == exits.BAD_INPUT
    assert f"fits {count} requests" in finished.line
    assert len(await run.pending()) == 24
    await run.cancel()


async def test_a_decision_without_a_worker_is_stored(make_lab: MakeLab, cli: Cli) -> None:
    """XC5: with no worker the server keeps the decision: code 9 and the word *stored*; it counts once one is back."""
    lab = await make_lab([DESK], script=[ASKS, DONE])
    run, request = await waiting(lab, "cli-stored")
    await lab.stop_worker()
    stored = await cli("approve", request[:8], "--by", "lead", "--json")
    assert stored.code == exits.UNCONFIRMED
    assert stored.document["receipt"]["state"] == "stored"
    assert "no worker answered" in stored.line
    await lab.start_worker()
    assert (await run.result()).output == "all done"


class Screen:
    """The other end of a command's terminal."""

    def __init__(self) -> None:
        """Open it, and read all the time: a command must not wait for us."""
        self._ours, self.theirs = pty.openpty()
        self._text = ""
        self._changed = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._ours, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self._ours, 65536)
        except OSError:  # the command has ended
            asyncio.get_running_loop().remove_reader(self._ours)
            return
        self._text += data.decode(errors="replace")
        self._changed.set()

    async def shows(self, words: str) -> str:
        """Wait until *words* are there; return everything so far, and forget it."""
        async with asyncio.timeout(DEADLINE_S):
            while words not in self._text:
                self._changed.clear()
                await self._changed.wait()
        shown, self._text = self._text, ""
        return shown

    def type(self, line: str) -> None:
        """Type a line."""
        os.write(self._ours, f"{line}\n".encode())

    def close(self) -> None:
        """Close it."""
        asyncio.get_running_loop().remove_reader(self._ours)
        os.close(self._ours)
        os.close(self.theirs)


@pytest_asyncio.fixture(loop_scope="session")
async def screen() -> AsyncIterator[Screen]:
    """A terminal."""
    made = Screen()
    yield made
    made.close()


async def test_ask_takes_yes_or_no_in_the_terminal(make_lab: MakeLab, cli: Cli, screen: Screen) -> None:
    """`start --ask` shows tool and arguments of each approval, takes y or n with a reason, and prints the answer."""
    both = Reply(call("wipe", {"target": "temp"}, "c1"), call("wipe", {"target": "logs"}, "c2"))
    lab = await make_lab([DESK], script=[both, DONE])
    process = await cli.with_({"TERM": "xterm"}).start(
        *("start", "desk", "hello", *on(lab), "--id", "cli-ask", "--ask", "--by", "lead"),
        stdin=screen.theirs,
        stderr=screen.theirs,
    )
    shown = await screen.shows("[l]eave it")
    assert "wipe" in shown
    assert '"target": "temp"' in shown
    screen.type("y")
    assert '"target": "logs"' in await screen.shows("[l]eave it")
    screen.type("n")
    await screen.shows("why?")
    screen.type("keep them")
    finished = await finish(process)
    assert (finished.code, finished.out) == (exits.OK, "all done\n")
    told = str(lab.model.requests[-1].body)
    assert "wiped temp" in told
    assert "keep them" in told


async def test_ask_gives_way_to_a_decision_made_elsewhere(make_lab: MakeLab, cli: Cli, screen: Screen) -> None:
    """While `start --ask` waits for an answer, a decision made elsewhere closes the question and the run goes on."""
    lab = await make_lab([DESK], script=[ASKS, DONE])
    process = await cli.with_({"TERM": "xterm"}).start(
        *("start", "desk", "hello", *on(lab), "--id", "cli-gives-way", "--ask"),
        stdin=screen.theirs,
        stderr=screen.theirs,
    )
    await screen.shows("[l]eave it")
    run = lab.watch(lab.hf.run("cli-gives-way"))
    await run.approve((await run.pending())[0], decided_by="deputy")
    await screen.shows("closed meanwhile")
    assert (await finish(process)).code == exits.OK


async def test_nothing_a_model_writes_can_paint_the_terminal(make_lab: MakeLab, cli: Cli) -> None:
    """Escape sequences and changes of direction in arguments are written out: what is approved is what is seen."""
    nasty = "\x1b[2Jsafe\u202egnp.exe [bold]"
    lab = await make_lab([DESK], script=[Reply(call("wipe", {"target": nasty}, "c1")), DONE])
    run, request = await waiting(lab, "cli-nasty")
    for shown in (await cli("approvals", "--run", run.id), await cli("show", run.id)):
        assert shown.code == exits.OK
        assert "\x1b" not in shown.out
        assert "\u202e" not in shown.out
        assert "\\u202egnp.exe [bold]" in shown.out
    assert (await cli("show", run.id, "--json")).document["pending"][0]["arguments"] == {"target": nasty}
    await run.reject(request, decided_by="lead")
    await run.result()


async def test_grant_and_raise_let_a_run_go_on(make_lab: MakeLab, cli: Cli) -> None:
    """`grant` answers a budget request, `raise` adds to the limits; what would not help is refused with 4."""
    agent = Agent("looker", model="m", tools=DESK.tools, max_turns=1, on_limit="ask")
    lab = await make_lab([agent], script=[ASKS, ASKS, DONE])
    run = await lab.start("looker", id="cli-budget")
    await run.reject(await lab.next_request(run), decided_by="lead")
    async for request in run.requests():
        if request.kind == "budget":
            break
    listed = await cli("show", run.id)
    assert '"what": "turns"' in listed.out
    useless = await cli("grant", request.id, "--run", run.id, "--tokens", "5")
    assert useless.code == exits.REFUSED
    assert "at least 1 turns" in useless.err
    granted = await cli("grant", request.id, "--run", run.id, "--turns", "1", "--by", "lead")
    assert granted.code == exits.OK
    assert "the budget of looker granted by lead" in granted.out
    raised = await cli("raise", run.id, "--turns", "3")
    assert raised.code == exits.OK
    assert "at most 5 turns" in raised.out
    await run.reject((await lab.open_requests(run, 1))[0], decided_by="lead")


async def test_votes_and_approvers_are_shown(make_lab: MakeLab, cli: Cli) -> None:
    """`approvals --approver` finds what names a person; a vote says that more are needed, and `show` who has voted."""

    @tool(approval=Approval(approvers=["ann", "bob"], quorum=2))
    async def wipe(target: str) -> str:
        """Delete a target."""
        return f"wiped {target}"

    lab = await make_lab([Agent("desk", model="m", tools=[wipe])], script=[ASKS, DONE])
    run, request = await waiting(lab, "cli-votes")
    listed = await cli("approvals", "--run", run.id, "--approver", "Ann", "--json")
    assert [each["request"]["id"] for each in listed.document] == [request]
    assert (await cli("approvals", "--run", run.id, "--approver", "carl", "--json")).document == []
    refused = await cli("approve", request, "--run", run.id, "--by", "carl")
    assert refused.code == exits.REFUSED
    assert "its approvers are ann, bob" in refused.line
    voted = await cli("approve", request, "--run", run.id, "--by", "ann")
    assert "vote 1 of 2, and it still waits" in voted.out
    assert "ann, bob (1 of 2)" in (await cli("approvals", "--run", run.id)).out
    shown = (await cli("show", run.id)).out
    assert "approve by ann" in shown
    assert (await cli("approve", request, "--run", run.id, "--by", "bob")).code == exits.OK
    assert (await run.result()).output == "all done"


class Place(BaseModel):
    """Where to."""

    street: str


async def test_answer_takes_a_text_or_a_form(make_lab: MakeLab, cli: Cli) -> None:
    """`answer` gives a question its text or JSON; lists and `show` say what is asked."""
    agent = Agent("asker", model="m", tools=[question(), question(name="ask_place", form=Place)])
    ask = Reply(call("ask_person", {"question": "Which door?"}), call("ask_place", {"question": "Where to?"}))
    lab = await make_lab([agent], script=[ask, DONE])
    run = await lab.start("asker", id="cli-question")
    door, place = await lab.open_requests(run, 2)
    assert "Which door?" in (await cli("approvals", "--run", run.id)).out
    shown = (await cli("show", run.id)).out
    assert "Which door?" in shown
    assert '"street"' in shown
    for words in ([], ["a", "--form", "{}"], ["--form", "{"]):
        assert (await cli("answer", place.id, *words)).code == exits.BAD_INPUT
    refused = await cli("answer", place.id, "--run", run.id, "--form", '{"street": 5}')
    assert refused.code == exits.REFUSED
    assert "street: Input should be a valid string" in refused.err
    answered = await cli("answer", place.id, "--run", run.id, "--form", '{"street": "Hill Road"}', "--by", "ana")
    assert "the question of asker answered by ana" in answered.out
    assert (await cli("answer", door.id, "the green one", "--run", run.id)).code == exits.OK
    await run.result()
    told = str(lab.model.requests[-1].body)
    assert "the green one" in told
    assert "Hill Road" in told


async def test_ask_takes_answers_in_the_terminal(make_lab: MakeLab, cli: Cli, screen: Screen) -> None:
    """`start --ask` shows a question, takes a line as its answer, and asks again where a form does not take it."""
    agent = Agent("asker", model="m", tools=[question(), question(name="ask_place", form=Place)])
    ask = Reply(call("ask_person", {"question": "Which door?"}), call("ask_place", {"question": "Where to?"}))
    lab = await make_lab([agent], script=[ask, DONE])
    process = await cli.with_({"TERM": "xterm"}).start(
        *("start", "asker", "hello", *on(lab), "--id", "cli-ask-question", "--ask", "--by", "ana"),
        stdin=screen.theirs,
        stderr=screen.theirs,
    )
    assert "Which door?" in await screen.shows("answer (empty leaves it)")
    screen.type("the green one")
    assert "Where to?" in await screen.shows("answer, as JSON")
    screen.type('{"street": 5}')
    assert "valid string" in await screen.shows("answer, as JSON")
    screen.type('{"street": "Hill Road"}')
    finished = await finish(process)
    assert (finished.code, finished.out) == (exits.OK, "all done\n")
    assert "Hill Road" in str(lab.model.requests[-1].body)


async def test_a_decision_that_is_remembered(make_lab: MakeLab, cli: Cli) -> None:
    """`approve --remember` answers later calls that fit; a pattern that is too wide is refused with 2."""
    script = [ASKS, Reply(call("wipe", {"target": "temp"}, "c2")), DONE]
    lab = await make_lab([DESK], script=script)
    run, request = await waiting(lab, "cli-remember")
    for wrong in (["everything"], ["match:target=*"], ["tool", "arguments"], ["match:target"]):
        options = [part for each in wrong for part in ("--remember", each)]
        assert (await cli("approve", request, "--run", run.id, *options)).code == exits.BAD_INPUT
    for alone in (("--scope", "run"), ("--uses", "2"), ("--until", "2100-01-01T00:00Z")):
        assert (await cli("approve", request, "--run", run.id, *alone)).code == exits.BAD_INPUT
    unfit = await cli("approve", request, "--run", run.id, "--remember", "match:target=other")
    assert unfit.code == exits.REFUSED
    approved = await cli("approve", request, "--run", run.id, "--remember", "match:target=te?p", "--scope", "run")
    assert approved.code == exits.BAD_INPUT
    bounds = ("--scope", "run", "--uses", "1", "--until", "2100-01-01T00:00Z")
    approved = await cli("approve", request, "--run", run.id, "--remember", "match:target=temp *", *bounds)
    assert approved.code == exits.OK
    assert (await run.result()).output == "all done"
