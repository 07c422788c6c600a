"""Questions of an MCP server in the middle of a call, and the answers to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from mcp_types import (
    ElicitationRequiredErrorData,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitRequestURLParams,
    ElicitResult,
    InputRequiredResult,
)
from pydantic import ValidationError

from handfast.mcp.tool import McpToolError, ToolRefusedError, object_schema
from handfast.payloads.base import json_size
from handfast.payloads.cutting import cut
from handfast.payloads.json_profile import JsonObject, scrub
from handfast.payloads.mcp import (
    FORM_BYTES,
    MESSAGE_CHARACTERS,
    MOST_QUESTIONS,
    MOST_ROUNDS,
    STATE_BYTES,
    McpAsked,
    McpQuestion,
)

URL_BYTES: Final = 2000


def asked_of(result: InputRequiredResult, before: McpAsked | None) -> McpAsked:
    """Return what a server asks for, as it is put to people.

    Args:
        result: What it answered in place of a result.
        before: What it asked for last.

    Raises:
        McpToolError: It asks for what nobody can be asked, or too much, or too often.
    """
    requests = result.input_requests or {}
    rounds = 1 if before is None else before.round + 1
    if rounds > MOST_ROUNDS:
        raise McpToolError(f"the server has asked {MOST_ROUNDS} times in one call and asks again; it is not answered")
    if len(requests) > MOST_QUESTIONS:
        raise McpToolError(f"the server asks {len(requests)} things at once, and people are asked {MOST_QUESTIONS}")
    if len((result.request_state or "").encode()) > STATE_BYTES:
        raise McpToolError(f"the state that the server wants to have back is larger than {STATE_BYTES:,} bytes")
    questions = [_question(key, each) for key, each in requests.items()]
    return McpAsked(questions=questions, state=result.request_state, round=rounds)


def linked(data: object, before: McpAsked | None) -> McpAsked:
    """Return what a server of an older protocol asks for: that pages are visited before the call is made again.

    Args:
        data: Of the error that says so.
        before: What it asked for last.

    Raises:
        McpToolError: It asks for no page, or too much, or too often.
    """
    try:
        pages = ElicitationRequiredErrorData.model_validate(data).elicitations
    except ValidationError:
        pages = []
    if not pages:
        raise McpToolError("the server wants a page to be visited, and does not say which")
    requests = {f"page {place}": ElicitRequest(params=page) for place, page in enumerate(pages)}
    return asked_of(InputRequiredResult(input_requests={**requests}), before)


def responses_of(asked: McpAsked) -> Mapping[str, ElicitResult]:
    """Return people's answers as the server wants them."""
    return {each.key: ElicitResult(action=each.action, content=each.content) for each in asked.answers}


def _question(key: str, request: object) -> McpQuestion:
    match request:
        case ElicitRequest(params=ElicitRequestFormParams() as form):
            schema = _form(form)
            return McpQuestion(key=key, message=_text(form.message), form=schema)
        case ElicitRequest(params=ElicitRequestURLParams() as page):
            if not page.url.startswith(("https://", "http://")) or len(page.url.encode()) > URL_BYTES:
                raise McpToolError("the server asks to visit an address that is none of http or https, or too long")
            return McpQuestion(key=key, message=_text(page.message), url=scrub(page.url))
    raise McpToolError("the server asks for something else than a person's answer, which it is not given")


def _form(asked: ElicitRequestFormParams) -> JsonObject:
    try:
        schema = object_schema(asked.requested_schema)
    except ToolRefusedError as error:
        raise McpToolError(f"the server asks with a form that nobody can fill in: {error}") from None
    if (size := json_size(schema)) > FORM_BYTES:
        raise McpToolError(f"the server asks with a form of {size:,} bytes; at most {FORM_BYTES:,} go with a request")
    return schema


def _text(message: str) -> str:
    return cut(scrub(message), MESSAGE_CHARACTERS)[0]
