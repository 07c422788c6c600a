"""docs/wire.md can be followed with what Temporal ships: its command, and its SDK for TypeScript."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
import pytest_asyncio

from handfast import Agent, Handfast, HandfastPlugin, tool
from handfast.connection import connect
from handfast.server import EmbeddedServer, find_binary
from handfast.testing import Reply, ResponsesServer, Script, call, text
from handfast.worker import make_worker
from support.pages import ROOT, Block, blocks_of
from support.typescript import run_typescript

PAGE: Final = ROOT / "docs" / "wire.md"
SHOWN_ID: Final = "8d1e7a52-0c5e-4c57-9f4e-2f6f1f0a9d11"
WAIT_S: Final = 60.0


@tool(approval=True)
async def refund(order: int, amount: float) -> str:
    """Pay money back for an order."""
    return f"order {order} was refunded"


def refunds(order: int, count: int) -> list[Reply]:
    """One call after the other, each of which waits for a person, and an answer."""
    calls = [Reply(call("refund", {"order": order, "amount": 250}, f"call_{number}")) for number in range(count)]
    return [*calls, Reply(text(f"Order {order} was refunded."))]


SCRIPT: Final = Script.per_conversation(
    {
        "order 7": refunds(7, 5),
        "order 8": refunds(8, 1),
        "money": [Reply(text("Which order is it?"))],
        "Hello.": [Reply(text("Which order is it?"))],
    }
)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def hf() -> AsyncIterator[Handfast]:
    """A client of a server of its own, with a worker for the agents that the page names."""
    instructions = "You serve customers."
    agents = [Agent(name, instructions=instructions, model="m", tools=[refund]) for name in ("desk", "triage")]
    async with (
        await EmbeddedServer.start(persistent=False, port=0, ui=False) as server,
        ResponsesServer(SCRIPT) as model,
    ):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TEMPORAL_ADDRESS", server.address)
            patch.setenv("OPENAI_BASE_URL", model.base_url)
            patch.setenv("OPENAI_API_KEY", "test")
            client = await connect()
            async with make_worker(client, HandfastPlugin(agents), task_queue="agents"):
                yield Handfast(client)


async def temporal(line: str) -> tuple[int, str]:
    """Run a line of the page with the stock command."""
    binary = find_binary()
    assert binary is not None
    process = await asyncio.create_subprocess_exec(
        binary,
        *shlex.split(line)[1:],
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(WAIT_S):
        said, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, said.decode()


async def with_request(hf: Handfast, line: str) -> str:
    """The line with the id of a request that is open now, where it shows one."""
    if SHOWN_ID not in line:
        return line
    async with asyncio.timeout(WAIT_S):
        async for request in hf.run("ticket-7").requests():
            pending = [each.id for each in await hf.run("ticket-7").pending()]
            if request.id in pending:
                return line.replace(SHOWN_ID, request.id)
    raise AssertionError("ticket-7 ended with no open request left")


def lines() -> list[str]:
    """Every line of the page's bash blocks, continuation lines joined."""
    text = "\n".join(block.source for block in blocks_of(PAGE, "bash")).replace("\\\n", " ")
    return [line for line in text.splitlines() if line.startswith("temporal ")]


async def test_the_stock_command_starts_reads_and_decides(hf: Handfast) -> None:
    """Each `temporal` line of the page does what it is shown for, from the first one on."""
    waiting: asyncio.Task[tuple[int, str]] | None = None
    for line in lines():
        if "workflow result" in line:
            waiting = asyncio.create_task(temporal(line))  # it waits for the end of the run
            continue
        code, said = await temporal(await with_request(hf, line))
        assert code == 0, f"{line}\n{said}"
    assert waiting is not None
    code, said = await waiting
    assert (code, "cancel" in said.lower()) == (1, True), said
    events = [event.type async for event in hf.run("ticket-7").events()]
    assert events.count("request_decided") == 3
    assert "message_sent" in events
    assert await hf.session("customer-7").turn("chat-11").output() == "Which order is it?"


async def test_the_stock_command_words_an_empty_list(hf: Handfast) -> None:
    """What the page says of a list without a request is what the command prints."""
    run = await hf.start("triage", "I want my money back.", id="quiet")
    await run.result()
    code, said = await temporal("temporal workflow query --workflow-id quiet --type pending_approvals --output json")
    assert code == 0
    shown = re.search(r"an empty list as `([^`]*)`; an SDK gets `([^`]*)`", PAGE.read_text())
    assert shown is not None
    assert json.loads(said)["queryResult"] == [json.loads(shown[1])]
    assert await hf.client.get_workflow_handle("quiet").query("pending_approvals") == json.loads(shown[2])


def shown(payload: str, number: int = 0) -> dict[str, Any]:
    """One of the page's JSON examples, by the payload that it is."""
    found = [json.loads(each.source) for each in blocks_of(PAGE, "json") if each.note == ("payload", payload)]
    return dict(found[number])


async def test_what_is_sent_is_taken_and_answered_as_shown(hf: Handfast) -> None:
    """Each JSON example of what a client sends, to agents without options of their own, is taken word for word but for
    ids and digests; what comes back has no field that the page does not name."""
    page, call_id = PAGE.read_text(), shown("CancelCall")["call_id"]
    start, answers = hf.client.start_workflow, list[dict[str, Any]]()
    handle = await start("AgentRun", shown("RunInput"), id="payloads", task_queue="agents")
    async for request in hf.run("payloads").requests():
        if request.call_id == call_id:
            break
        decision = shown("Decision") | {"id": request.id, "digest": request.digest, "decision_id": request.id}
        answers.append(await handle.execute_update("decide", decision))
    for update, example in [("raise_limits", "RaiseLimits"), ("send", "Message"), ("cancel_call", "CancelCall")]:
        answers.append(await handle.execute_update(update, shown(example)))
    answers += [await handle.query("status"), *await handle.query("pending_approvals")]
    await handle.cancel()

    talk = await start("AgentSession", shown("SessionInput"), id="talk", task_queue="agents")
    message = shown("Message") | {"text": "I want my money back."}
    answers.append(await talk.execute_update("send", message))
    assert await hf.session("talk").turn(message["id"]).output() == "Which order is it?"
    asked = {"message_id": message["id"]}
    answers += [await talk.query("turn", asked), await talk.execute_update("take_back", {**asked, "by": "ana"})]
    await talk.signal("close")
    answers.append(await talk.result())
    assert len(answers) >= 10
    unnamed = {name for each in answers for name in each if f'"{name}"' not in page and f"`{name}`" not in page}
    assert unnamed == set()


PRINTED: Final = {
    "approve.ts": "refund { amount: 250, order: 8 }\nOrder 8 was refunded.\n",
    "refused.ts": "UnknownRequestError { request: 'no-such-request' }\n",
}


@pytest.mark.parametrize("block", blocks_of(PAGE, "ts"), ids=str)
async def test_typescript_needs_nothing_of_ours(hf: Handfast, block: Block) -> None:
    """Each program in TypeScript compiles strictly and runs with the real `@temporalio/client`."""
    name = block.source.partition("\n")[0].removeprefix("// ")
    await hf.start("desk", "Refund 250 for order 7", id="ticket-7", if_exists="attach")
    address = {"TEMPORAL_ADDRESS": os.environ["TEMPORAL_ADDRESS"]}
    assert await asyncio.to_thread(run_typescript, name, block.source, address) == PRINTED[name]
