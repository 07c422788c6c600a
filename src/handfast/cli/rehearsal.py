"""`handfast dev` without a key: a script plays the model, and a first run gives a person something to decide."""

from __future__ import annotations

import os
import shlex
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import openai
from temporalio.client import Client
from temporalio.service import RPCError

from handfast.cli.application import Application, FirstRun
from handfast.cli.exits import InputError
from handfast.cli.explain import explain
from handfast.cli.output import one_line, say, warn
from handfast.cli.show import answer_text, print_request
from handfast.cli.tables import SHORT_ID, utc_now
from handfast.cli.terminal import console
from handfast.client.client import Handfast
from handfast.client.run import Run
from handfast.errors import HandfastError, RunCancelledError, RunFailedError, RunNotFoundError
from handfast.models.named import named_model

if TYPE_CHECKING:
    from handfast.testing import Script

KEY: Final = "OPENAI_API_KEY"
LOOK_S: Final = 3.0
"""Time limit of a look at the model server."""
FIRST_RUN: Final = "first-run"
"""The first run's id: the server knows by it whether there was one."""


@asynccontextmanager
async def scripted_model(application: Application | None) -> AsyncIterator[bool]:
    """Play the application's script to whoever makes a model client from the environment, where no key is set.

    Yields:
        Whether it is offered; an application may have a model client of its own.

    Raises:
        InputError: The script cannot be read.
    """
    if application is None or application.script is None or os.environ.get(KEY):
        yield False
        return
    from handfast.testing import ResponsesServer  # noqa: PLC0415 only rehearsals need the test tools

    async with ResponsesServer(_script(application.script)) as server:
        os.environ |= {KEY: "scripted", "OPENAI_BASE_URL": server.base_url}
        yield True


async def note_silent_server(name: str) -> None:
    """Make sure that a model can be asked, and say where its server does not answer, or does not have it.

    Raises:
        DefinitionError: It is no such name, or its provider cannot be asked.
        ModelClientMissingError: It is OpenAI's, and there is no key.
    """
    named = named_model(name)
    if named.client is None or not named.address.startswith("http:"):
        return  # a provider of many; its refusals say enough
    async with named.client:
        try:
            listed = await named.client.with_options(timeout=LOOK_S, max_retries=0).models.list()
            has = {each.id.removesuffix(":latest") for each in listed.data}
        except openai.OpenAIError:
            warn(one_line(f"note: no model server answers at {named.address}; start it: runs wait for it"))
            return
    if named.model.removesuffix(":latest") not in has:
        others = ", ".join(sorted(has)) or "none"
        warn(one_line(f"note: the server at {named.address} lists no model {named.model!r}; it has {others}"))


def _script(file: str) -> Script:
    from handfast.testing.script import Script, ScriptInvalidError  # noqa: PLC0415 only rehearsals need the test tools

    try:
        return Script.from_json(Path(file).read_bytes())
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from None
    except ScriptInvalidError as error:
        raise InputError(f"{file}: {error}") from None


@dataclass(frozen=True)
class Rehearsal:
    """The part of `handfast dev` beside serving: the script, and the first run.

    Attributes:
        played: The application's script plays the model.
        named: The model that every agent asks, as it was typed.
        aloud: A person reads; a program gets one document and starts its own runs.
    """

    application: Application | None
    played: bool
    aloud: bool
    named: str | None = None

    @property
    def model(self) -> str:
        """Name the model for programs: ``script``, ``real``, or what was typed."""
        return "script" if self.played else self.named or "real"

    def introduce(self) -> None:
        """Say first of all where a script plays the model, or one model stands in for all."""
        if self.aloud and self.named is not None:
            say(one_line(f"Every agent asks {self.named}, in place of its own model."))
        if self.aloud and self.played and self.application is not None:
            script = self.application.script
            say(one_line(f"The model is a script ({script}), because {KEY} is not set; everything else is real."))

    async def play(self, client: Client, task_queue: str) -> None:
        """Start the first run unless there was one; show its request, how to decide it, and its answer.

        With a real model it is only suggested, as it would be paid for. What the server refuses is said in one line:
        the worker serves all the same.
        """
        wanted = self.application.first_run if self.application is not None else None
        if wanted is None or not self.aloud:
            return
        if not self.played:
            say(one_line(f"start a run with: handfast start {wanted.agent} {shlex.quote(wanted.input)}"))
            return
        try:
            run = await _started(Handfast(client, task_queue=task_queue), wanted)
            if run is not None:
                await _show(run)
        except (HandfastError, RPCError) as error:
            warn(f"{FIRST_RUN}: {explain(error)[1]}")


async def _started(hf: Handfast, wanted: FirstRun) -> Run | None:
    run = hf.run(FIRST_RUN)
    try:
        status = (await run.status()).status
    except RunNotFoundError:
        say(one_line(f"starting {FIRST_RUN}: {wanted.agent}, {wanted.input!r}"))
        return await hf.start(wanted.agent, wanted.input, id=FIRST_RUN, if_exists="attach")
    if status in ("running", "waiting", "idle"):
        say(f"{FIRST_RUN} goes on")
        return run
    say(f"{FIRST_RUN} has ended: see `handfast show {FIRST_RUN}`")
    return None


async def _show(run: Run) -> None:
    out = console()
    async for request in run.requests():
        short = request.id[:SHORT_ID]
        say(f"\n{FIRST_RUN} waits for a person:")
        print_request(out, request, utc_now())
        say("\ndecide it in another terminal, in this folder:")
        say(f"  handfast approve {short}")
        say(f"  handfast reject {short} --reason TEXT\n")
    try:
        say(f"{FIRST_RUN} is done: {one_line(answer_text(await run.result()))}")
    except (RunFailedError, RunCancelledError) as error:
        say(one_line(str(error)))
