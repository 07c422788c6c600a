"""Reads the body of a reply of the Responses API, however it came."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Final

from handfast.errors import JsonProfileError
from handfast.models.port import ModelAnswer, ModelCallError
from handfast.payloads.json_profile import MAX_INTEGER, JsonObject, check_json, scrub, scrub_json
from handfast.payloads.usage import Usage

ERROR_TEXT_CHARS: Final = 4000
LONGEST_INTEGER: Final = 20
"""Digits of an integer that is read at all: thousands of them cost quadratic time."""


def read_answer(content: bytes) -> ModelAnswer:
    """Read the body of a reply. Only its output is recorded, so nothing around that can spoil a paid reply.

    Raises:
        ModelCallError: It is no reply, or says that the provider failed.
    """
    return read_response(parsed(content))


def parsed(content: bytes) -> object:
    """Decode the JSON of a provider.

    Raises:
        ModelCallError: It is none.
    """
    try:
        return json.loads(content, parse_int=_integer)
    except (ValueError, RecursionError):
        raise broken("the model's reply is not JSON", Usage(requests=1)) from None


def read_response(body: object) -> ModelAnswer:
    """Read a response object.

    Raises:
        ModelCallError: It is none, or says that the provider failed.
    """
    usage = _usage(body.get("usage") if isinstance(body, dict) else None)
    try:
        output = scrub_json(body.get("output")) if isinstance(body, dict) else None
        check_json(output)
    except JsonProfileError as error:
        raise broken(f"the model's reply is not JSON that can be recorded: {error.problem}", usage) from None
    except (ValueError, RecursionError):
        raise broken("the model's reply is not JSON", usage) from None
    if not isinstance(body, dict) or not isinstance(output, list):
        raise broken("the model's reply has no output", usage)
    if body.get("status") == "failed":
        told = body.get("error")
        raise failed_response(told if isinstance(told, dict) else {}, usage)
    items: list[JsonObject] = []
    for item in output:
        if not isinstance(item, dict) or not isinstance(item.get("type"), str):
            raise broken("the model's reply holds an item without a type", usage)
        items.append(item)
    return ModelAnswer(
        items=items,
        usage=usage,
        response_id=text(body["id"]) if isinstance(body.get("id"), str) else None,
        incomplete=_incomplete(body) if body.get("status") == "incomplete" else None,
    )


def _incomplete(body: Mapping[str, Any]) -> str:
    details = body.get("incomplete_details")
    reason = details.get("reason") if isinstance(details, dict) else None
    return text(str(reason or "unknown"))


def _usage(raw: object) -> Usage:
    usage = raw if isinstance(raw, dict) else {}
    inputs, outputs = token_count(usage, "input_tokens"), token_count(usage, "output_tokens")
    return Usage(
        requests=1,
        input_tokens=inputs,
        cached_input_tokens=token_count(usage.get("input_tokens_details"), "cached_tokens"),
        output_tokens=outputs,
        reasoning_tokens=token_count(usage.get("output_tokens_details"), "reasoning_tokens"),
        total_tokens=token_count(usage, "total_tokens") or inputs + outputs,
    )


def token_count(usage: object, name: str) -> int:
    """A count of tokens in *usage*; 0 where there is none that can be one."""
    value = usage.get(name) if isinstance(usage, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_INTEGER else 0


def _integer(digits: str) -> float:
    return int(digits) if len(digits) <= LONGEST_INTEGER else math.inf


def broken(message: str, usage: Usage) -> ModelCallError:
    """The failure of a reply that cannot be used, and was counted."""
    return ModelCallError("ModelReplyInvalid", message, retryable=True, usage=usage)


def failed_response(error: Mapping[str, Any], usage: Usage) -> ModelCallError:
    """The failure that a provider tells inside a reply."""
    code = error.get("code")
    message = text(str(error.get("message") or "no reason given"))
    transient = code in ("server_error", "rate_limit_exceeded", None)
    if transient and usage.total_tokens:
        # It was paid for: asked again a few times and counted each time, not for an hour.
        return broken(f"the model failed ({text(str(code or 'no code'))}): {message}", usage)
    return ModelCallError(
        "ModelUnavailable" if transient else "ModelRefused",
        f"the model failed ({text(str(code or 'no code'))}): {message}",
        retryable=transient,
        usage=usage if usage.total_tokens else None,
    )


def text(message: str) -> str:
    """What a provider said, as it may be recorded."""
    return scrub(message)[:ERROR_TEXT_CHARS]
