"""A local server of Anthropic's Messages API, made from its documentation: strict, and with a script.

Requests are checked by the typed parameters of the `anthropic` package, and by the rules that hold between blocks: each
call answered right behind it, thinking word for word as it was sent, no empty texts. Refusals are worded as the API
does, where that is known.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Literal, Self, TypeAlias

from anthropic.types import MessageParam
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming, MessageCreateParamsStreaming

from handfast.testing import Drop, Fail, Gate, Pause, Reply, Verbatim
from handfast.testing._script_outputs import Call, Output, Reasoning, Refusal, Text
from handfast.testing.chat.types import check_shape
from handfast.testing.record import Json
from handfast.testing.responses.http import Connection, Exchange
from handfast.testing.responses.refusal import ApiRefusal
from handfast.testing.responses.stream import encode_verbatim, pieces

REDACTED: Final = "redacted"
"""The summary of a `Reasoning` that comes encrypted, as a ``redacted_thinking`` block."""
Step: TypeAlias = Reply | Fail | Drop | Gate | Pause | Verbatim
_ERRORS: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}
_CONSULT: Final = (
    "When `thinking` is enabled, a final `assistant` message must start with a thinking block (preceeding the lastmost "
    "set of `tool_use` and `tool_result` blocks)."
)


@dataclass
class Asked:
    """One request, as it came in."""

    path: str
    headers: dict[str, str]
    body: Json
    query: dict[str, str]
    state: Literal["open", "answered", "refused", "dropped"] = "open"

    @property
    def blocks(self) -> list[Json]:
        """The blocks of all messages, in order."""
        return [block for message in self.body["messages"] for block in _blocks(message)]


@dataclass
class AnthropicServer:
    """Plays a script; see the module.

    Attributes:
        requests: All requests, refused ones included.
        violations: What was refused, in the words of the refusal.
    """

    script: Sequence[Step]
    requests: list[Asked] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    port: int = 0
    _sent: list[Json] = field(default_factory=list)
    _gates: dict[str, asyncio.Event] = field(default_factory=dict)
    _connections: dict[asyncio.Task[None], Connection] = field(default_factory=dict)

    def play(self, script: Sequence[Step]) -> None:
        """Go on with another script."""
        self._steps: Iterator[Step] = iter(script)

    async def __aenter__(self) -> Self:
        self.play(self.script)
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task, connection in self._connections.items():
            task.cancel()
            connection.abort()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def base_url(self) -> str:
        """The address for the provider's client."""
        return f"http://127.0.0.1:{self.port}"

    def open(self, gate: str) -> None:
        """Let pass what waits at *gate*."""
        self._gates.setdefault(gate, asyncio.Event()).set()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(reader, writer, self._handle)
        task = asyncio.ensure_future(connection.serve())
        self._connections[task] = connection
        task.add_done_callback(self._connections.pop)

    async def _handle(self, exchange: Exchange) -> None:
        request = exchange.request
        body = json.loads(request.body) if request.body else {}
        asked = Asked(request.path, request.headers, body, dict(request.query))
        self.requests.append(asked)
        try:
            self._check(asked)
        except ApiRefusal as refusal:
            asked.state = "refused"
            self.violations.append(refusal.message)
            await exchange.send(refusal.status, _error(refusal.status, refusal.message))
            return
        await self._play(next(self._steps), exchange, asked)

    # --- answers ---

    async def _play(self, step: Step, exchange: Exchange, asked: Asked) -> None:
        stream = bool(asked.body.get("stream"))
        match step:
            case Gate():
                await self._gates.setdefault(step.name, asyncio.Event()).wait()
                assert isinstance(step.then, Reply | Fail)
                await self._play(step.then, exchange, asked)
            case Fail():
                said = step.message or {429: "This request would exceed your rate limit.", 529: "Overloaded"}.get(
                    step.status, "It failed."
                )
                headers = {} if step.retry_after is None else {"retry-after": f"{step.retry_after:g}"}
                if step.inside is not None:
                    error = _event("error", json.loads(_error(step.status, said)))
                    begun = [_event("message_start", {"message": {**self._message(Reply(), asked), "content": []}})]
                    await exchange.stream(200, [*begun, error], "text/event-stream; charset=utf-8", {})
                else:
                    await exchange.send(step.status, _error(step.status, said), headers=headers)
            case Drop():
                message = self._message(step.then, asked)
                body = b"".join(message_events(message)) if stream else json.dumps(message).encode()
                media = "text/event-stream" if stream else "application/json"
                await exchange.cut(200, body, media, step.after_bytes)
                asked.state = "dropped"
                return
            case Verbatim():
                given = step.headers.get("content-type")
                if stream and step.events is not None:
                    told = [encode_verbatim(event) for event in step.events]
                    await exchange.stream(step.status, told, given or "text/event-stream; charset=utf-8", {})
                else:
                    content = step.body if isinstance(step.body, str) else json.dumps(step.body)
                    await exchange.send(step.status, content.encode(), given or "application/json")
            case Reply() | Pause():
                message = self._message(step if isinstance(step, Reply) else step.then, asked)
                self._sent.append(message)
                if stream:
                    events = self._paced(message_events(message), step if isinstance(step, Pause) else None)
                    await exchange.stream(200, events, "text/event-stream; charset=utf-8", {})
                else:
                    await exchange.send(200, json.dumps(message).encode())
        asked.state = "answered"

    async def _paced(self, events: Iterator[bytes], pause: Pause | None) -> AsyncIterator[bytes]:
        deltas = 0
        for event in events:
            yield event
            deltas += b"content_block_delta" in event
            if pause is not None and b"content_block_delta" in event and deltas == pause.after:
                await self._gates.setdefault(pause.name, asyncio.Event()).wait()

    def _message(self, reply: Reply, asked: Asked) -> Json:
        number = len(self.requests)
        blocks = [_block(each, f"{number}{place}") for place, each in enumerate(reply.outputs)]
        content = [block for block in blocks if block is not None]
        called = any(block["type"] == "tool_use" for block in content)
        stop = "tool_use" if called else "end_turn"
        if any(isinstance(each, Refusal) for each in reply.outputs):
            stop = "refusal"
        if reply.status == "incomplete":
            stop = "max_tokens"
        used = reply.usage
        return {
            "id": f"msg_{number:04}",
            "type": "message",
            "role": "assistant",
            "model": asked.body["model"],
            "content": content,
            "stop_reason": stop,
            "stop_sequence": None,
            "usage": {
                "input_tokens": used.input_tokens - used.cached_tokens if used else 10,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": used.cached_tokens if used else 0,
                "output_tokens": used.output_tokens if used else 5,
                "service_tier": "standard",
            },
        }

    # --- checks ---

    def _check(self, asked: Asked) -> None:
        if asked.path != "/v1/messages":
            raise ApiRefusal("Not Found", status=404)
        if asked.headers.get("x-api-key") != "test":
            raise ApiRefusal("invalid x-api-key", status=401)
        if asked.headers.get("anthropic-version") != "2023-06-01":
            raise ApiRefusal("anthropic-version: header is required")
        body = asked.body
        check_shape(
            MessageCreateParamsStreaming if body.get("stream") else MessageCreateParamsNonStreaming,
            {**body, "messages": []},
        )
        thinking = body.get("thinking") or {"type": "disabled"}
        if thinking["type"] == "enabled" and not 1024 <= thinking["budget_tokens"] < body["max_tokens"]:
            raise ApiRefusal("`max_tokens` must be greater than `thinking.budget_tokens`.")
        if thinking["type"] != "disabled" and (body.get("tool_choice") or {}).get("type") in ("any", "tool"):
            raise ApiRefusal("Thinking may not be enabled when tool_choice forces tool use.")
        if body.get("tool_choice") is not None and not body.get("tools"):
            raise ApiRefusal("tool_choice may only be specified while providing tools.")
        schema = ((body.get("output_config") or {}).get("format") or {}).get("schema")
        if schema is not None:
            _check_schema(schema)
        self.check_messages(body["messages"])
        self._check_thoughts(body["messages"], budgeted=thinking["type"] == "enabled")

    def check_messages(self, messages: list[Json]) -> None:
        if not messages or messages[0]["role"] != "user":
            raise ApiRefusal('messages: first message must use the "user" role')
        open_calls: list[str] = []
        for number, message in enumerate(messages):
            check_shape(MessageParam, message, f"messages.{number}")
            answered = [block["tool_use_id"] for block in _blocks(message) if block["type"] == "tool_result"]
            if missing := [each for each in open_calls if each not in answered]:
                raise ApiRefusal(
                    f"messages.{number - 1}: `tool_use` ids were found without `tool_result` blocks immediately after: "
                    f"{', '.join(missing)}. Each `tool_use` block must have a corresponding `tool_result` block in the "
                    "next message."
                )
            if unknown := [each for each in answered if each not in open_calls]:
                raise ApiRefusal(
                    f"messages.{number}: unexpected `tool_use_id` found in `tool_result` blocks: {unknown[0]}. Each "
                    "`tool_result` block must have a corresponding `tool_use` block in the previous message."
                )
            kinds = [block["type"] for block in _blocks(message)]
            if "tool_result" in kinds[len(answered) :]:
                raise ApiRefusal(f"messages.{number}: `tool_result` blocks must come first")
            for place, block in enumerate(_blocks(message)):
                if block["type"] == "text" and not block["text"].strip():
                    raise ApiRefusal("messages: text content blocks must contain non-whitespace text")
                if block["type"] == "tool_use" and re.fullmatch("[a-zA-Z0-9_-]+", block["id"]) is None:
                    raise ApiRefusal(
                        f"messages.{number}.content.{place}.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'"
                    )
            open_calls = [block["id"] for block in _blocks(message) if block["type"] == "tool_use"]
        if open_calls:
            raise ApiRefusal(f"messages.{len(messages) - 1}: `tool_use` ids were found without `tool_result` blocks")

    def _check_thoughts(self, messages: list[Json], *, budgeted: bool) -> None:
        sent = [[block for block in each["content"] if "thinking" in block["type"]] for each in self._sent]
        known = [block for blocks in sent for block in blocks]
        last = max((n for n, each in enumerate(messages) if each["role"] == "assistant"), default=None)
        for number, message in enumerate(messages):
            for place, block in enumerate(_blocks(message)):
                if "thinking" not in block["type"]:
                    continue
                if block not in known and number != last:
                    raise ApiRefusal(f"messages.{number}.content.{place}: Invalid `signature` in `thinking` block")
                if block not in known:
                    raise ApiRefusal(_modified(number, place))
        if last is None or last == len(messages) - 1:
            return
        blocks = _blocks(messages[last])
        calls = [block["id"] for block in blocks if block["type"] == "tool_use"]
        origin = next((each for each in self._sent if calls and calls == _calls(each)), None)
        if origin is not None and blocks != origin["content"]:
            place = next(
                (n for n, (a, b) in enumerate(zip(blocks, origin["content"], strict=False)) if a != b), len(blocks)
            )
            raise ApiRefusal(_modified(last, place))
        if budgeted and calls and "thinking" not in blocks[0]["type"] and _in_turn(messages, last):
            found = blocks[0]["type"]
            told = f"Expected `thinking` or `redacted_thinking`, but found `{found}`."
            raise ApiRefusal(f"messages.{last}.content.0.type: {told} {_CONSULT}")


