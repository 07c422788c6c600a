"""Models of every provider that the package any-llm knows: Anthropic, Gemini, Mistral, Bedrock and the rest."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import AsyncIterator, Awaitable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from handfast.errors import DefinitionError
from handfast.models.chat.form import Form, LearnedForms
from handfast.models.chat.messages import messages_of, settings_of, tools_of
from handfast.models.chat.reply import StreamedCompletion, read_completion
from handfast.models.claude.reply import StreamedMessage, read_message
from handfast.models.claude.request import body_of
from handfast.models.port import ModelAnswer, ModelCallError, ModelRequest, Transport
from handfast.models.prices import Price, checked_prices
from handfast.models.provider_error import error_of, text
from handfast.models.reading import broken, no_json
from handfast.models.streaming import broke_off
from handfast.models.vendor_errors import failure, failure_of
from handfast.payloads.json_profile import JsonObject
from handfast.payloads.usage import Usage

if TYPE_CHECKING:
    from any_llm import AnyLLM

EXTRA: Final = "any-llm"
UNBOUNDED_S: Final = 600.0
"""Anthropic's client refuses a long reply that is not streamed, unless it is told how long it may take."""
_ADDRESS: Final = "check the provider and the address (api_base) of its model entry"
_UNREADABLE: Final = (ValidationError, json.JSONDecodeError, UnicodeDecodeError, AttributeError, LookupError, TypeError)
"""Errors that clients of providers raise of a reply that is none."""


