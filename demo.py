"""The demo: agents ask before they delete something or pay it back, and what they were allowed to do happens once.

``make demo`` runs it; ``make demo-crash`` kills the worker twice on the way. Only the model is scripted, and only
where no ``OPENAI_API_KEY`` is set.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path

from temporalio.client import Client

from activities.caretaker import DEFAULT_MODEL
from demonstration.model import scripted
from demonstration.person import DEFAULT_ANSWERS, FORMS, Answer, AtTerminal, Person, Prepared, read_answer, read_line
from demonstration.screen import DemoError, Screen
from demonstration.story import Story
from demonstration.worker_process import ROOT
from demonstration.workers import Setting
from handfast import HandfastError
from handfast.errors import PortBusyError
from handfast.server import DEFAULT_PORT, EmbeddedServer
from handfast.testing import ResponsesServer


def main(arguments: Sequence[str] | None = None) -> int:
    """Play the demo; the exit code is 0 where every effect happened as often as it was approved."""
    options = read_options(arguments)
    screen = Screen()
    try:
        return asyncio.run(_until_stopped(options, screen))
    except (DemoError, HandfastError) as error:
        screen.line(f"error: {error}", "red")
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        screen.line("\nStopped: the worker and the ticket have been ended.", "yellow")
        return 130


def read_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="demo.py", description="Agents that ask before they act.")
    parser.add_argument("--crash", action="store_true", help="kill the worker while a request waits, and in the tool")
    parser.add_argument(
        "--crash-at",
        choices=["before", "after"],
        default="after",
        help="where in the approved tool --crash strikes: before or after its effect (default: after)",
    )
    parser.add_argument(
        "--answers",
        nargs="+",
        type=_answer,
        metavar="ANSWER",
        help=f"{FORMS}: approvals take theirs in order, questions theirs (default without a terminal: one of each)",
    )
    parser.add_argument("--model", help=f"the model's name (default: HANDFAST_MODEL, else {DEFAULT_MODEL})")
    parser.add_argument("--directory", type=Path, default=ROOT / ".handfast", help="where server and workspace live")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="the Temporal server's, if none runs there yet")
    return parser.parse_args(arguments)


def _answer(text: str) -> Answer:
    try:
        return read_answer(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


async def _until_stopped(options: argparse.Namespace, screen: Screen) -> int:
    """Play; SIGTERM ends it as Ctrl-C does, with everything put away."""
    playing = asyncio.current_task()
    assert playing is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, playing.cancel)
    async with AsyncExitStack() as stack:
        return await play(options, screen, stack)


async def play(options: argparse.Namespace, screen: Screen, stack: AsyncExitStack) -> int:
    """Start what is needed, tell the story, count."""
    model = options.model or os.environ.get("HANDFAST_MODEL") or DEFAULT_MODEL
    scripted_at: str | None = None
    if os.environ.get("OPENAI_API_KEY"):
        screen.line(f"The model is {model} at {os.environ.get('OPENAI_BASE_URL') or 'OpenAI'}.", "bold")
    else:
        screen.line("The model is a script, because OPENAI_API_KEY is not set; everything else is real.", "bold")
        scripted_at = (await stack.enter_async_context(ResponsesServer(scripted()))).base_url
    server = await stack.enter_async_context(await _server(options, screen))
    client = await Client.connect(server.address, namespace=server.namespace)
    person = _person(options, screen)
    crash = options.crash_at if options.crash else None
    directory = options.directory.absolute()
    setting = Setting(server, client, directory, model, scripted_at, crash)
    story = Story(setting, person, screen)
    stack.push_async_callback(story.close)
    wrong = await story.summary(await story.play())
    for problem in wrong:
        screen.line(f"WRONG: {problem}", "red")
    if not wrong:
        screen.line("Every approved call took effect exactly once, every rejected one never.", "green")
    if isinstance(person, AtTerminal) and server.started_here:
        screen.line("Press Enter to stop the server and leave. ", "cyan", end="")
        with suppress(DemoError):
            await read_line()
    return 1 if wrong else 0


async def _server(options: argparse.Namespace, screen: Screen) -> EmbeddedServer:
    """Start the embedded server, or use the one that runs for this folder."""
    try:
        server = await EmbeddedServer.start(options.directory, options.port)
    except PortBusyError:
        screen.line(f"Port {options.port} belongs to another program; the Temporal server takes a free one.", "yellow")
        server = await EmbeddedServer.start(options.directory, 0)
    how = "started" if server.started_here else "was running already"
    screen.line(f"The Temporal server {how}: {server.address}, pages at {server.ui_url}", "dim")
    return server


def _person(options: argparse.Namespace, screen: Screen) -> Person:
    if options.answers is not None:
        return Prepared(options.answers, screen)
    return AtTerminal(screen) if sys.stdin.isatty() else Prepared(DEFAULT_ANSWERS, screen)


if __name__ == "__main__":
    sys.exit(main())
