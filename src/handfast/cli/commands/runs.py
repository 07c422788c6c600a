"""`start`, `chat`, `runs`, `show`, `watch`, `cancel`: runs as a whole."""

# ruff: noqa: PLC0415 a command imports its code when it runs: see the package

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

import typer

from handfast.cli import options


def start(
    *,
    agent: Annotated[str, typer.Argument(metavar="AGENT", help="The agent's name.")],
    input: Annotated[str, typer.Argument(metavar="INPUT", help="What to tell it; - reads it from stdin.")],
    id: Annotated[str | None, typer.Option("--id", metavar="RUN", help="The run's id; random by default.")] = None,
    label: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="To find the run by; repeatable.")
    ] = None,
    context: Annotated[str | None, typer.Option(metavar="JSON", help="The run's own data, an object.")] = None,
    max_turns: Annotated[
        int | None, typer.Option(min=1, help="Most model replies; by default the agent's own limit.")
    ] = None,
    requested_by: Annotated[
        str | None, typer.Option(metavar="NAME", envvar=options.USER, help="Who asks for it: a claimed name.")
    ] = None,
    attach: Annotated[bool, typer.Option("--attach", help="Watch the run of this --id if one goes on.")] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Follow the run to its end, or only start it.")] = True,
    ask: Annotated[
        bool | None,
        typer.Option(
            "--ask/--no-ask",
            help="Ask for each approval in this terminal; or leave with code 6 as soon as a person is needed. "
            "By default the command waits until somebody decides elsewhere.",
        ),
    ] = None,
    stream: Annotated[
        bool | None,
        typer.Option(
            "--stream/--no-stream",
            help="Let whoever watches see what is written while it is written, where HANDFAST_DELTAS keeps it; by "
            "default where this terminal would show it.",
        ),
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(metavar="SECONDS", min=0, help="Stop following after this time; the run goes on.")
    ] = None,
    agents: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE[:NAME]",
            envvar="HANDFAST_AGENTS",
            help="Check AGENT and --context against these agents first, and start nothing if they do not fit.",
        ),
    ] = None,
    task_queue: options.TaskQueue = options.TASK_QUEUE,
    model: Annotated[str | None, typer.Option(help="Model of every agent of the run, in place of its own.")] = None,
    model_queue: Annotated[
        str | None,
        typer.Option(metavar="NAME", envvar="HANDFAST_MODEL_QUEUE", help="Another task queue for its model calls."),
    ] = None,
    address: options.Address = None,
    namespace: options.Namespace = None,
    profile: options.Profile = None,
    by: options.By = None,
    json: options.Json = False,
) -> int:
    """Start a run, follow it, and print its answer."""
    from handfast.cli import start as starting

    given = starting.Given(
        agent=agent,
        input=starting.text_of(input),
        id=id,
        labels=options.label_pairs(label or []),
        context=options.json_object("--context", context) if context is not None else None,
        max_turns=max_turns,
        requested_by=requested_by,
        attach=attach,
        stream=stream,
        model_queue=model_queue,
        model=model,
    )
    how = starting.Following(wait=wait, ask=ask, timeout_s=timeout, by=options.user(by), as_json=json)
    starting.check(given, how, agents)
    where = options.Where(address, namespace, profile)
    return asyncio.run(starting.start(given, how, where, task_queue))


def runs(
    *,
    status: Annotated[
        Literal["running", "waiting", "idle", "completed", "failed", "cancelled"] | None,
        typer.Option(help="Only runs that stand there."),
    ] = None,
    agent: Annotated[str | None, typer.Option(metavar="NAME", help="Only runs of this agent.")] = None,
    label: Annotated[str | None, typer.Option(metavar="KEY=VALUE", help="Only runs with this label.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Most lines; 100 by default.")] = None,
    attention: Annotated[
        bool,
        typer.Option(
            "--attention",
            help="Only runs that do not get on by themselves, and what to do: every run that goes on is looked at, or "
            "the newest --limit of them.",
        ),
    ] = False,
    address: options.Address = None,
    namespace: options.Namespace = None,
    profile: options.Profile = None,
    json: options.Json = False,
) -> int:
    """List runs: those that go on, then those that ended, newest first."""
    from handfast.cli import exits, lists

    if label is not None:
        options.label_pairs([label])
    where = options.Where(address, namespace, profile)
    if attention:
        if (status, agent, label) != (None, None, None):
            raise exits.InputError("--attention looks at every run that goes on; it takes no other filter")
        return asyncio.run(lists.attention(where, limit=limit, as_json=json))
    found = lists.runs(where, status=status, agent=agent, label=label, limit=limit or 100, as_json=json)
    return asyncio.run(found)