class AnyLLMModel:
    """A model of any provider, through any-llm (the extra ``any-llm``).

    ::

        HandfastPlugin([desk], models={"default": AnyLLMModel("anthropic:claude-sonnet-5")})

    Conversations keep the shape of the Responses API. Claude is asked by Anthropic's Messages API, at Anthropic or
    elsewhere, and what it thinks goes back to it word for word, signatures and encrypted parts included. Other models
    are asked by messages of Chat Completions, which any-llm translates.

    Attributes:
        model: The model that the entry names; agents of it need name none.
    """

    def __init__(
        self,
        name: str,
        *,
        api_key: str | None = None,
        api_base: str | None = None,
        prices: Mapping[str, Price] | None = None,
        **options: Any,
    ) -> None:
        """Name the provider, and the model.

        Args:
            name: ``PROVIDER:MODEL``, or the provider alone where agents name the model.
            api_key: By default what the provider's own variable says, as ``ANTHROPIC_API_KEY``.
            api_base: Another address of the provider.
            prices: What its models cost, by their names; under ``"*"`` that of every other one.
            options: Further options of ``AnyLLM.create``, for the provider's client.

        Raises:
            DefinitionError: any-llm is not installed, does not know the provider, or lacks its package or key.
        """
        self.prices = checked_prices("AnyLLMModel", prices)
        provider, _, model = name.partition(":")
        try:
            import any_llm  # noqa: PLC0415 - an optional extra
        except ImportError:
            problem = f"any-llm is not installed; pip install 'handfast[{EXTRA}]'"
            raise DefinitionError("AnyLLMModel", problem) from None
        try:
            kind = any_llm.AnyLLM.get_provider_class(any_llm.AnyLLM.resolve_provider_key(provider))
            retries = {} if kind.MAX_RETRIES_SUPPORT == "unsupported" else {"max_retries": 0}  # they are Temporal's
            self._client: AnyLLM = kind(api_key, api_base, unified_exceptions=True, **retries, **options)
        except any_llm.UnsupportedProviderError:
            known = ", ".join(sorted(any_llm.AnyLLM.get_supported_providers()))
            raise DefinitionError("AnyLLMModel", f"any-llm knows no provider {provider!r}; it knows {known}") from None
        except (any_llm.AnyLLMError, ImportError, TypeError, ValueError) as error:
            said = " ".join(str(error).split())
            raise DefinitionError("AnyLLMModel", f"{provider!r} cannot be asked: {said}") from error
        self.model = model or None
        self._forms = LearnedForms(Form(max_tokens="max_tokens"))

    async def answer(self, request: ModelRequest) -> ModelAnswer:
        """Call the model once.

        Raises:
            ModelCallError: It did not answer, or not with a reply, or the provider has nothing for the request.
        """
        native = self._client.serves_messages_natively(request.model) and _is_claude(self._client, request.model)
        try:
            async with asyncio.timeout(request.transport.timeout_s):
                return await (self._by_messages(request) if native else self._in_a_form_it_takes(request))
        except TimeoutError as error:
            raise ModelCallError("ModelUnavailable", "the model took too long", retryable=True) from error

    async def close(self) -> None:
        """Close the connections of the provider's client, where it has some: once no worker asks the entry any more."""
        client = getattr(self._client, "client", None)
        close = getattr(client, "close", None) or getattr(client, "aclose", None)
        if inspect.isawaitable(closing := close() if close is not None else None):
            await closing

    async def _by_messages(self, request: ModelRequest) -> ModelAnswer:
        body = body_of(request.model, request.instructions, request.items, request.tools, request.settings)
        if (config := body.pop("output_config", None)) is not None:
            # Bedrock takes it by the name of any-llm's own; the others hand on what they do not know.
            body["output_format" if self._client.PROVIDER_NAME == "bedrock" else "output_config"] = _config(config)
        body |= _sent_with(request.transport)
        if request.on_delta is None:
            timeout = request.transport.timeout_s or UNBOUNDED_S
            return read_message(_plain(await self._asked(self._client.amessages(timeout=timeout, **body))))
        reply = StreamedMessage(request.on_delta)
        async for event in self._pieces(await self._asked(self._client.amessages(stream=True, **body))):
            reply.take(event)
        if not reply.done:
            raise broke_off("the stream ended") if reply.begun else _nothing_came()
        return reply.answer()

    async def _in_a_form_it_takes(self, request: ModelRequest) -> ModelAnswer:
        while True:
            form = self._forms.of(request.model)
            try:
                answer = await self._by_completions(request, form)
            except ModelCallError as error:
                if not self._forms.learn(request.model, error, form):
                    raise
                continue
            return replace(answer, left_out=form.left_out)

    async def _by_completions(self, request: ModelRequest, form: Form) -> ModelAnswer:
        fields: dict[str, Any] = {
            **settings_of(request.settings, max_tokens=form.max_tokens, tools=bool(request.tools)),
            "messages": messages_of(
                request.items, instructions=request.instructions, reasoning=form.reasoning, short_ids=form.short_ids
            ),
            **_sent_with(request.transport),
        }
        if request.tools:
            fields["tools"] = tools_of(request.tools, strict=form.strict)
        if request.on_delta is None:
            return read_completion(_plain(await self._asked(self._client.acompletion(request.model, **fields))))
        if form.usage_in_stream:
            fields["stream_options"] = {"include_usage": True}
        reply = StreamedCompletion(request.on_delta)
        chunks = await self._asked(self._client.acompletion(request.model, stream=True, **fields))
        async for chunk in self._pieces(chunks):
            reply.take_chunk(chunk)
        if not reply.finished:
            raise broke_off("the stream ended") if reply.begun else _nothing_came()
        return reply.answer()

    async def _asked(self, answer: Awaitable[Any]) -> Any:
        try:
            return await answer
        except Exception as error:
            raise _failure(error, self._client) from error

    async def _pieces(self, pieces: Any) -> AsyncIterator[JsonObject]:
        """Yield what a stream holds, and close its connection however the reading ends."""
        try:
            async for piece in pieces:
                yield _plain(piece)
        except Exception as error:
            raise _failure(error, self._client) from error
        finally:
            close = getattr(pieces, "aclose", None) or getattr(pieces, "close", None)
            if close is not None:
                await close()


def _is_claude(client: AnyLLM, model: str) -> bool:
    """Return whether any-llm asks for *model* by Anthropic's API because it is Anthropic's, whoever hosts it."""
    return "anthropic" in client.PROVIDER_NAME or "claude" in model.lower()


def _sent_with(transport: Transport) -> dict[str, Any]:
    """The headers and the query of one request, as the clients of providers take them."""
    if any(value is None for value in transport.headers.values()):
        raise ModelCallError(
            "ModelRefused", "AnyLLMModel cannot take away a header that the provider's client sends", retryable=False
        )
    sent = {"extra_headers": dict(transport.headers), "extra_query": dict(transport.query)}
    return {name: value for name, value in sent.items() if value}


def _config(config: JsonObject) -> JsonObject:
    """The same config with a schema that the API takes: its client knows which keywords are none of that."""
    wanted = config.get("format")
    if wanted is None:
        return config
    from anthropic import transform_schema  # noqa: PLC0415 - comes with the extra

    try:
        return {**config, "format": {**wanted, "schema": transform_schema(_with_one_type(wanted["schema"]))}}
    except ValueError as error:
        message = f"Anthropic takes no such schema for an answer: {text(str(error))}"
        raise ModelCallError("ModelRefused", message, retryable=False) from error


