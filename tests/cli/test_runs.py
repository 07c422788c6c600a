"""Starting, following, showing, listing and cancelling runs from the command line."""

from __future__ import annotations

import asyncio

from handfast import Agent, ToolContext, tool
from handfast.cli import exits
from handfast.testing import Fail, Reply, call
from support.command_desk import ASKS, DESK, DONE, on, wipe
from support.commands import Cli, finish, line_with
from support.labs import MakeLab


async def test_start_prints_the_answer_and_tells_its_progress(make_lab: MakeLab, cli: Cli) -> None:
    """`start` waits for the answer and prints nothing else on stdout; the progress goes to stderr."""
    lab = await make_lab([DESK], script=[DONE])
    finished = await cli("start", "desk", "hello", *on(lab), "--id", "cli-plain")
    assert (finished.code, finished.out) == (exits.OK, "all done\n")
    assert "turn 1: desk thinks" in finished.err


async def test_start_reads_stdin_and_answers_in_json(make_lab: MakeLab, cli: Cli) -> None:
    """`start AGENT -` takes its input from a pipe; with --json stdout is one document and stderr is empty."""
    lab = await make_lab([DESK], script=[DONE])
    finished = await cli("start", "desk", "-", *on(lab), "--id", "cli-stdin", "--json", stdin="from a pipe")
    assert (finished.code, finished.err) == (exits.OK, "")
    assert finished.document["run"] == "cli-stdin"
    assert finished.document["status"] == "completed"
    assert finished.document["result"]["output"] == "all done"
    assert "from a pipe" in str(lab.model.requests[0].body)


async def test_a_failed_run_leaves_with_one(make_lab: MakeLab, cli: Cli) -> None:
    """A run that fails, as with an unknown agent, ends `start` with 1 and its typed failure in one line."""
    lab = await make_lab([DESK])
    finished = await cli("start", "nobody", "hello", *on(lab), "--json")
    assert finished.code == exits.RUN_FAILED
    assert finished.document["failure"]["type"] == "UnknownAgent"
    assert "known agents: desk" in finished.line


async def test_no_ask_leaves_when_a_person_is_needed(make_lab: MakeLab, cli: Cli) -> None:
    """`start --no-ask` leaves with 6 as soon as something waits, and its document holds the request."""
    lab = await make_lab([DESK], script=[ASKS, DONE])
    finished = await cli("start", "desk", "hello", *on(lab), "--id", "cli-no-ask", "--no-ask", "--json")
    assert finished.code == exits.WAITS
    assert finished.document["status"] == "waiting"
    [request] = finished.document["pending"]
    assert (request["tool"], request["arguments"]) == ("wipe", {"target": "temp"})
    await lab.watch(lab.hf.run("cli-no-ask")).reject(request["id"], decided_by="lead")
    await lab.hf.run("cli-no-ask").result()


async def test_start_waits_for_a_decision_made_elsewhere(make_lab: MakeLab, cli: Cli) -> None:
    """`start` shows what waits, and goes on once somebody else has approved it."""
    lab = await make_lab([DESK], script=[ASKS, DONE])
    process = await cli.start("start", "desk", "hello", *on(lab), "--id", "cli-elsewhere")
    line = await line_with(process.stderr, "waits for a person")
    approved = await cli("approve", line.split()[-1], "--by", "lead", "--run", "cli-elsewhere")
    assert approved.code == exits.OK
    finished = await finish(process)
    assert (finished.code, finished.out) == (exits.OK, "all done\n")
    assert "wipe: decided approve by lead" in finished.err


async def test_no_worker_is_said_and_nothing_is_lost(cli: Cli) -> None:
    """XC5: with no worker `start` says so with the remedy; after --timeout it ends with 9; the run stays."""
    finished = await cli("start", "desk", "hello", "--task-queue", "cli-nobody", "--id", "cli-lost", "--timeout", "5")
    assert finished.code == exits.UNCONFIRMED
    assert "handfast worker MODULE --task-queue cli-nobody" in finished.err
    shown = await cli("show", "cli-lost", "--json")
    assert shown.document["status"]["status"] == "running"
    assert "no worker polls" in shown.document["trouble"]
    assert (await cli("cancel", "cli-lost")).code == exits.OK


async def test_show_tells_everything_about_a_waiting_run(make_lab: MakeLab, cli: Cli) -> None:
    """`show` has status, calls and each request with its whole arguments, however long, for people and programs."""
    long = "x" * 5000
    lab = await make_lab([DESK], script=[Reply(call("wipe", {"target": long}, "c1")), DONE])
    run = await lab.start("desk", id="cli-show")
    request = await lab.next_request(run)
    shown = (await cli("show", "cli-show", "--json")).document
    assert shown["status"]["status"] == "waiting"
    assert shown["status"]["calls"][0]["tool"] == "wipe"
    assert shown["pending"][0]["arguments"] == {"target": long}
    people = await cli("show", "cli-show")
    assert people.code == exits.OK
    assert long in people.out
    assert request.id in people.out
    assert "\x1b" not in people.out
    await run.reject(request, decided_by="lead")
    await run.result()