def _in_turn(messages: list[Json], last: int) -> bool:
    """Whether the message is the first of a turn: later ones of it may begin with a call."""
    before = _blocks(messages[last - 1]) if last else []
    return any(block["type"] != "tool_result" for block in before)


def _modified(number: int, place: int) -> str:
    return (
        f"messages.{number}.content.{place}: `thinking` or `redacted_thinking` blocks in the latest assistant message "
        "cannot be modified. These blocks must remain as they were in the original response."
    )


def _check_schema(schema: Any) -> None:
    """Structured output takes closed objects, and few keywords."""
    if isinstance(schema, list):
        for each in schema:
            _check_schema(each)
    if not isinstance(schema, dict):
        return
    if schema.get("type") == "object" and schema.get("additionalProperties") is not False:
        raise ApiRefusal("output_config.format.schema: For 'object' type, 'additionalProperties' must be set to false")
    for name in ("minimum", "maximum", "minLength", "maxLength", "multipleOf", "pattern"):
        if name in schema and not isinstance(schema[name], dict):
            raise ApiRefusal(f"output_config.format.schema: For '{schema.get('type')}' type, '{name}' is not supported")
    for value in schema.values():
        _check_schema(value)


def _blocks(message: Json) -> list[Json]:
    content = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _calls(message: Json) -> list[str]:
    return [block["id"] for block in message["content"] if block["type"] == "tool_use"]