def _with_one_type(schema: Any) -> Any:
    """The same schema without lists of types, which `transform_schema` does not know."""
    if isinstance(schema, list):
        return [_with_one_type(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    types = schema.get("type")
    if isinstance(types, list):
        rest = {name: value for name, value in schema.items() if name not in ("type", "description", "title")}
        about = {name: schema[name] for name in ("description", "title") if name in schema}
        schema = {**about, "anyOf": [{"type": "null"} if each == "null" else {**rest, "type": each} for each in types]}
    return {name: _with_one_type(value) for name, value in schema.items()}


def _plain(found: Any) -> JsonObject:
    """An object of any-llm as JSON, as it came: without fields that nobody set."""
    plain: JsonObject = found.model_dump(mode="json", exclude_unset=True, warnings=False)
    return plain


def _nothing_came() -> ModelCallError:
    return broken(
        f"the model's reply is none of its provider's API: nothing of one came; {_ADDRESS}", Usage(requests=1)
    )


def _failure(error: Exception, client: AnyLLM) -> ModelCallError:
    """Read an error of any-llm as every failure is read: by the words and the status of the provider."""
    from any_llm import AnyLLMError, InvalidRequestError  # noqa: PLC0415 - an optional extra

    cause = error.original_exception if isinstance(error, AnyLLMError) else error
    if isinstance(cause, ValidationError) and cause.title.endswith("Params"):
        return ModelCallError("ModelRefused", f"the model was not asked: {_problem(cause)}", retryable=False)
    if isinstance(cause, _UNREADABLE) and not isinstance(error, InvalidRequestError):
        return _unreadable(cause)
    if not isinstance(error, AnyLLMError):
        return failure_of(error)
    headers = getattr(getattr(cause, "response", None), "headers", None)
    said: object = getattr(cause, "body", None)
    if not said:
        said = {"message": error.message, "code": error.code, "type": error.error_type, "param": error.param}
    status = error.status_code if error.status_code is not None and error.status_code >= 400 else None
    if status is None and not (error.code or error.error_type or (isinstance(said, Mapping) and said.get("error"))):
        return _unsaid(error)
    wait = getattr(error, "retry_after", None)
    known = headers if isinstance(headers, Mapping) else {} if wait is None else {"retry-after": str(wait)}
    return failure(error_of(said, status=status, headers=known), key=client.ENV_API_KEY_NAME)


def _unreadable(error: Exception) -> ModelCallError:
    """The failure of a reply that the provider's client, or any-llm, could not read."""
    problem = f"the model's reply is none of its provider's API; {_ADDRESS}"
    if isinstance(error, json.JSONDecodeError):
        problem = no_json(error.doc.encode(errors="replace"))
    elif isinstance(error, ValidationError):
        first = error.errors(include_url=False)[0]
        whole = first["input"] if not first["loc"] else None
        is_text = isinstance(whole, str)
        problem = f"the model's reply is none of its provider's API ({_problem(error)}); {_ADDRESS}"
        problem = no_json(str(whole).encode(errors="replace")) if is_text else problem
    return broken(problem, Usage(requests=1))


def _problem(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    return text(": ".join([*([".".join(map(str, first["loc"]))] if first["loc"] else []), first["msg"]]))


def _unsaid(error: Exception) -> ModelCallError:
    """A failure that the provider did not speak of: it could not be reached, or any-llm refuses request or reply."""
    import any_llm  # noqa: PLC0415 - an optional extra

    refused = (
        any_llm.InvalidRequestError,
        any_llm.UnsupportedParameterError,
        any_llm.AuthenticationError,
        any_llm.ContentFilterError,
        any_llm.ContextLengthExceededError,
        any_llm.ModelNotFoundError,
    )
    message = text(" ".join(str(error).split()))
    if isinstance(error, refused):
        return ModelCallError("ModelRefused", f"the model was not asked: {message}", retryable=False)
    if isinstance(error, any_llm.AnyLLMError) and error.original_exception is None:
        return broken(f"the model's reply cannot be used: {message}", Usage(requests=1))
    return ModelCallError("ModelUnavailable", f"the model could not be reached: {message}", retryable=True)
