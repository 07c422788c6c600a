"""The OpenAI Responses API, through any client of the `openai` package."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final

import httpx2
import openai

from holdfast.errors import JsonProfileError
from holdfast.models.port import ModelAnswer, ModelCallError, ModelRequest
from holdfast.payloads.json_profile import MAX_INTEGER, JsonObject, check_json, scrub, scrub_json
from holdfast.payloads.usage import Usage

logger = logging.getLogger(__name__)

ERROR_TEXT_CHARS: Final = 4000
LONGEST_INTEGER: Final = 20
"""Digits of an integer that is read at all: thousands of them cost quadratic time."""
RETRYABLE_STATUS: Final = frozenset({408, 409, 429})
LONGEST_RETRY_AFTER: Final = timedelta(minutes=10)


class ResponsesModel:
    """One request is one POST to ``/responses``; retries are Temporal's.

    The reply is read as plain JSON instead of through the client's models: it is handed on verbatim, also where the
    client is older than the API.
    """

    def __init__(self, client: openai.AsyncOpenAI) -> None:
        self._client = client.with_options(max_retries=0)

    async def answer(self, request: ModelRequest) -> ModelAnswer:
        """Call the model once.

        Raises:
            ModelCallError: It did not answer, or not with a reply.
        """
        body: dict[str, Any] = {
            **request.settings,
            "model": request.model,
            "input": list(request.items),
            "store": False,
            "include": ["reasoning.encrypted_content"],
        }
        if request.instructions:
            body["instructions"] = request.instructions
        if request.tools:
            body["tools"] = list(request.tools)
        try:
            response = await self._client.post("/responses", cast_to=httpx2.Response, body=body)
        except openai.APIStatusError as error:
            raise _from_status(error) from error
        except openai.APIConnectionError as error:
            raise ModelCallError(
                "ModelUnavailable", f"the model could not be reached: {_text(error.message)}", retryable=True
            ) from error
        except openai.OpenAIError as error:
            raise ModelCallError("ModelRefused", _text(str(error)), retryable=False) from error
        except Exception as error:
            # Of the user's: a function that gives the key, a transport, a hook. What it says may hold a secret.
            logger.exception("the model's client raised")
            kind = type(error).__name__
            raise ModelCallError("ModelUnavailable", f"the model's client raised {kind}", retryable=True) from error
        return read_answer(response.content)


def read_answer(content: bytes) -> ModelAnswer:
    """Read the body of a reply. Only its output is recorded, so nothing around that can spoil a paid reply.

    Raises:
        ModelCallError: It is no reply, or says that the provider failed.
    """
    try:
        body = json.loads(content, parse_int=_integer)
    except (ValueError, RecursionError):
        raise _broken("the model's reply is not JSON", Usage(requests=1)) from None
    usage = _usage(body.get("usage") if isinstance(body, dict) else None)
    try:
        output = scrub_json(body.get("output")) if isinstance(body, dict) else None
        check_json(output)
    except JsonProfileError as error:
        raise _broken(f"the model's reply is not JSON that can be recorded: {error.problem}", usage) from None
    except (ValueError, RecursionError):
        raise _broken("the model's reply is not JSON", usage) from None
    if not isinstance(body, dict) or not isinstance(output, list):
        raise _broken("the model's reply has no output", usage)
    if body.get("status") == "failed":
        raise _from_failed(body, usage)
    items: list[JsonObject] = []
    for item in output:
        if not isinstance(item, dict) or not isinstance(item.get("type"), str):
            raise _broken("the model's reply holds an item without a type", usage)
        items.append(item)
    return ModelAnswer(
        items=items,
        usage=usage,
        response_id=_text(body["id"]) if isinstance(body.get("id"), str) else None,
        incomplete=_incomplete(body) if body.get("status") == "incomplete" else None,
    )


def _incomplete(body: Mapping[str, Any]) -> str:
    details = body.get("incomplete_details")
    reason = details.get("reason") if isinstance(details, dict) else None
    return _text(str(reason or "unknown"))


def _usage(raw: object) -> Usage:
    usage = raw if isinstance(raw, dict) else {}
    inputs, outputs = _count(usage, "input_tokens"), _count(usage, "output_tokens")
    return Usage(
        requests=1,
        input_tokens=inputs,
        cached_input_tokens=_count(usage.get("input_tokens_details"), "cached_tokens"),
        output_tokens=outputs,
        reasoning_tokens=_count(usage.get("output_tokens_details"), "reasoning_tokens"),
        total_tokens=_count(usage, "total_tokens") or inputs + outputs,
    )


def _count(usage: object, name: str) -> int:
    value = usage.get(name) if isinstance(usage, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_INTEGER else 0


def _integer(digits: str) -> float:
    return int(digits) if len(digits) <= LONGEST_INTEGER else math.inf


def _broken(message: str, usage: Usage) -> ModelCallError:
    return ModelCallError("ModelReplyInvalid", message, retryable=True, usage=usage)


def _from_failed(body: Mapping[str, Any], usage: Usage) -> ModelCallError:
    error = body.get("error")
    code = error.get("code") if isinstance(error, dict) else None
    message = _text(str(error.get("message") if isinstance(error, dict) else "no reason given"))
    transient = code in ("server_error", "rate_limit_exceeded", None)
    if transient and usage.total_tokens:
        # It was paid for: asked again a few times and counted each time, not for an hour.
        return _broken(f"the model failed ({_text(str(code or 'no code'))}): {message}", usage)
    return ModelCallError(
        "ModelUnavailable" if transient else "ModelRefused",
        f"the model failed ({_text(str(code or 'no code'))}): {message}",
        retryable=transient,
        usage=usage if usage.total_tokens else None,
    )


def _from_status(error: openai.APIStatusError) -> ModelCallError:
    status = error.status_code
    message = f"the model answered {status}: {_text(error.message)}"
    retryable = status in RETRYABLE_STATUS or status >= 500
    if error.code == "insufficient_quota":
        retryable = False
    asked = error.response.headers.get("x-should-retry")
    if asked in ("true", "false"):
        retryable = asked == "true"
    if not retryable:
        if status == 401:
            message += " (check the key of the client in HoldfastPlugin(models=…), or OPENAI_API_KEY)"
        return ModelCallError("ModelRefused", message, retryable=False)
    return ModelCallError(
        "ModelBusy" if status == 429 else "ModelUnavailable",
        message,
        retryable=True,
        retry_after=retry_after(error.response.headers),
    )


def retry_after(headers: Mapping[str, str]) -> timedelta | None:
    """Read ``retry-after-ms`` or ``retry-after`` (seconds or an HTTP date); at most ten minutes count."""
    millis, plain = headers.get("retry-after-ms"), headers.get("retry-after")
    wait: timedelta | None = None
    try:
        if millis is not None:
            wait = timedelta(milliseconds=float(millis))
        elif plain is not None and plain.replace(".", "", 1).isdigit():
            wait = timedelta(seconds=float(plain))
        elif plain is not None:
            wait = parsedate_to_datetime(plain) - datetime.now(UTC)
    except (ValueError, TypeError, OverflowError):
        return None
    if wait is None or wait <= timedelta(0):
        return None
    return min(wait, LONGEST_RETRY_AFTER)


def _text(message: str) -> str:
    return scrub(message)[:ERROR_TEXT_CHARS]