def _block(output: Output, token: str) -> Json | None:
    match output:
        case Text():
            return {"type": "text", "text": output.text}
        case Call():
            made = output.arguments if isinstance(output.arguments, dict) else json.loads(output.arguments)
            return {"type": "tool_use", "id": output.call_id or f"toolu_{token}", "name": output.name, "input": made}
        case Reasoning() if output.summary == REDACTED:
            return {"type": "redacted_thinking", "data": base64.b64encode(f"hidden {token}".encode()).decode()}
        case Reasoning():
            signature = base64.b64encode(f"signature of {token}".encode()).decode()
            return {"type": "thinking", "thinking": output.summary, "signature": signature}
        case Refusal():
            return {"type": "text", "text": output.text} if output.text else None
        case _:
            raise AssertionError(f"the Messages API has no {output.kind}")


def message_events(message: Json) -> Iterator[bytes]:
    begun = {**message, "content": [], "stop_reason": None, "usage": {**message["usage"], "output_tokens": 1}}
    yield _event("message_start", {"message": begun})
    yield _event("ping", {})
    for index, block in enumerate(message["content"]):
        yield from _block_events(index, block)
    ended = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    yield _event("message_delta", {"delta": ended, "usage": {"output_tokens": message["usage"]["output_tokens"]}})
    yield _event("message_stop", {})


