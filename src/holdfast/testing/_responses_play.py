"""What is done with one request: refused, looked up, or answered as the script says."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import Counter
from typing import Final, TypeAlias

from holdfast.testing._responses_build import build_response
from holdfast.testing._responses_check import check_key, check_request, read_body
from holdfast.testing._responses_conversation import Store
from holdfast.testing._responses_http import Exchange
from holdfast.testing._responses_record import Json, RecordedRequest, State
from holdfast.testing._responses_refusal import ApiRefusal, error_body
from holdfast.testing._responses_stream import encode_events
from holdfast.testing._script_steps import Delay, Drop, Fail, Gate, Hang, Reply, Step
from holdfast.testing.script import Script

Plan: TypeAlias = Reply | Fail | Hang | Drop | Delay | Gate | ApiRefusal | Json
"""A step of the script, a refusal, or a stored response that was asked for."""

_CREATE: Final = "/v1/responses"
_FAILURES: Final[dict[int, tuple[str, str | None]]] = {
    401: ("Incorrect API key provided.", "invalid_api_key"),
    404: ("The requested resource was not found.", None),
    429: ("Rate limit reached. Please try again later.", "rate_limit_exceeded"),
    503: ("The engine is currently overloaded, please try again later.", None),
}
_SERVER_FAILURE: Final = ("The server had an error while processing your request. Sorry about that!", None)
_CLIENT_FAILURE: Final = ("The request was refused.", None)


class Player:
    """Plays one script: holds what it keeps between requests.

    Args:
        script: What to answer.
    """

    def __init__(self, script: Script) -> None:
        self._choose = script.player()
        self._store = Store()
        self._gates: dict[str, asyncio.Event] = {}
        self._times: Counter[bytes] = Counter()

    def open(self, gate: str) -> None:
        """Let pass what waits at *gate*, now and later."""
        self._gate(gate).set()

    def plan(self, record: RecordedRequest, content: bytes) -> Plan:
        """Read a request into its record, and decide what to do with it."""
        record.content = content
        try:
            return self._plan(record, content)
        except ApiRefusal as refusal:
            return refusal

    async def play(self, plan: Plan, exchange: Exchange, record: RecordedRequest) -> State:
        """Carry out a plan, and return how the request ended."""
        while isinstance(plan, Delay | Gate):
            await (asyncio.sleep(plan.seconds) if isinstance(plan, Delay) else self._gate(plan.name).wait())
            plan = plan.then
        match plan:
            case Reply():
                await self._reply(plan, exchange, record)
                return "answered"
            case Fail():
                await self._fail(plan, exchange, record)
                return "failed"
            case Hang():
                await (asyncio.Event().wait() if plan.seconds is None else asyncio.sleep(plan.seconds))
                return "dropped"
            case Drop():
                await self._drop(plan, exchange, record)
                return "dropped"
            case ApiRefusal():
                await _send(exchange, record, plan.status, plan.body())
                return "refused"
            case _:
                await _send(exchange, record, 200, plan)
                return "answered"

    def _token(self, content: bytes) -> str:
        """What ids of a reply end with: new for every reply, and equal where equal requests came in equal number, so
        that what two servers were sent can be compared byte by byte."""
        request = hashlib.sha256(content).digest()
        self._times[request] += 1
        return hashlib.sha256(request + str(self._times[request]).encode()).hexdigest()[:40]

    def _gate(self, name: str) -> asyncio.Event:
        return self._gates.setdefault(name, asyncio.Event())

    def _plan(self, record: RecordedRequest, content: bytes) -> Plan:
        found = record.method == "GET" and record.path.startswith(f"{_CREATE}/")
        if record.path != _CREATE and not found:
            raise ApiRefusal(f"Invalid URL ({record.method} {record.path})", status=404)
        if not found and record.method != "POST":
            raise ApiRefusal(f"Not allowed to {record.method} on {record.path}.", status=405)
        check_key(record.headers)
        if found:
            return self._stored(record.path.removeprefix(f"{_CREATE}/"))
        record.body = read_body(record.headers, content)
        record.items = check_request(record.body, self._store)
        return self._step(record)

    def _stored(self, response_id: str) -> Json:
        if response_id not in self._store.responses:
            raise ApiRefusal(f"Response with id '{response_id}' not found.", status=404)
        return self._store.responses[response_id]

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

    def _response(self, reply: Reply, record: RecordedRequest) -> tuple[Json, str]:
        """Return the response, stored if that was asked for, and its media type."""
        response = build_response(reply, record.body, record.items, self._token(record.content))
        if response["store"]:
            self._store.keep(response, record.items)
        else:
            self._store.remember(response)
        return response, "text/event-stream; charset=utf-8" if record.body.get("stream") else "application/json"

    async def _reply(self, reply: Reply, exchange: Exchange, record: RecordedRequest) -> None:
        response, media = self._response(reply, record)
        record.status, record.reply = 200, response
        if record.body.get("stream"):
            await exchange.stream(200, encode_events(response), media, _headers(record))
        else:
            await exchange.send(200, json.dumps(response).encode(), media, _headers(record))

    async def _fail(self, fail: Fail, exchange: Exchange, record: RecordedRequest) -> None:
        default = _FAILURES.get(fail.status, _SERVER_FAILURE if fail.status >= 500 else _CLIENT_FAILURE)
        message = default[0] if fail.message is None else fail.message
        body = error_body(fail.status, message, default[1] if fail.code is None else fail.code)
        extra = {} if fail.retry_after is None else {"retry-after": f"{fail.retry_after:g}"}
        await _send(exchange, record, fail.status, body, extra)

    async def _drop(self, drop: Drop, exchange: Exchange, record: RecordedRequest) -> None:
        if drop.after_bytes <= 0:
            return
        response, media = self._response(drop.then, record)
        stream = bool(record.body.get("stream"))
        body = b"".join(encode_events(response)) if stream else json.dumps(response).encode()
        record.status = 200
        await exchange.cut(200, body, media, drop.after_bytes)


def _headers(record: RecordedRequest) -> dict[str, str]:
    return {"x-request-id": f"req_{record.number}"}


async def _send(
    exchange: Exchange, record: RecordedRequest, status: int, body: Json, extra: dict[str, str] | None = None
) -> None:
    record.status, record.reply = status, body
    await exchange.send(status, json.dumps(body).encode(), "application/json", _headers(record) | (extra or {}))
