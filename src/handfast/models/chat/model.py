"""The Chat Completions API, through any client of the `openai` package."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, Literal

import httpx2
import openai
from openai.types.chat.completion_create_params import CompletionCreateParamsBase

from handfast.errors import DefinitionError
from handfast.models.chat.form import Form, LearnedForms, MaxTokens, Reasoning
from handfast.models.chat.messages import FILLED, TRANSLATED, messages_of, settings_of, tools_of
from handfast.models.chat.reply import StreamedCompletion, read_completion
from handfast.models.port import ModelAnswer, ModelCallError, ModelRequest, OnDelta
from handfast.models.prices import Price, checked_prices
from handfast.models.reading import parsed
from handfast.models.streaming import EventDecoder, broke_off, is_stream, opened
from handfast.models.transport import sent_as
from handfast.models.vendor_errors import failure_of

CREATE: Final = "/chat/completions"
USAGE_S: Final = 2.0
"""Longest wait for the end of a stream after the reply: its usage comes in an event of its own."""
_NO_FORMAT: Final = "Answer with one JSON object that satisfies this JSON schema, and with nothing else:"


class ChatCompletionsModel:
    """A model behind the Chat Completions API: llama.cpp, vLLM, DeepSeek, Groq, Mistral and many more.

    One request is one POST to ``/chat/completions``; retries are Temporal's. Conversations keep the shape of the
    Responses API, whatever the model: an agent can change its model in the middle of one.

    What a server refuses of the form of a request, and can do without, is learned, for each model: reasoning that goes
    back, ``strict``, ``stream_options``, the name of the limit, long ids of calls.

    What this API has nothing for is refused before it is sent: hosted tools, conversations at the provider, prompt
    templates, compaction. An agent whose replies are made in the background is answered while the connection is held.

    Attributes:
        model: The model that is asked for agents that name none.
    """

    def __init__(
        self,
        client: openai.AsyncOpenAI,
        *,
        reasoning: Reasoning = "keep",
        structured: Literal["json_schema", "json_object", "prompt"] = "json_schema",
        strict: bool = True,
        role: Literal["system", "developer"] = "system",
        max_tokens: MaxTokens = "max_completion_tokens",
        usage_in_stream: bool = True,
        prices: Mapping[str, Price] | None = None,
        model: str | None = None,
    ) -> None:
        """Describe the server.

        Args:
            client: Has its address and key.
            reasoning: Which of its own reasoning the model is sent again, in the field that it came in: all (*keep*,
                which models that think between tool calls want), that since the last message to it (*turn*), or none
                (*drop*, for servers that refuse what they have sent, as Groq and Mistral do).
            structured: How the server is asked for an answer of a type: by a JSON schema; as any JSON object, with
                the schema in the instructions; or by the instructions alone.
            strict: Whether the server knows ``strict`` for tools.
            role: The role of the instructions, and of messages of either role in the conversation.
            max_tokens: The server's name for the limit of a reply.
            usage_in_stream: Whether it knows ``stream_options``; without them a streamed reply counts no tokens.
            prices: What its models cost, by their names; under ``"*"`` that of every other one.
            model: The model that is asked for agents that name none.

        Raises:
            DefinitionError: An option has none of its values.
        """
        self._client = client.with_options(max_retries=0)
        options: list[tuple[str, object, tuple[object, ...]]] = [
            ("reasoning", reasoning, ("keep", "turn", "drop")),
            ("structured", structured, ("json_schema", "json_object", "prompt")),
            ("role", role, ("system", "developer")),
            ("max_tokens", max_tokens, ("max_completion_tokens", "max_tokens")),
        ]
        for name, value, allowed in options:
            if value not in allowed:
                one_of = ", ".join(map(repr, allowed))
                raise DefinitionError("ChatCompletionsModel", f"{name} must be one of {one_of}, not {value!r}")
        self._structured = structured
        self._role = role
        self.prices = checked_prices("ChatCompletionsModel", prices)
        self.model = model
        self._forms = LearnedForms(
            Form(reasoning=reasoning, strict=strict, max_tokens=max_tokens, usage_in_stream=usage_in_stream)
        )

    @property
    def known_settings(self) -> frozenset[str]:
        """The parameters of a completion, as this version of the `openai` package has them, and the words of the
        Responses API for some of them."""
        return frozenset(CompletionCreateParamsBase.__annotations__) - FILLED | TRANSLATED

    async def answer(self, request: ModelRequest) -> ModelAnswer:
        """Call the model once.

        Raises:
            ModelCallError: It did not answer, or not with a reply, or the API has nothing for the request.
        """
        while True:
            form = self._forms.of(request.model)
            try:
                answer = await self._sent(request, form)
            except ModelCallError as error:
                if not self._forms.learn(request.model, error, form):
                    raise
                continue
            return replace(answer, left_out=form.left_out)

    async def _sent(self, request: ModelRequest, form: Form) -> ModelAnswer:
        body = self._body(request, form)
        client = sent_as(self._client, request.transport)
        if request.on_delta is not None:
            if form.usage_in_stream:
                body["stream_options"] = {"include_usage": True}
            async with opened(client, CREATE, body) as response:
                if not is_stream(response.headers):
                    return read_completion(parsed(await response.aread()), response.headers)
                return await _read(response, request.on_delta)
        try:
            response = await client.post(CREATE, cast_to=httpx2.Response, body=body)
        except Exception as error:
            raise failure_of(error) from error
        return read_completion(parsed(response.content), response.headers)

    def _body(self, request: ModelRequest, form: Form) -> dict[str, Any]:
        settings = settings_of(request.settings, max_tokens=form.max_tokens, tools=bool(request.tools))
        instructions = request.instructions
        shape = settings.get("response_format")
        if self._structured != "json_schema" and shape is not None and shape.get("type") == "json_schema":
            instructions = "\n\n".join(
                part
                for part in (instructions, f"{_NO_FORMAT}\n{json.dumps(shape['json_schema'].get('schema'))}")
                if part
            )
            settings["response_format"] = {"type": "json_object"}
            if self._structured == "prompt":
                del settings["response_format"]
        body: dict[str, Any] = {
            **settings,
            "model": request.model,
            "messages": messages_of(
                request.items,
                instructions=instructions,
                role=self._role,
                reasoning=form.reasoning,
                short_ids=form.short_ids,
            ),
        }
        if request.tools:
            body["tools"] = tools_of(request.tools, strict=form.strict)
        return body


async def _read(response: httpx2.Response, on_delta: OnDelta) -> ModelAnswer:
    """Read a stream up to its end; once the reply is whole, its usage is waited for a little."""
    events, reply = EventDecoder(), StreamedCompletion(on_delta)
    reply.headers = response.headers
    try:
        async with asyncio.timeout(None) as patience:
            async for chunk in response.aiter_bytes():
                for event in events.feed(chunk):
                    reply.take(event)
                if reply.done:
                    break
                if reply.finished and patience.when() is None:
                    patience.reschedule(asyncio.get_running_loop().time() + USAGE_S)
    except (httpx2.RequestError, ssl.SSLError, TimeoutError):
        if not reply.finished:
            raise
    if not (reply.finished or reply.done):
        raise broke_off("the stream ended")
    return reply.answer()