async def test_show_tells_how_a_run_ended(make_lab: MakeLab, cli: Cli) -> None:
    """`show` has the answer of a completed run, the failure of a failed one, the reason of a cancelled one."""
    lab = await make_lab([DESK], script=[DONE, ASKS, Fail(400)])
    completed = await lab.start("desk", id="cli-completed")
    await completed.result()
    waiting = await lab.start("desk", id="cli-cancelled")
    await lab.next_request(waiting)
    cancelled = await cli("cancel", "cli-cancelled", "--reason", "not needed", "--json")
    assert cancelled.document == {"run": "cli-cancelled", "cancel_requested": True, "reason": "not needed"}
    failed = await cli("start", "desk", "hello", *on(lab), "--id", "cli-failed")
    assert failed.code == exits.RUN_FAILED
    shown = [(await cli("show", f"cli-{name}", "--json")).document for name in ("completed", "cancelled", "failed")]
    assert shown[0]["result"]["output"] == "all done"
    assert shown[1]["cancelled"] == "not needed"
    assert shown[2]["failure"]["type"]
    assert [each["status"]["status"] for each in shown] == ["completed", "cancelled", "failed"]
    for name in ("completed", "cancelled", "failed"):
        assert (await cli("show", f"cli-{name}")).code == exits.OK
    again = await cli("cancel", "cli-completed")
    assert again.code == exits.REFUSED
    assert "ended already" in again.line


async def test_a_run_cancelled_elsewhere_ends_start_with_seven(make_lab: MakeLab, cli: Cli) -> None:
    """A run that somebody cancels ends the `start` that follows it with 7 and the reason."""
    lab = await make_lab([DESK], script=[ASKS])
    process = await cli.start("start", "desk", "hello", *on(lab), "--id", "cli-stopped")
    await line_with(process.stderr, "waits for a person")
    assert (await cli("cancel", "cli-stopped", "--reason", "too late")).code == exits.OK
    finished = await finish(process)
    assert finished.code == exits.CANCELLED
    assert "too late" in finished.err


async def test_runs_are_listed_by_status_agent_and_label(make_lab: MakeLab, cli: Cli) -> None:
    """`runs` filters by status, agent and label, needs no worker, and has what goes on first, a line for each run."""
    lab = await make_lab([Agent("lister", instructions="Help.", model="m", tools=[wipe])], script=[ASKS, DONE])
    label = f"team={lab.task_queue}"
    for name in ("cli-list-1", "cli-list-2"):
        started = await cli("start", "lister", "hello", *on(lab), "--id", name, "--label", label, "--no-wait")
        assert started.code == exits.OK
        await lab.hf.run(name).status()
        if name == "cli-list-1":
            await lab.next_request(lab.watch(lab.hf.run(name)))
    await lab.hf.run("cli-list-2").result()
    await lab.stop_worker()
    everything = (await cli("runs", "--label", label, "--json")).document
    assert {run["id"] for run in everything} == {"cli-list-1", "cli-list-2"}
    waiting = (await cli("runs", "--label", label, "--status", "waiting", "--agent", "lister", "--json")).document
    assert [(run["id"], run["pending"], run["labels"]) for run in waiting] == [("cli-list-1", 1, [label])]
    assert len((await cli("runs", "--label", label, "--limit", "1", "--json")).document) == 1
    table = await cli("runs", "--label", label)
    assert [line.split()[0] for line in table.out.splitlines()] == ["RUN", "cli-list-1", "cli-list-2"]
    assert (await cli("runs", "--agent", "nobody-at-all")).out == "no runs\n"
    await lab.start_worker()


async def test_following_shows_progress_and_one_call_is_cancelled(make_lab: MakeLab, cli: Cli) -> None:
    """`start` shows what a running tool says of itself; `cancel --call` ends that call, and the run goes on."""

    @tool
    async def work(ctx: ToolContext) -> None:
        """Work without end."""
        ctx.progress("reading pages", done=3, total=10)
        await asyncio.Event().wait()

    agent = Agent("desk", model="m", tools=[work])
    lab = await make_lab([agent], script=[Reply(call("work", {}, "c1")), DONE])
    process = await cli.start("start", "desk", "hello", *on(lab), "--id", "cli-progress")
    lab.watch(lab.hf.run("cli-progress"))
    assert "work: reading pages (3 of 10)" in await line_with(process.stderr, "reading pages")
    cancelled = await cli("cancel", "cli-progress", "--call", "c1", "--reason", "enough", "--json")
    assert cancelled.document == {
        "run": "cli-progress",
        "call_id": "c1",
        "tool": "work",
        "frame": "0",
        "state": "cancelling",
    }
    finished = await finish(process)
    assert (finished.code, finished.out) == (exits.OK, "all done\n")
    again = await cli("cancel", "cli-progress", "--call", "c1")
    assert again.code != exits.OK
    assert "has ended" in again.line
