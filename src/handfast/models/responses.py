"""The OpenAI Responses API, through any client of the `openai` package."""

from __future__ import annotations

from typing import Any, Final

import httpx2
import openai
from openai.types.responses.response_create_params import ResponseCreateParamsBase

from handfast.models.background import BackgroundResponse
from handfast.models.conversations import ResponsesConversations
from handfast.models.port import ConversationPort, ModelAnswer, ModelRequest, Transport
from handfast.models.reading import broken, read_answer
from handfast.models.streaming import streamed
from handfast.models.vendor_errors import failure_of

REASONING: Final = "reasoning.encrypted_content"
COMPACT_SETTINGS: Final = ("prompt_cache_key", "prompt_cache_options", "prompt_cache_retention", "service_tier")
"""Settings of a request that one to compact takes too."""


class ResponsesModel:
    """One request is one POST to ``/responses``; retries are Temporal's.

    The reply is read as plain JSON instead of through the client's models: it is handed on verbatim, also where the
    client is older than the API.
    """

    def __init__(self, client: openai.AsyncOpenAI) -> None:
        self._client = client.with_options(max_retries=0)
        self.conversations: ConversationPort = ResponsesConversations(self._client)

    @property
    def known_settings(self) -> frozenset[str]:
        """The parameters of a response, as this version of the `openai` package has them."""
        return frozenset(ResponseCreateParamsBase.__annotations__)

    async def answer(self, request: ModelRequest) -> ModelAnswer:
        """Call the model once.

        Raises:
            ModelCallError: It did not answer, or not with a reply.
            StillUnderwayError: A background response takes longer than the attempt can wait.
        """
        body: dict[str, Any] = {
            **request.settings,
            **({"model": request.model} if request.model else {}),
            "input": list(request.items),
            "store": request.store,
            "include": list(dict.fromkeys([REASONING, *request.settings.get("include", ())])),
        }
        client = _sent_as(self._client, request.transport)
        for name in ("previous_response_id", "conversation"):
            if (place := getattr(request, name)) is not None:
                body[name] = place
        if request.instructions:
            body["instructions"] = request.instructions
        if request.tools:
            body["tools"] = list(request.tools)
        if request.background is not None:
            return await BackgroundResponse(client, request.background).answer(body, request.on_delta)
        if request.on_delta is not None:
            return await streamed(client, body, request.on_delta)
        return await _posted(client, "/responses", body)

    async def compact(self, request: ModelRequest) -> ModelAnswer:
        """Compact a conversation once, by ``POST /responses/compact``; tools and most settings do not matter to it.

        Raises:
            ModelCallError: It did not answer, or not with a compacted conversation.
        """
        kept = {name: value for name, value in request.settings.items() if name in COMPACT_SETTINGS}
        body: dict[str, Any] = {**kept, "model": request.model, "input": list(request.items)}
        if request.instructions:
            body["instructions"] = request.instructions
        answer = await _posted(_sent_as(self._client, request.transport), "/responses/compact", body)
        if not any(item["type"] == "compaction" for item in answer.items):
            raise broken("the provider's answer holds no compaction", answer.usage)
        return answer


async def _posted(client: openai.AsyncOpenAI, path: str, body: dict[str, Any]) -> ModelAnswer:
    try:
        response = await client.post(path, cast_to=httpx2.Response, body=body)
    except Exception as error:
        raise failure_of(error) from error
    return read_answer(response.content)


def _sent_as(client: openai.AsyncOpenAI, transport: Transport) -> openai.AsyncOpenAI:
    """Return *client* with what one request wants of its own."""
    if transport == Transport():
        return client
    headers = {name: openai.Omit() if value is None else value for name, value in transport.headers.items()}
    own_timeout: Any = {} if transport.timeout_s is None else {"timeout": transport.timeout_s}
    sent: Any = {"default_headers": headers, "default_query": dict(transport.query), **own_timeout}
    return client.with_options(**sent)
