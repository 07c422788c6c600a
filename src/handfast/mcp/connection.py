"""One session with an MCP server. It is held by a task of its own: the SDK's scopes end in the task that began them."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable
from importlib.metadata import version
from typing import Any, Final, TypeVar, cast
from weakref import WeakSet

import anyio
import mcp_types as types
from mcp import Client, MCPError
from mcp.client import ClientRequestContext
from mcp.shared.dispatcher import ProgressFnT
from mcp_types.methods import validate_server_result
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import BaseModel, ValidationError

from handfast.definitions.tools.mcp import McpServer, StdioTransport
from handfast.errors import McpUnavailableError, OutcomeUnknownError
from handfast.mcp.elicitation import asked_of, linked, responses_of
from handfast.mcp.live_call import LiveCall
from handfast.mcp.results import prompt_of, resource_of
from handfast.mcp.tool import McpToolError
from handfast.mcp.transport import LOST, NOT_REACHED, Stderr, Values, hidden_in, opened, quiet_client
from handfast.payloads.base import problems_of
from handfast.payloads.cutting import cut
from handfast.payloads.json_profile import JsonObject, scrub
from handfast.payloads.mcp import McpAsked

__all__ = ["Connection"]

logger = logging.getLogger("handfast.mcp")

CLOSE_S: Final = 10.0
"""Limit of time for the end of a server: the SDK gives it two seconds, then asks, then kills."""
PROBLEM_BYTES: Final = 600
NAME_BYTES: Final = 200
MOST_PAGES: Final = 100
MOST_TOOLS: Final = 1000
UNASKED_PAUSE: Final = (0.05, 2.0)
"""Shortest and longest pause before a call goes on that a server handed back without a question."""

AnswerT = TypeVar("AnswerT")


class Connection:
    """A session, from its start to its end; it is not started twice.

    Attributes:
        live_calls: Calls under way, of a server of an older protocol.
        secrets: Values that it was reached with.
        left_out: What it lists and is no tool, and why.
        changed: Set while the server has said that its tools have changed, and nobody has looked yet.
    """

    def __init__(self, server: McpServer) -> None:
        """Take the server; `start` reaches it."""
        self._server = server
        self._stderr = Stderr(server.name)
        self._ended = asyncio.Event()
        self._closing = asyncio.Event()
        self._client: Client | None = None
        self._holding: asyncio.Task[None] | None = None
        self._listening: asyncio.Task[None] | None = None
        self._told_of_noise = False
        self.live_calls: WeakSet[LiveCall] = WeakSet()
        self.secrets: tuple[str, ...] = ()
        self.left_out: dict[str, str] = {}
        self.changed = asyncio.Event()

    @property
    def alive(self) -> bool:
        """True from its start on until the server or the connection has gone."""
        held = self._holding is not None and not self._holding.done()
        return held and self._client is not None and not self._ended.is_set() and not self._closing.is_set()

    @property
    def tells_changes(self) -> bool:
        """True where the server has promised to say when its tools change, and there is a way on which it can."""
        if self._client is None:
            return False
        if self.is_modern:
            return self._listening is not None and not self._listening.done()
        tools = self._client.server_capabilities.tools
        return isinstance(self._server.transport, StdioTransport) and tools is not None and bool(tools.list_changed)

    @property
    def is_modern(self) -> bool:
        """True where the server asks by an answer that ends the request, so that no session has to live for it."""
        return self._client is not None and self._client.protocol_version in MODERN_PROTOCOL_VERSIONS

    async def start(self, values: Values) -> None:
        """Reach the server and agree on the protocol.

        Raises:
            McpUnavailableError: That failed, or took too long.
        """
        quiet_client()
        self.secrets = self._stderr.secrets = tuple(values.values())
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._holding = asyncio.create_task(self._hold(values, ready), name=f"mcp {self._server.name}")
        try:
            await asyncio.shield(ready)
        except asyncio.CancelledError:
            self._holding.cancel()
            raise

    async def close(self) -> None:
        """End the session, and the server's process."""
        self._closing.set()
        if self._listening is not None:
            self._listening.cancel()
        if self._holding is not None:
            await asyncio.wait({self._holding}, timeout=CLOSE_S)
            self._holding.cancel()

    async def tools(self) -> list[JsonObject]:
        """List all tools of the server, as JSON.

        Raises:
            McpUnavailableError: It cannot be reached, or lists what is no tool.
        """
        self.changed.clear()
        listed: list[JsonObject] = []
        cursor: str | None = None
        for _ in range(MOST_PAGES):
            page = await self._asked("lists its tools", self._list_page(cursor))
            listed += [each.model_dump(mode="json", by_alias=True, exclude_none=True) for each in page.tools]
            if page.next_cursor is None:
                return listed
            if len(listed) > MOST_TOOLS or page.next_cursor == cursor:
                break
            cursor = page.next_cursor
        raise McpUnavailableError(self._server.name, f"lists more than {MOST_TOOLS:,} tools, or a list without end")

    async def call(
        self, name: str, arguments: JsonObject, *, meta: JsonObject, progress: ProgressFnT, asked: McpAsked | None
    ) -> types.CallToolResult | McpAsked:
        """Call a tool, or go on with a call; return its result, or what the server asks for before it goes on.

        Args:
            name: The server's own name of the tool.
            arguments: The same for the whole call.
            meta: Sent along.
            progress: Told of progress.
            asked: What the server asked for, with the answers.

        Raises:
            McpUnavailableError: The call was not made.
            McpToolError: The server refused it, or asks for what it is not given.
            OutcomeUnknownError: It was sent, and what became of it is not known.
        """
        client, told, modern = self._live(), cast(types.RequestParamsMeta, meta), self.is_modern
        answers = responses_of(asked) if asked is not None and asked.answers and modern else None
        state = None if asked is None else asked.state
        pause, longest = UNASKED_PAUSE
        while True:
            sending = client.session.call_tool(
                name,
                arguments,
                progress_callback=progress,
                input_responses=None if answers is None else {**answers},
                request_state=state,
                meta=told,
                allow_input_required=True,
            )
            try:
                result = await self._sent(sending)
            except MCPError as error:
                if error.code != types.URL_ELICITATION_REQUIRED or modern:
                    raise
                return linked(error.data, asked)
            if isinstance(result, types.CallToolResult):
                return result
            if result.input_requests:
                return asked_of(result, asked)
            # The server wants to be asked again a little later; the tool's own timeout ends that.
            answers, state = None, result.request_state
            await asyncio.sleep(pause)
            pause = min(2 * pause, longest)

    # --- resources and prompts ---

    @property
    def has_resources(self) -> bool:
        """True where the server says that it has resources."""
        return self._client is not None and self._client.server_capabilities.resources is not None

    @property
    def has_prompts(self) -> bool:
        """True where the server says that it has prompts."""
        return self._client is not None and self._client.server_capabilities.prompts is not None

    async def resources(self, cursor: str | None) -> JsonObject:
        """List a page of resources; the first one has the templates too.

        Raises:
            McpUnavailableError: The server is not there.
            McpToolError: It refuses.
        """
        session = self._live().session
        page = await self._sent(session.list_resources(params=types.PaginatedRequestParams(cursor=cursor)))
        listed = {"resources": [_plain(each) for each in page.resources], "next_cursor": page.next_cursor}
        if cursor is None:
            try:
                templates = (await session.list_resource_templates()).resource_templates
            except MCPError:  # it has none
                templates = []
            listed["templates"] = [_plain(each) for each in templates]
        return {name: value for name, value in listed.items() if value}

    async def resource(self, uri: str) -> object:
        """Read a resource; raises as `resources` does."""
        read = await self._sent(self._live().session.read_resource(uri, allow_input_required=True))
        if isinstance(read, types.InputRequiredResult):
            raise McpToolError("the server asks a person before it gives the resource, which it can do for tools alone")
        return resource_of(read)

    async def prompts(self, cursor: str | None) -> JsonObject:
        """List a page of prompts; raises as `resources` does."""
        page = await self._sent(self._live().session.list_prompts(params=types.PaginatedRequestParams(cursor=cursor)))
        listed = {"prompts": [_plain(each) for each in page.prompts], "next_cursor": page.next_cursor}
        return {name: value for name, value in listed.items() if value}

    async def prompt(self, name: str, arguments: dict[str, str]) -> object:
        """Read a prompt, filled in; raises as `resources` does."""
        read = await self._sent(self._live().session.get_prompt(name, arguments, allow_input_required=True))
        if isinstance(read, types.InputRequiredResult):
            raise McpToolError("the server asks a person before it gives the prompt, which it can do for tools alone")
        return prompt_of(read)

    # --- inside ---

    def _live(self) -> Client:
        if self._client is None or not self.alive:
            raise McpUnavailableError(self._server.name, "has ended; the call was not made")
        return self._client

    def _sift(self, result: dict[str, Any]) -> None:
        """Leave out of a listing what is no tool as the protocol has it."""
        tools = result.get("tools")
        if self._client is None or not isinstance(tools, list):
            return
        kept = []
        for each in tools:
            try:
                alone = {**result, "tools": [each]}
                validate_server_result("tools/list", self._client.protocol_version, alone)
                types.ListToolsResult.model_validate(alone, by_name=False)
            except ValidationError as error:
                name = each.get("name") if isinstance(each, dict) else None
                called = cut(scrub(str(name)), NAME_BYTES)[0] if isinstance(name, str) else "one without a name"
                self.left_out[called] = problems_of(error)[0].removeprefix("tools.0.")
            else:
                kept.append(each)
        result["tools"] = kept

    async def _list_page(self, cursor: str | None) -> types.ListToolsResult:
        return await self._live().session.list_tools(params=types.PaginatedRequestParams(cursor=cursor))

    async def _asked(self, what: str, asking: Awaitable[AnswerT]) -> AnswerT:
        """Await what may be asked again.

        Raises:
            McpUnavailableError: There was no answer that can be used.
        """
        try:
            async with asyncio.timeout(self._server.start_within.total_seconds()):
                return await asking
        except TimeoutError:
            problem = f"did not answer within {self._server.start_within.total_seconds():g} s"
        except ValidationError as error:
            problem = f"{what} in another form than the protocol's: {'; '.join(problems_of(error))}"
        except MCPError as error:
            if error.code in (types.CONNECTION_CLOSED, types.INVALID_REQUEST):
                self._ended.set()  # a session that the server has forgotten is as good as none
            problem = _told(error)
        raise McpUnavailableError(self._server.name, self._shortened(problem))

    async def _sent(self, sending: Awaitable[AnswerT]) -> AnswerT:
        """Await what may have an effect, and tell apart whether it may have had one."""
        try:
            return await sending
        except MCPError as error:
            if error.code == NOT_REACHED:
                raise McpUnavailableError(self._server.name, f"{error.message}; the call was not made") from None
            if error.code in (LOST, types.CONNECTION_CLOSED, types.PARSE_ERROR):
                said = self._shortened(error.message)
                problem = f"the connection to the MCP server {self._server.name} broke during the call: {said}"
                raise OutcomeUnknownError(problem) from None
            if error.code == types.URL_ELICITATION_REQUIRED:
                raise
            raise McpToolError(f"the MCP server {self._server.name} answers: {error.message}") from None
        except ValidationError as error:
            form = f"its result has another form than the protocol's: {'; '.join(problems_of(error))}"
            raise McpToolError(f"the MCP server {self._server.name} has answered, and {form}") from None
        except RuntimeError as error:  # the SDK's word for a result that is not as the tool declares it
            said = self._shortened(str(error))
            raise McpToolError(f"the MCP server {self._server.name} has answered, and {said}") from None

    async def _hold(self, values: Values, ready: asyncio.Future[None]) -> None:
        within = self._server.start_within.total_seconds()
        problem = "has ended"
        try:
            with anyio.CancelScope(deadline=anyio.current_time() + within) as scope:
                async with (
                    opened(self._server, values, self._ended, self._stderr, self._sift) as streams,
                    Client(
                        _Given(streams),
                        mode="auto",
                        cache=None,
                        message_handler=self._heard,
                        elicitation_callback=self._asked_by_server,
                        client_info=types.Implementation(name="handfast", version=version("handfast")),
                    ) as client,
                ):
                    scope.deadline = math.inf
                    self._client = client
                    self._listening = asyncio.create_task(self._listen(client))
                    ready.set_result(None)
                    await self._until_end()
            if scope.cancelled_caught and self._client is None:
                problem = f"did not answer within {within:g} s"
        except Exception as error:  # noqa: BLE001 - whatever a transport raises: the server is not there
            problem = self._problem(error)
            if self._client is not None and not self._closing.is_set():
                gone = "the MCP server %s has gone (%s); it is started again when it is needed"
                logger.warning(gone, self._server.name, type(error).__name__)
        finally:
            self._ended.set()
            if self._listening is not None:
                self._listening.cancel()
            if not ready.done():
                ready.set_exception(McpUnavailableError(self._server.name, problem))

    async def _until_end(self) -> None:
        waits = [asyncio.create_task(event.wait()) for event in (self._ended, self._closing)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()

    async def _listen(self, client: Client) -> None:
        """Hear of changes of the tools, where the server tells of them to those who ask for it."""
        tools = client.server_capabilities.tools
        if client.protocol_version not in MODERN_PROTOCOL_VERSIONS or tools is None or not tools.list_changed:
            return
        try:
            async with client.listen(tools_list_changed=True) as subscription:
                async for _ in subscription:
                    self.changed.set()
        except Exception as error:  # noqa: BLE001 - without it the tools are listed more often
            logger.debug("the MCP server %s tells of no changes: %s", self._server.name, type(error).__name__)

    async def _asked_by_server(
        self, context: ClientRequestContext, params: types.ElicitRequestParams
    ) -> types.ElicitResult | types.ErrorData:
        """Ask people what a server of an older protocol asks while its session lives.

        Such a question does not say which call it belongs to: where several may ask, nobody is asked.
        """
        asking = [each for each in self.live_calls if each.may_ask]
        if len(asking) == 1:
            return await asking[0].ask(params)
        logger.warning(
            "the MCP server %s asks while %d calls of it are under way: nobody is asked", self._server.name, len(asking)
        )
        return types.ElicitResult(action="cancel")

    async def _heard(self, message: object) -> None:
        if isinstance(message, types.ToolListChangedNotification):
            self.changed.set()
        elif isinstance(message, Exception) and not self._told_of_noise:
            self._told_of_noise = True
            noise = "the MCP server %s sends what is no message, on its stdout perhaps; it is passed over"
            logger.warning(noise, self._server.name)

    def _problem(self, error: BaseException) -> str:
        """The reason why it could not be reached, in one sentence."""
        leaves = list(_leaves(error))
        said = next((each for each in leaves if isinstance(each, MCPError)), leaves[0])
        last = self._stderr.last
        if isinstance(said, OSError) and isinstance(self._server.transport, StdioTransport):
            text = f"could not be started: {said.strerror or said}: {self._server.transport.command}"
        elif isinstance(said, MCPError) and said.code == types.CONNECTION_CLOSED:
            text = f"ended at its start{f': {last}' if last else ''}"
        elif isinstance(said, MCPError):
            text = _told(said)
        elif isinstance(said, ValidationError):
            text = f"answers in another form than the protocol's: {'; '.join(problems_of(said))}"
        else:
            text = f"cannot be reached: {type(said).__name__}: {said}"
        return self._shortened(text)

    def _shortened(self, text: str) -> str:
        return cut(scrub(hidden_in(text, self.secrets)), PROBLEM_BYTES)[0]


class _Given:
    """Streams that are open already, as the SDK wants to enter them."""

    def __init__(self, streams: Any) -> None:
        self._streams = streams

    async def __aenter__(self) -> Any:
        return self._streams

    async def __aexit__(self, *_: object) -> None:
        return None


def _plain(listed: BaseModel) -> JsonObject:
    """Return a server's listing as JSON, without the fields that are for programs."""
    return listed.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"meta", "icons", "annotations"})


def _told(error: MCPError) -> str:
    if error.code in (NOT_REACHED, LOST):
        return error.message
    if error.code == types.METHOD_NOT_FOUND and error.message == "Not Found":
        return "answers HTTP 404: there is no MCP server at this address"
    return f"answers: {error.message}"


def _leaves(error: BaseException) -> Any:
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _leaves(each)
    else:
        yield error