def _block_events(index: int, block: Json) -> Iterator[bytes]:
    empty: dict[str, Json] = {
        "text": {"text": ""},
        "thinking": {"thinking": "", "signature": ""},
        "tool_use": {"input": {}},
    }
    begun = {**block, **empty.get(block["type"], {})}
    yield _event("content_block_start", {"index": index, "content_block": begun})
    deltas: list[Json] = []
    match block["type"]:
        case "text":
            deltas = [{"type": "text_delta", "text": piece} for piece in pieces(block["text"])]
        case "thinking":
            deltas = [{"type": "thinking_delta", "thinking": piece} for piece in pieces(block["thinking"])]
            deltas.append({"type": "signature_delta", "signature": block["signature"]})
        case "tool_use":
            written = json.dumps(block["input"]) if block["input"] else ""
            deltas = [{"type": "input_json_delta", "partial_json": piece} for piece in ("", *pieces(written))]
    for delta in deltas:
        yield _event("content_block_delta", {"index": index, "delta": delta})
    yield _event("content_block_stop", {"index": index})


def _event(name: str, data: Json) -> bytes:
    return f"event: {name}\ndata: {json.dumps({'type': name, **data})}\n\n".encode()


def _error(status: int, message: str) -> bytes:
    kind = _ERRORS.get(status, "api_error" if status >= 500 else "invalid_request_error")
    return json.dumps({"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_1"}).encode()
