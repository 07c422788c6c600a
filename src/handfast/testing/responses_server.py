"""A local server that speaks the OpenAI Responses API strictly and plays a script, for the real client.

```python
steps = [Reply(call("run_cleanup", {"target": "temp_files"})), Reply(text("Done."))]
async with ResponsesServer(steps) as server:
    client = AsyncOpenAI(base_url=server.base_url, api_key="test")
    ...
assert server.violations == []
```

In a process of its own, `python -m handfast.testing.responses_server --script FILE.json [--port N] [--dialect NAME]`
prints one line with its address when it is ready. There, `POST /_script/gates/NAME` opens a gate,
`POST /_script/forget/ID` drops a stored response or a conversation, and `GET /_script/requests` lists what came in.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import unquote

from handfast.testing.play import Player
from handfast.testing.record import COMPLETIONS, Json, RecordedRequest, State, Violation
from handfast.testing.responses.dialects import DIALECTS, dialect_named
from handfast.testing.responses.http import Connection, Exchange
from handfast.testing.responses.refusal import ApiRefusal
from handfast.testing.script import Script, ScriptInvalidError, Step

__all__ = ["RecordedRequest", "ResponsesServer", "Violation", "main"]

_CONTROL: Final = "/_script/"


class ResponsesServer:
    """A strict local Responses API that plays a script.

    Requests that the real API would refuse are refused alike, in its wording where that is known, and listed
    in `violations`. It listens on the loopback interface only, accepts any bearer key, and keeps stored
    responses in memory. After `close`, `start` opens the same address again, with records, stored responses
    and the script as they were.

    Args:
        script: What to answer; a plain list of steps is a sequence.
        port: The port; a free one where 0.
        dialect: Which server it stands for: ``openai``, ``azure``, ``ollama``, ``vllm``, ``lmstudio``, ``openrouter``,
            ``litellm`` or ``open-responses``. Those beside the first two take more, know less, and answer in their
            own way.

    Attributes:
        requests: All requests in order of arrival, refused ones included.
        violations: The requests that were refused. A `Fail` of the script is none.
    """

    def __init__(self, script: Script | Sequence[Step], *, port: int = 0, dialect: str = "openai") -> None:
        self.requests: list[RecordedRequest] = []
        self.violations: list[Violation] = []
        self._player = Player(script if isinstance(script, Script) else Script(script), dialect_named(dialect))
        self._port = port
        self._changed = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], Connection] = {}

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def base_url(self) -> str:
        """The address for `AsyncOpenAI(base_url=…)`; known once the server was started."""
        return f"http://127.0.0.1:{self._port}/v1"

    async def start(self) -> None:
        """Listen. Does nothing where the server already does.

        Raises:
            OSError: The port is taken.
        """
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, "127.0.0.1", self._port)
            self._port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening and close every connection; open requests end as `server_closed`."""
        if self._server is None:
            return
        server, self._server = self._server, None
        server.close()
        for task, connection in self._connections.items():
            task.cancel()
            connection.abort()
        await self._player.close()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await server.wait_closed()

    def open(self, gate: str) -> None:
        """Open a gate: requests held there go on, later ones pass. Call it in the server's event loop."""
        self._player.open(gate)

    @property
    def created(self) -> list[RecordedRequest]:
        """The requests for a response, in order of arrival: without lookups, cancels and conversations."""
        paths = ("/v1/responses", COMPLETIONS)
        return [each for each in self.requests if each.method == "POST" and each.path in paths]

    def hang_up(self) -> None:
        """Close every connection in the middle; what is made in the background goes on being made."""
        for connection in self._connections.values():
            connection.abort()

    def add_file(self, id: str) -> None:
        """Let a file be there, as if it had been uploaded: parts of messages may name it by its id."""
        self._player.add_file(id)

    def forget(self, id: str) -> None:
        """Drop a stored response with its items, or a conversation, as a provider does in time.

        Raises:
            KeyError: There is none of that id.
        """
        if not self._player.forget(id):
            raise KeyError(id)

    async def wait_for_request(self, number: int, timeout: float = 30.0) -> RecordedRequest:
        """Wait until *number* requests have arrived.

        Args:
            number: Position of the request, from 1.
            timeout: Seconds to wait.

        Returns:
            The record of that request.

        Raises:
            TimeoutError: Fewer requests arrived in time.
        """
        await self._until(lambda: len(self.requests) >= number, timeout, f"request {number} did not arrive")
        return self.requests[number - 1]

    async def wait_for_end(self, number: int, timeout: float = 30.0) -> RecordedRequest:
        """Wait until a request has ended, in whatever way.

        Args:
            number: Position of the request, from 1.
            timeout: Seconds to wait.

        Returns:
            The record of that request.

        Raises:
            TimeoutError: It did not arrive, or is still open.
        """
        await self._until(
            lambda: len(self.requests) >= number and self.requests[number - 1].state != "open",
            timeout,
            f"request {number} did not end",
        )
        return self.requests[number - 1]

    async def wait_for_disconnect(self, number: int, timeout: float = 30.0) -> RecordedRequest:
        """Wait until the client has closed the connection of a request before its answer was complete.

        Args:
            number: Position of the request, from 1.
            timeout: Seconds to wait.

        Returns:
            The record of that request.

        Raises:
            TimeoutError: The client is still there.
            AssertionError: The request ended in another way, so that no disconnect can follow.
        """
        request = await self.wait_for_end(number, timeout)
        if request.state != "client_closed":
            raise AssertionError(f"request {number} ended as {request.state}, its client did not leave before")
        return request

    async def _until(self, holds: Callable[[], bool], timeout: float, problem: str) -> None:
        try:
            async with asyncio.timeout(timeout):
                while not holds():
                    await self._changed.wait()
        except TimeoutError as error:
            states = ", ".join(request.state for request in self.requests) or "none"
            raise TimeoutError(f"{problem} within {timeout:g} s; requests so far: {states}") from error

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(reader, writer, self._handle)
        task = asyncio.ensure_future(connection.serve())
        self._connections[task] = connection
        task.add_done_callback(self._connections.pop)

    async def _handle(self, exchange: Exchange) -> None:
        request = exchange.request
        if request.path.startswith(_CONTROL):
            await self._control(exchange)
            return
        now = datetime.now(UTC)
        record = RecordedRequest(len(self.requests) + 1, request.method, request.path, request.headers, {}, now)
        record.query = request.query
        plan = self._player.plan(record, request.body)
        if isinstance(plan, ApiRefusal):
            violation = Violation(record.number, plan.status, plan.message, plan.code, plan.param)
            self.violations.append(violation)
        self.requests.append(record)
        self._notify()
        state: State = "client_closed"  # unless it ends in another way: a failing write means that too
        try:
            state = await self._player.play(plan, exchange, record)
        except asyncio.CancelledError:
            state = "client_closed" if exchange.client_gone else "server_closed"
            raise
        finally:
            record.state = state
            self._notify()

    async def _control(self, exchange: Exchange) -> None:
        """Answer the test that steers a server in another process."""
        match exchange.request.method, exchange.request.path.removeprefix(_CONTROL).split("/", 1):
            case "POST", ["gates", gate]:
                self.open(unquote(gate))
                await exchange.send(200, b"{}")
            case "POST", ["forget", id]:
                known = self._player.forget(unquote(id))
                await exchange.send(200 if known else 404, b"{}")
            case "GET", ["requests"]:
                listed = [_listed(record) for record in self.requests]
                await exchange.send(200, json.dumps({"requests": listed}).encode())
            case _:
                await exchange.send(404, b"{}")


