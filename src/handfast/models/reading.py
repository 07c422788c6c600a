"""Reads the body of a reply of the Responses API, however it came."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Final

from handfast.errors import JsonProfileError
from handfast.models.output_items import ItemUnreadableError, read_items
from handfast.models.port import ModelAnswer, ModelCallError
from handfast.models.provider_error import error_of, text
from handfast.models.vendor_errors import failure
from handfast.payloads.json_profile import MAX_INTEGER, check_json, scrub_json
from handfast.payloads.usage import Usage

LONGEST_INTEGER: Final = 20
"""Digits of an integer that is read at all: thousands of them cost quadratic time."""


def read_answer(content: bytes, headers: Mapping[str, str] | None = None) -> ModelAnswer:
    """Read the body of a reply. Only its output is recorded, so nothing around that can spoil a paid reply.

    Args:
        content: The body.
        headers: Of the answer: a failure within it may say there how long to wait.

    Raises:
        ModelCallError: It is no reply, or says that the provider failed.
    """
    return read_response(parsed(content), headers)


def parsed(content: bytes) -> object:
    """Decode the JSON of a provider.

    Raises:
        ModelCallError: It is none.
    """
    try:
        return json.loads(content, parse_int=_integer)
    except (ValueError, RecursionError):
        raise broken(no_json(content), Usage(requests=1)) from None


def is_json(content: bytes) -> bool:
    """Return whether *content* is whole."""
    try:
        parsed(content)
    except ModelCallError:
        return False
    return True


def no_json(content: bytes) -> str:
    """Say what a body is that is no JSON."""
    begin = content[:64].lstrip().lower()
    if not begin:
        return "the model's reply is empty: no body came"
    if begin.startswith((b"<!doctype", b"<html", b"<?xml", b"<head", b"<body")):
        return "the model's reply is a web page instead of JSON; check the address of its model entry"
    return "the model's reply is not JSON"


def wrong_api(came: str, sent: str, entry: str) -> ModelCallError:
    """The failure of a server that answers in the shape of another API."""
    message = f"the server answered a {came} request with {sent}; make its model entry of {entry}"
    return ModelCallError("ModelRefused", message, retryable=False)


def is_completion(body: Mapping[str, Any]) -> bool:
    """Return whether a server answered in the shape of Chat Completions."""
    return str(body.get("object")).startswith("chat.completion") or isinstance(body.get("choices"), list)


COMPLETION_CAME: Final = ("Responses", "a chat completion", "ChatCompletionsModel")
"""For `wrong_api`."""


def read_response(body: object, headers: Mapping[str, str] | None = None) -> ModelAnswer:
    """Read a response object.

    Raises:
        ModelCallError: It is none, or says that the provider failed.
    """
    if isinstance(body, dict) and "output" not in body and is_completion(body):
        raise wrong_api(*COMPLETION_CAME)
    usage = usage_of(body.get("usage") if isinstance(body, dict) else None)
    failed = _failure_in(body) if isinstance(body, dict) else None
    if failed is not None:
        raise failure(error_of(failed, headers=headers), usage)
    try:
        output = scrub_json(_output(body)) if isinstance(body, dict) else None
        check_json(output)
    except JsonProfileError as error:
        raise broken(f"the model's reply is not JSON that can be recorded: {error.problem}", usage) from None
    except (ValueError, RecursionError):
        raise broken("the model's reply is not JSON", usage) from None
    if not isinstance(body, dict) or not isinstance(output, list):
        raise broken("the model's reply has no output", usage)
    try:
        items = read_items(output)
    except ItemUnreadableError as error:
        raise broken(f"the model's reply {error}", usage) from None
    return ModelAnswer(
        items=items,
        usage=usage,
        response_id=text(body["id"]) if isinstance(body.get("id"), str) else None,
        incomplete=_incomplete(body) if body.get("status") == "incomplete" else None,
        kept=body.get("store") is not False,
    )


def _failure_in(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The failure that a body tells of; None where it is a reply. Some servers answer 200 with an error alone."""
    if body.get("status") in ("failed", "cancelled"):
        return {**body, "error": body.get("error") or {}}
    return body if (body.get("error") or body.get("detail")) and not body.get("output") else None


def _output(body: Mapping[str, Any]) -> object:
    """The output, which servers spell as a single item or as a text, too."""
    output = body.get("output")
    if not output and isinstance(body.get("output_text"), str):
        output = body["output_text"]
    return (
        [output]
        if isinstance(output, dict)
        else [{"type": "message", "content": output}]
        if isinstance(output, str)
        else output
    )


def _incomplete(body: Mapping[str, Any]) -> str:
    details = body.get("incomplete_details")
    reason = details.get("reason") if isinstance(details, dict) else None
    return text(str(reason or "unknown"))


def usage_of(raw: object, *, read: str = "input_tokens", written: str = "output_tokens") -> Usage:
    """Read what a reply has cost; what is missing counts as none.

    Args:
        raw: The usage as the server tells it.
        read: What it calls the tokens of the request; its details stand under ``<name>_details``.
        written: Likewise, the tokens of the reply.
    """
    usage = raw if isinstance(raw, dict) else {}
    inputs, outputs = token_count(usage, read), token_count(usage, written)
    return Usage(
        requests=1,
        input_tokens=inputs,
        cached_input_tokens=token_count(usage.get(f"{read}_details"), "cached_tokens"),
        output_tokens=outputs,
        reasoning_tokens=token_count(usage.get(f"{written}_details"), "reasoning_tokens"),
        total_tokens=token_count(usage, "total_tokens") or inputs + outputs,
    )


def token_count(usage: object, name: str) -> int:
    """Read a count of tokens in *usage*; 0 where there is none that can be one."""
    value = usage.get(name) if isinstance(usage, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_INTEGER else 0


def _integer(digits: str) -> float:
    return int(digits) if len(digits) <= LONGEST_INTEGER else math.inf


def broken(message: str, usage: Usage) -> ModelCallError:
    """The failure of a reply that cannot be used, and was counted."""
    return ModelCallError("ModelReplyInvalid", message, retryable=True, usage=usage)
