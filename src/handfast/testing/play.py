"""Plays one request: refuses it, looks it up, or answers as the script says."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator, Mapping
from typing import Any, Final, TypeAlias, TypeVar

from handfast.testing._script_steps import (
    Compacted,
    Delay,
    Drop,
    Fail,
    Gate,
    Hang,
    Pause,
    Reply,
    Step,
    Verbatim,
)
from handfast.testing.chat.build import build_completion, refuse_unplayable
from handfast.testing.chat.check import check_completion
from handfast.testing.chat.dialects import chat_dialect
from handfast.testing.chat.stream import DONE, chunks_of, encode_chunk, head_of, writes
from handfast.testing.chat.thoughts import Thoughts
from handfast.testing.record import COMPLETIONS, Json, RecordedRequest, State
from handfast.testing.responses.build import build_response
from handfast.testing.responses.check import check_key, check_request, read_body
from handfast.testing.responses.compaction import COMPACT, build_compaction
from handfast.testing.responses.conversation import Store
from handfast.testing.responses.dialect import Dialect
from handfast.testing.responses.dialects import ENCRYPTED
from handfast.testing.responses.http import Exchange
from handfast.testing.responses.lookup import Follow, Lookups
from handfast.testing.responses.making import Making
from handfast.testing.responses.params import conversation_named
from handfast.testing.responses.refusal import ApiRefusal
from handfast.testing.responses.stream import (
    encode_event,
    encode_verbatim,
    error_event,
    failed_event,
    first_events,
    is_delta,
    later_events,
)
from handfast.testing.script import Script

Plan: TypeAlias = Reply | Compacted | Fail | Verbatim | Hang | Drop | Delay | Gate | Pause | ApiRefusal | Follow | Json
"""A step of the script, a refusal, or something stored that was asked for."""

Act: TypeAlias = Reply | Compacted | Fail | Verbatim | Hang | Drop | Pause
"""A step without what has to be waited for before it."""

_CREATE: Final = "/v1/responses"
_EVENTS: Final = "text/event-stream; charset=utf-8"
_FAILURES: Final[dict[int, tuple[str, str | None]]] = {
    401: ("Incorrect API key provided.", "invalid_api_key"),
    404: ("The requested resource was not found.", None),
    429: ("Rate limit reached. Please try again later.", "rate_limit_exceeded"),
    503: ("The engine is currently overloaded, please try again later.", None),
}
_SERVER_FAILURE: Final = ("The server had an error while processing your request. Sorry about that!", None)
_CLIENT_FAILURE: Final = ("The request was refused.", None)


T = TypeVar("T")


class Player:
    """Plays one script: holds what it keeps between requests.

    Args:
        script: What to answer.
        dialect: How a server of some kind answers.
    """

    def __init__(self, script: Script, dialect: Dialect) -> None:
        self._choose = script.player()
        self._dialect = dialect
        self._store = Store(strict=dialect.strict)
        self._chat = chat_dialect(dialect.name)
        self._thoughts = Thoughts(self._chat.thoughts)
        self._makings: dict[str, Making] = {}
        self._lookups = Lookups(self._store, self._makings, dialect)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._gates: dict[str, asyncio.Event] = {}
        self._times: Counter[bytes] = Counter()

    def open(self, gate: str) -> None:
        """Let pass what waits at *gate*, now and later."""
        self._gate(gate).set()

    def add_file(self, id: str) -> None:
        """Let a file of that id be there."""
        self._store.files.add(id)

    def forget(self, id: str) -> bool:
        """Drop a stored response or a conversation; whether it was known."""
        making = self._makings.pop(id, None)
        if making is not None:
            making.cancel()
        return self._store.forget(id) or self._store.conversations.forget(id)

    async def close(self) -> None:
        """Stop making what is made in the background."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def plan(self, record: RecordedRequest, content: bytes) -> Plan:
        """Read a request into its record, and decide what to do with it."""
        record.content = content
        try:
            return self._plan(record, content)
        except ApiRefusal as refusal:
            return refusal

    async def play(self, plan: Plan, exchange: Exchange, record: RecordedRequest) -> State:
        """Carry out a plan, and return how the request ended."""
        if isinstance(plan, Reply | Delay | Gate | Pause | Fail) and self._is_made_later(plan, record):
            return await self._in_background(plan, exchange, record)
        made: Json | None = None
        if isinstance(plan, Reply | Compacted | Delay | Gate | Pause | Fail | Verbatim | Drop | Hang):
            plan, made = await self._waited(plan, record)
        match plan:
            case Reply():
                await self._reply(made or self._response(plan, record), exchange, record)
                return "answered"
            case Compacted():
                await _send(exchange, record, 200, self._compacted(plan, record))
                return "answered"
            case Pause():
                await self._reply(made or self._response(plan.then, record), exchange, record, plan)
                return "answered" if plan.error is None else "failed"
            case Fail():
                await self._fail(plan, exchange, record)
                return "failed"
            case Verbatim():
                await self._verbatim(plan, exchange, record)
                return "answered" if plan.status < 400 else "failed"
            case Hang():
                await (asyncio.Event().wait() if plan.seconds is None else asyncio.sleep(plan.seconds))
                return "dropped"
            case Drop():
                await self._drop(plan, exchange, record, made)
                return "dropped"
            case ApiRefusal():
                body = self._error(plan.status, plan.message, plan.code, plan.param, record.path)
                await _send(exchange, record, plan.status, body)
                return "refused"
            case Follow():
                record.status = 200
                await exchange.stream(200, plan.events, _EVENTS, _headers(record))
                return "answered"
            case _:
                await _send(exchange, record, 200, plan)
                return "answered"

    def _is_made_later(self, step: Step, record: RecordedRequest) -> bool:
        asked = self._dialect.background and bool(record.body.get("background"))
        return asked and not (isinstance(step, Fail) and step.inside is None)

    async def _waited(self, step: Step, record: RecordedRequest) -> tuple[Act, Json | None]:
        """Go through what has to be waited for; on a conversation the response is made too, even if nobody is left
        to get it: as with the real API, hanging up does not unmake it."""
        conversation = conversation_named(record.body.get("conversation"))
        if conversation is None:
            return await self._through(step), None
        self._store.conversations.lock(conversation)
        return await asyncio.shield(self._spawn(self._on_conversation(step, record, conversation)))

    async def _on_conversation(self, step: Step, record: RecordedRequest, conversation: str) -> tuple[Act, Json | None]:
        try:
            act = await self._through(step)
            begins = isinstance(act, Pause) or (isinstance(act, Drop) and act.after_bytes > 0)
            reply = act.then if isinstance(act, Pause | Drop) and begins else act
            return act, self._response(reply, record) if isinstance(reply, Reply) else None
        finally:
            self._store.conversations.unlock(conversation)

    async def _through(self, step: Step) -> Act:
        while isinstance(step, Delay | Gate):
            await (asyncio.sleep(step.seconds) if isinstance(step, Delay) else self._gate(step.name).wait())
            step = step.then
        return step

    def _spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _in_background(self, step: Step, exchange: Exchange, record: RecordedRequest) -> State:
        """Answer at once, and make the response meanwhile."""
        token = self._token(record.content)
        response = self._built(Reply(), record, token)
        queued = {**response, "status": "queued", "completed_at": None, "usage": None}
        making = Making(queued, streamed=bool(record.body.get("stream")))
        self._makings[response["id"]] = making
        self._store.responses[response["id"]] = making.response
        conversation = conversation_named(record.body.get("conversation"))
        if conversation is not None:
            self._store.conversations.lock(conversation)
        record.status, record.reply = 200, making.response
        answer = json.dumps(making.response).encode()  # before it begins
        making.task = self._spawn(self._make(making, step, record, token))
        if record.body.get("stream"):
            await exchange.stream(200, making.follow(None), _EVENTS, _headers(record))
        else:
            await exchange.send(200, answer, "application/json", _headers(record))
        return "answered"

    async def _make(self, making: Making, step: Step, record: RecordedRequest, token: str) -> None:
        making.begin()
        try:
            act = await self._through(step)
            if isinstance(act, Pause):
                await self._gate(act.name).wait()
                act = act.then
            match act:
                case Reply() as reply:
                    made = self._built(reply, record, token)
                    making.stands(made, later_events(made))
                    self._keep(making.response, record)
                case Fail() as fail:
                    message, code = _failure(fail)
                    making.fail(code or "server_error", message, event=fail.inside == "event")
                case _:
                    await asyncio.Event().wait()  # it never comes to an end
        finally:
            conversation = conversation_named(record.body.get("conversation"))
            if conversation is not None:
                self._store.conversations.unlock(conversation)

    def _token(self, content: bytes) -> str:
        """Return the end of a reply's ids: new for every reply, and equal where equal requests came in equal number, so
        that what two servers were sent can be compared byte by byte."""
        request = hashlib.sha256(content).digest()
        self._times[request] += 1
        return hashlib.sha256(request + str(self._times[request]).encode()).hexdigest()[:40]

    def _gate(self, name: str) -> asyncio.Event:
        return self._gates.setdefault(name, asyncio.Event())

    def _plan(self, record: RecordedRequest, content: bytes) -> Plan:
        self._lookups.refuse_unknown(record)
        check_key(record.headers)
        if record.path == COMPLETIONS:
            return self._completion(record, content)
        compact = record.path == COMPACT
        if record.path != _CREATE and not compact:
            return self._lookups.answer(record, content)
        record.body = read_body(record.headers, content)
        self._dialect.check(record.body)
        record.items = check_request(record.body, self._store, compact=compact, strict=self._dialect.strict)
        step = self._step(record)
        if compact is not isinstance(_last(step), Compacted) and isinstance(_last(step), Compacted | Reply):
            wanted = "Compacted" if compact else "Reply"
            raise ApiRefusal(f"request {record.number} needs a {wanted} in the script", code="script_failed")
        return step

    def _completion(self, record: RecordedRequest, content: bytes) -> Step:
        record.body = read_body(record.headers, content)
        record.items = check_completion(record.body, self._thoughts, self._chat)
        step = self._step(record)
        last = _last(step)
        if isinstance(last, Compacted):
            raise ApiRefusal(f"request {record.number} needs a Reply in the script", code="script_failed")
        reply = last.then if isinstance(last, Pause | Drop) else last
        if isinstance(reply, Reply):
            refuse_unplayable(reply)
        return step

    def _step(self, record: RecordedRequest) -> Step:
        try:
            step = self._choose(record)
        except Exception as error:
            message = f"the script failed for request {record.number}: {error!r}"
            raise ApiRefusal(message, code="script_failed") from error
        if step is None:
            message = f"the script has no step for request {record.number}"
            raise ApiRefusal(message, code="script_exhausted")
        return step

    def _response(self, reply: Reply, record: RecordedRequest) -> Json:
        """Make the response, and keep it if that was asked for."""
        if record.path == COMPLETIONS:
            completion = build_completion(reply, record.body, record.items, self._token(record.content))
            completion = self._chat.reply(completion, record.body)
            self._thoughts.shown(completion["choices"][0]["message"])
            return completion
        response = self._built(reply, record, self._token(record.content))
        self._keep(response, record)
        return response

    def _built(self, reply: Reply, record: RecordedRequest, token: str) -> Json:
        """Make the response in the server's form."""
        encrypted = self._dialect.encrypts == "always" or ENCRYPTED in (record.body.get("include") or ())
        response = build_response(reply, record.body, record.items, token, encrypted=encrypted)
        return self._dialect.reply(response, record.body)

    def _compacted(self, step: Compacted, record: RecordedRequest) -> Json:
        made = build_compaction(step, record.body, record.items, self._token(record.content))
        self._store.remember(made)
        return made

    def _keep(self, response: Json, record: RecordedRequest) -> None:
        if not (self._dialect.stores and response.get("store")):
            self._store.remember(response)
        else:
            self._store.keep(response, record.items)
        conversation = conversation_named(record.body.get("conversation"))
        if conversation is not None and response["status"] != "failed":
            self._store.conversations.grow(conversation, record.items, response)

    async def _reply(
        self, response: Json, exchange: Exchange, record: RecordedRequest, pause: Pause | None = None
    ) -> None:
        record.status, record.reply = 200, response
        if record.body.get("stream"):
            await exchange.stream(200, self._streamed(response, record, pause), _EVENTS, _headers(record))
        else:
            if pause is not None:
                await self._gate(pause.name).wait()
            await exchange.send(200, json.dumps(response).encode(), "application/json", _headers(record))

    async def _streamed(self, response: Json, record: RecordedRequest, pause: Pause | None) -> AsyncIterator[bytes]:
        deltas = 0
        for number, (event, is_piece) in enumerate(self._encoded(response, record)):
            yield event
            deltas += is_piece
            if pause is not None and is_piece and deltas == pause.after:
                await self._gate(pause.name).wait()
                if pause.error is not None and record.path == COMPLETIONS:
                    error = self._error(500, _SERVER_FAILURE[0], pause.error, None, record.path)
                    yield self._broken(error, record)
                    return
                if pause.error is not None:
                    yield encode_event(number + 1, error_event(pause.error, _SERVER_FAILURE[0]))
                    return

    def _encoded(self, response: Json, record: RecordedRequest) -> Iterator[tuple[bytes, bool]]:
        """Encode the events that tell of a response; of each, whether it is a delta."""
        if record.path == COMPLETIONS:
            yield from self._chunks(response, record)
            return
        yield from self._framed([*first_events(response), *later_events(response)])

    def _framed(self, told: Iterable[Json]) -> Iterator[tuple[bytes, bool]]:
        """Encode the events of a whole stream as the server writes them."""
        dialect = self._dialect
        events = list(dialect.events(told))
        for number, event in enumerate(events):
            encoded = encode_event(number, event, named=dialect.names_events)
            begins, ends = number == 0, number == len(events) - 1
            yield (dialect.before if begins else b"") + encoded + (dialect.after if ends else b""), is_delta(event)

    def _chunks(self, completion: Json, record: RecordedRequest) -> Iterator[tuple[bytes, bool]]:
        """Encode the chunks of a completion; of each, whether it is a piece of what the model writes."""
        before = self._chat.before
        for chunk in self._chat.chunks(chunks_of(completion, record.body), completion):
            yield before + encode_chunk(chunk), writes(chunk)
            before = b""
        yield DONE, False

    def _error(self, status: int, message: str, code: str | None, param: str | None, path: str) -> Json:
        """An error in the form of the API that was asked."""
        made = (self._chat.error or self._dialect.error) if path == COMPLETIONS else self._dialect.error
        return made(status, message, code, param)

    def _broken(self, error: Json, record: RecordedRequest) -> bytes:
        """An error as the last chunk of a stream."""
        head = head_of(self._token(record.content), record.body)
        return encode_chunk(self._chat.broken(error, head), name="error" if self._chat.names_errors else None)

    async def _fail(self, fail: Fail, exchange: Exchange, record: RecordedRequest) -> None:
        message, code = _failure(fail)
        body = self._error(fail.status, message, code, fail.param, record.path)
        extra = {} if fail.retry_after is None else {"retry-after": f"{fail.retry_after:g}"}
        extra |= fail.headers
        if fail.inside is None:
            await _send(exchange, record, fail.status, body, extra)
        elif fail.inside == "event" and not record.body.get("stream"):
            await _send(exchange, record, 200, body, extra)
        else:
            await self._fail_inside(fail, exchange, record, extra)

    async def _fail_inside(
        self, fail: Fail, exchange: Exchange, record: RecordedRequest, extra: Mapping[str, str]
    ) -> None:
        """Begin a response, and end it as failed."""
        message, code = _failure(fail)
        if record.path == COMPLETIONS:
            body = self._error(fail.status, message, code, fail.param, record.path)
            if not record.body.get("stream"):
                await _send(exchange, record, 200, body, extra)
                return
            record.status, record.reply = 200, body
            await exchange.stream(200, [self._broken(body, record)], _EVENTS, {**_headers(record), **extra})
            return
        response = self._built(Reply(), record, self._token(record.content))
        failed = {**response, "status": "failed", "completed_at": None, "usage": None}
        failed["error"] = {"code": code or "server_error", "message": message}
        if not record.body.get("stream"):
            await _send(exchange, record, 200, failed, extra)
            return
        record.status, record.reply = 200, failed
        told = [*first_events(failed)]
        last = error_event(code, message, fail.param) if fail.inside == "event" else failed_event(failed)
        events = [event for event, _ in self._framed([*told, last])]
        await exchange.stream(200, events, _EVENTS, {**_headers(record), **extra})

    async def _verbatim(self, step: Verbatim, exchange: Exchange, record: RecordedRequest) -> None:
        headers = {name.lower(): value for name, value in step.headers.items()}
        media = headers.pop("content-type", None)
        record.status = step.status
        self._thoughts.sent(json.dumps([step.body, step.events]))
        if step.events is not None and record.body.get("stream"):
            events = [encode_verbatim(event) for event in step.events]
            await exchange.stream(step.status, events, media or _EVENTS, _headers(record) | headers)
            return
        record.reply = step.body if isinstance(step.body, dict) else None
        body = step.body if isinstance(step.body, str) else json.dumps(step.body)
        content = body.encode(errors="surrogatepass")
        await exchange.send(step.status, content, media or "application/json", _headers(record) | headers)

    async def _drop(self, drop: Drop, exchange: Exchange, record: RecordedRequest, made: Json | None) -> None:
        if drop.after_bytes <= 0:
            return
        response = made or self._response(drop.then, record)
        stream = bool(record.body.get("stream"))
        body = (
            b"".join(event for event, _ in self._encoded(response, record)) if stream else json.dumps(response).encode()
        )
        record.status = 200
        await exchange.cut(200, body, _EVENTS if stream else "application/json", drop.after_bytes)


def _last(step: Step) -> Act:
    while isinstance(step, Delay | Gate):
        step = step.then
    return step


def _failure(fail: Fail) -> tuple[str, str | None]:
    """The message and the code of a failure."""
    default = _FAILURES.get(fail.status, _SERVER_FAILURE if fail.status >= 500 else _CLIENT_FAILURE)
    return default[0] if fail.message is None else fail.message, default[1] if fail.code is None else fail.code


def _headers(record: RecordedRequest) -> dict[str, str]:
    return {"x-request-id": f"req_{record.number}"}


async def _send(
    exchange: Exchange, record: RecordedRequest, status: int, body: Json, extra: Mapping[str, str] | None = None
) -> None:
    record.status, record.reply = status, body
    await exchange.send(status, json.dumps(body).encode(), "application/json", {**_headers(record), **(extra or {})})
