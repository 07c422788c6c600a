"""Start a run, and follow it to its end."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass

from pydantic import ValidationError

from handfast.cli import exits
from handfast.cli.application import import_agents
from handfast.cli.live import Follower
from handfast.cli.options import Where
from handfast.cli.output import say, warn, write_json
from handfast.cli.place import handfast
from handfast.cli.show import answer_text
from handfast.client.client import Handfast
from handfast.client.run import Run
from handfast.definitions.schema.arguments import UNSET
from handfast.errors import HandfastError, RunCancelledError, RunFailedError, WaitingForPeople
from handfast.payloads.base import problems_of
from handfast.payloads.json_profile import JsonObject


@dataclass(frozen=True)
class Given:
    """The options of the run.

    Attributes:
        stream: None tells what is written where somebody would see it here.
    """

    agent: str
    input: str
    id: str | None
    labels: dict[str, str]
    context: JsonObject | None
    max_turns: int | None
    requested_by: str | None
    attach: bool
    stream: bool | None = None
    model_queue: str | None = None
    model: str | None = None


@dataclass(frozen=True)
class Following:
    """The options of following the run once it is started.

    Attributes:
        ask: True asks here, False leaves when a person is needed, None waits for a decision made elsewhere.
        by: The person who decides here.
    """

    wait: bool
    ask: bool | None
    timeout_s: float | None
    by: str
    as_json: bool


def text_of(typed: str) -> str:
    """Return the input itself, or what stdin holds for ``-``."""
    return sys.stdin.read() if typed == "-" else typed


def check(given: Given, how: Following, agents: str | None) -> None:
    """Refuse what can be refused before anything is started.

    Raises:
        InputError: The options do not go together, or the context is not the agent's.
        TargetError: *agents* holds none.
        UnknownAgentError: *agents* does not hold this one.
    """
    if how.ask and not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise exits.InputError("--ask needs a terminal; decide with `handfast approve`, or leave early with --no-ask")
    if how.ask and not how.wait:
        raise exits.InputError("--ask does not go with --no-wait")
    if given.attach and given.id is None:
        raise exits.InputError("--attach needs --id: which run")
    if agents is None:
        return
    agent = import_agents(agents).registry.agent(given.agent)
    if agent.context_type is not None:
        try:
            agent.context_type.model_validate(given.context or {})
        except ValidationError as error:
            raise exits.InputError(
                f"--context does not fit agent {given.agent}: {'; '.join(problems_of(error))}"
            ) from None


async def start(given: Given, how: Following, where: Where, task_queue: str) -> int:
    """Start the run, and follow it if asked to.

    Raises:
        PayloadInvalidError: The input is none; nothing was started.
        RunExistsError: A run of this id goes on.
    """
    hf = await handfast(where, task_queue)
    seen = how.wait and sys.stderr.isatty() and hf.stores.deltas is not None
    run = await hf.start(
        given.agent,
        given.input,
        id=given.id,
        context=given.context,
        max_turns=given.max_turns if given.max_turns is not None else UNSET,
        model_queue=given.model_queue,
        model=given.model,
        labels=given.labels,
        requested_by=given.requested_by,
        stream=seen if given.stream is None else given.stream,
        if_exists="attach" if given.attach else "fail",
    )
    if not how.wait:
        if how.as_json:
            write_json({"run": run.id})
        else:
            say(run.id)
        return exits.OK
    return await _follow(hf, run, how)


async def _follow(hf: Handfast, run: Run, how: Following) -> int:
    follower = Follower(hf, run, ask_as=how.by if how.ask else None, quiet=how.as_json)
    document: dict[str, object] = {"run": run.id}
    code = exits.OK
    try:
        async with asyncio.timeout(how.timeout_s):
            await follower.follow(leave_for_people=how.ask is False)
            result = await run.result()
        document |= {"status": "completed", "result": result}
        if not how.as_json:
            say(answer_text(result))
    except (RunFailedError, RunCancelledError, WaitingForPeople) as error:
        code = exits.code_of(error)
        document |= _ended(error, follower)
        warn(_line(error))
    except TimeoutError:
        code = exits.UNCONFIRMED
        document |= {"status": "waiting" if follower.progress.pending else "running"}
        warn(f"{run.id} goes on; see `handfast show {run.id}`")
    if how.as_json:
        write_json(document)
    return code


def _ended(error: HandfastError, follower: Follower) -> dict[str, object]:
    match error:
        case RunFailedError():
            return {"status": "failed", "failure": {"type": error.kind, "message": error.message}}
        case RunCancelledError():
            return {"status": "cancelled", "cancelled": error.reason}
        case _:
            return {"status": "waiting", "pending": list(follower.progress.pending.values())}


def _line(error: HandfastError) -> str:
    if isinstance(error, WaitingForPeople):
        return f"{error}; see `handfast approvals`"
    return str(error)