def show(
    *,
    run: Annotated[str, typer.Argument(metavar="RUN", help="The run's id.")],
    address: options.Address = None,
    namespace: options.Namespace = None,
    profile: options.Profile = None,
    json: options.Json = False,
) -> int:
    """Show one run: where it stands, what waits with its full arguments, its answer or what went wrong."""
    from handfast.cli import show as showing

    return asyncio.run(showing.show(options.Where(address, namespace, profile), run, as_json=json))


def watch(
    *,
    run: Annotated[str, typer.Argument(metavar="RUN", help="The run's id.")],
    after: Annotated[
        str | None, typer.Option(metavar="OFFSET", help="Leave out this event and what came before it.")
    ] = None,
    ask_as: Annotated[
        str | None, typer.Option("--as", metavar="NAME", help="Ask for decisions here, recorded under this name.")
    ] = None,
    address: options.Address = None,
    namespace: options.Namespace = None,
    profile: options.Profile = None,
    json: Annotated[bool, typer.Option("--json", help="Write each event as one JSON document on a line.")] = False,
) -> int:
    """Watch a run: what happened and what happens, live, until it ends."""
    from handfast.cli import watch as watching

    where = options.Where(address, namespace, profile)
    return asyncio.run(watching.watch(where, run, after=after, ask_as=ask_as, as_json=json))


def chat(
    *,
    agent: Annotated[str, typer.Argument(metavar="AGENT", help="Who answers, where the session begins here.")],
    session: Annotated[str, typer.Option("--session", metavar="ID", help="The conversation; a new id begins one.")],
    close: Annotated[bool, typer.Option("--close", help="Close the session when the input ends.")] = False,
    task_queue: options.TaskQueue = options.TASK_QUEUE,
    address: options.Address = None,
    namespace: options.Namespace = None,
    profile: options.Profile = None,
    by: options.By = None,
) -> int:
    """Talk to an agent: each line is a message, and approvals are asked in between."""
    from handfast.cli import chat as chatting

    given = chatting.Talking(agent=agent, session=session, by=options.user(by), close=close)
    where = options.Where(address, namespace, profile)
    return asyncio.run(chatting.chat(where, given, task_queue))


def cancel(
    *,
    run: Annotated[str, typer.Argument(metavar="RUN", help="The run's id.")],
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Recorded, and shown to whoever waits for it.")] = "",
    call: Annotated[
        str | None,
        typer.Option(metavar="ID", help="End this call only; the model reads the reason."),
    ] = None,
    after_turn: Annotated[
        bool, typer.Option("--after-turn", help="Let its turn finish first, and the run end with what it has said.")
    ] = False,
    address: options.Address = None,
    namespace: options.Namespace = None,
    profile: options.Profile = None,
    json: options.Json = False,
) -> int:
    """Cancel a run: requests are withdrawn, running tools are cancelled. Or end one call of it."""
    from handfast.cli import decide, exits, steer

    where = options.Where(address, namespace, profile)
    if call is not None and after_turn:
        raise exits.InputError("--after-turn ends the run, and --call a call of it; give one of them")
    if after_turn:
        return asyncio.run(steer.stop(where, run, reason, as_json=json))
    if call is not None:
        return asyncio.run(decide.cancel_call(where, run, call, reason, as_json=json))
    return asyncio.run(decide.cancel(where, run, reason, as_json=json))