def _listed(record: RecordedRequest) -> Json:
    return {
        "number": record.number,
        "state": record.state,
        "status": record.status,
        "received_at": record.received_at.isoformat(),
        "body": record.body,
        "reply": record.reply,
    }


async def _serve(script: Script, port: int, dialect: str) -> None:
    stopped = asyncio.Event()
    for signum in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(signum, stopped.set)
    async with ResponsesServer(script, port=port, dialect=dialect) as server:
        sys.stdout.write(f"{server.base_url}\n")
        sys.stdout.flush()
        await stopped.wait()


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve a script from a file until SIGINT or SIGTERM; the first line of output is the address.

    Args:
        arguments: Command line without the program's name; the process's own where None.

    Returns:
        The exit code: 2 where the script cannot be read, 1 where the port is taken.
    """
    parser = argparse.ArgumentParser(
        prog="python -m handfast.testing.responses_server",
        description="Serve a scripted, strict Responses API on the loopback interface.",
    )
    parser.add_argument("--script", type=Path, required=True, help="JSON file with the script")
    parser.add_argument("--port", type=int, default=0, help="port to listen on; a free one by default")
    parser.add_argument("--dialect", choices=sorted(DIALECTS), default="openai", help="the server that it stands for")
    options = parser.parse_args(arguments)
    try:
        script = Script.from_json(options.script.read_bytes())
    except (OSError, ScriptInvalidError) as error:
        sys.stderr.write(f"{options.script}: {error}\n")
        return 2
    try:
        asyncio.run(_serve(script, options.port, options.dialect))
    except OSError as error:
        sys.stderr.write(f"port {options.port}: {error}; choose another --port\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
