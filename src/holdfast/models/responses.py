"""The OpenAI Responses API, through any client of the `openai` package."""

from __future__ import annotations

from typing import Any

import httpx2
import openai

from holdfast.models.background import BackgroundResponse
from holdfast.models.conversations import ResponsesConversations
from holdfast.models.port import ConversationPort, ModelAnswer, ModelRequest
from holdfast.models.reading import read_answer
from holdfast.models.streaming import streamed
from holdfast.models.vendor_errors import failure_of


class ResponsesModel:
    """One request is one POST to ``/responses``; retries are Temporal's.

    The reply is read as plain JSON instead of through the client's models: it is handed on verbatim, also where the
    client is older than the API.
    """

    def __init__(self, client: openai.AsyncOpenAI) -> None:
        self._client = client.with_options(max_retries=0)
        self.conversations: ConversationPort = ResponsesConversations(self._client)

    async def answer(self, request: ModelRequest) -> ModelAnswer:
        """Call the model once.

        Raises:
            ModelCallError: It did not answer, or not with a reply.
            StillUnderwayError: A background response takes longer than the attempt can wait.
        """
        body: dict[str, Any] = {
            **request.settings,
            "model": request.model,
            "input": list(request.items),
            "store": request.store,
            "include": ["reasoning.encrypted_content"],
        }
        for name in ("previous_response_id", "conversation"):
            if (place := getattr(request, name)) is not None:
                body[name] = place
        if request.instructions:
            body["instructions"] = request.instructions
        if request.tools:
            body["tools"] = list(request.tools)
        if request.background is not None:
            return await BackgroundResponse(self._client, request.background).answer(body, request.on_delta)
        if request.on_delta is not None:
            return await streamed(self._client, body, request.on_delta)
        try:
            response = await self._client.post("/responses", cast_to=httpx2.Response, body=body)
        except Exception as error:
            raise failure_of(error) from error
        return read_answer(response.content)
