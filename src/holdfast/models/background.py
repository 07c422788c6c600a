"""A response that is made in the background: begun once, and waited for by whoever knows its id."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

import httpx2
import openai

from holdfast.models.port import Background, ModelAnswer, ModelCallError, StillUnderwayError
from holdfast.models.reading import broken, parsed, read_response, text
from holdfast.models.vendor_errors import failure_of
from holdfast.payloads.json_profile import JsonObject
from holdfast.payloads.usage import Usage

logger = logging.getLogger(__name__)

BEGUN: Final = frozenset({"queued", "in_progress"})
ENDED: Final = frozenset({"completed", "incomplete", "failed"})
FIRST_PAUSE_S: Final = 0.2
LONGEST_PAUSE_S: Final = 3.0
CANCEL_S: Final = 5.0
"""How long cancelling at the provider may take: the activity is being ended meanwhile."""


async def in_background(client: openai.AsyncOpenAI, body: Mapping[str, Any], background: Background) -> ModelAnswer:
    """Begin a response, or pick up the one that was begun, and wait for its end.

    Being cancelled leaves the response alone, unless the call was withdrawn: then it is cancelled too.

    Raises:
        StillUnderwayError: It takes longer than this attempt can wait.
        ModelCallError: It failed; ``ResponseForgotten``, where it was begun before and is not known any more.
    """
    response_id = background.resume
    try:
        if response_id is None:
            response = await _send(client, "POST", "/responses", {**body, "background": True, "store": True})
            response_id = _id_of(response)
            await background.remember(response_id)
        else:
            response = await _retrieved(client, response_id)
        return await _ended(client, response_id, response, background)
    except asyncio.CancelledError:
        if response_id is not None and background.withdrawn():
            await _cancel(client, response_id)
        raise


async def _ended(
    client: openai.AsyncOpenAI, response_id: str, response: JsonObject, background: Background
) -> ModelAnswer:
    deadline = asyncio.get_running_loop().time() + background.patience_s
    pause = FIRST_PAUSE_S
    while response.get("status") in BEGUN:
        if asyncio.get_running_loop().time() > deadline:
            raise StillUnderwayError(response_id)
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, LONGEST_PAUSE_S)
        response = await _retrieved(client, response_id)
    status = response.get("status")
    if status == "failed":
        await background.remember(None)  # the next attempt begins anew
    if status not in ENDED:
        raise ModelCallError(
            "ModelRefused", f"the response {response_id} ended at the provider as {text(str(status))}", retryable=False
        )
    return read_response(response)


async def _retrieved(client: openai.AsyncOpenAI, response_id: str) -> JsonObject:
    try:
        return await _send(client, "GET", _path(response_id))
    except ModelCallError as error:
        if isinstance(error.__cause__, openai.NotFoundError):
            message = f"the provider has forgotten the response {response_id}"
            raise ModelCallError("ResponseForgotten", message, retryable=False) from error
        raise


async def _cancel(client: openai.AsyncOpenAI, response_id: str) -> None:
    try:
        async with asyncio.timeout(CANCEL_S):
            await _send(client, "POST", f"{_path(response_id)}/cancel", {})
    except (ModelCallError, TimeoutError) as error:
        logger.warning("the response %s could not be cancelled at the provider: %s", response_id, error)


async def _send(client: openai.AsyncOpenAI, method: str, path: str, body: object = None) -> JsonObject:
    try:
        if method == "GET":
            response = await client.get(path, cast_to=httpx2.Response)
        else:
            response = await client.post(path, cast_to=httpx2.Response, body=body)
    except Exception as error:
        raise failure_of(error) from error
    answer = parsed(response.content)
    if not isinstance(answer, dict):
        raise broken("the model's reply is no object", Usage(requests=1))
    return answer


def _path(response_id: str) -> str:
    return f"/responses/{quote(response_id, safe='')}"


def _id_of(response: JsonObject) -> str:
    found = response.get("id")
    if not isinstance(found, str) or not found:
        raise broken("the model's reply has no id", Usage(requests=1))
    return text(found)
