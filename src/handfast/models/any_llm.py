"""Models of every provider that the package any-llm knows: Anthropic, Gemini, Mistral, Bedrock and the rest."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from handfast.errors import DefinitionError
from handfast.models.chat.messages import messages_of, settings_of, tools_of
from handfast.models.chat.reply import StreamedCompletion, read_completion
from handfast.models.port import ModelAnswer, ModelCallError, ModelErrorKind, ModelRequest, OnDelta
from handfast.models.provider_error import retry_after, text
from handfast.models.streaming import broke_off
from handfast.models.vendor_errors import failure_of

if TYPE_CHECKING:
    from any_llm import AnyLLM

_KINDS: Final[Mapping[str, tuple[ModelErrorKind, bool]]] = {
    "RateLimitError": ("ModelBusy", True),
    "ProviderError": ("ModelUnavailable", True),
    "AuthenticationError": ("ModelRefused", False),
    "InvalidRequestError": ("ModelRefused", False),
    "ModelNotFoundError": ("ModelRefused", False),
    "ContextLengthExceededError": ("ModelRefused", False),
    "UnsupportedParameterError": ("ModelRefused", False),
    "ContentFilterError": ("ModelRefused", False),
    "UnsupportedProviderError": ("ModelRefused", False),
    "MissingApiKeyError": ("ModelRefused", False),
}
"""What an error of any-llm means for the call, and whether it can help to ask again."""


class AnyLLMModel:
    """A model of any provider, through any-llm (the extra ``any-llm``).

    ::

        HandfastPlugin([desk], models={"default": AnyLLMModel("anthropic:claude-sonnet-5")})

    Conversations keep the shape of the Responses API, and travel as messages of Chat Completions. Signatures that a
    provider puts on what its model thinks, as Anthropic and Gemini do, are kept with it and sent back.

    Attributes:
        model: The model that the entry names; agents of it need name none.
    """

    def __init__(self, name: str, *, api_key: str | None = None, api_base: str | None = None, **options: Any) -> None:
        """Name the provider, and the model.

        Args:
            name: ``PROVIDER:MODEL``, or the provider alone where agents name the model.
            api_key: By default what the provider's own variable says, as ``ANTHROPIC_API_KEY``.
            api_base: Another address of the provider.
            options: Further options of ``AnyLLM.create``, for the provider's client.

        Raises:
            DefinitionError: any-llm is not installed, does not know the provider, or lacks its package or key.
        """
        provider, _, model = name.partition(":")
        try:
            import any_llm  # noqa: PLC0415 - an optional extra
        except ImportError:
            remedy = "pip install 'handfast[any-llm]'"
            raise DefinitionError("AnyLLMModel", f"any-llm is not installed; {remedy}") from None
        try:
            self._client: AnyLLM = any_llm.AnyLLM.create(
                provider, api_key, api_base, unified_exceptions=True, max_retries=0, **options
            )
        except (any_llm.AnyLLMError, ImportError, ValueError) as error:
            raise DefinitionError("AnyLLMModel", f"{provider!r} cannot be asked: {error}") from error
        self.model = model or None

    async def answer(self, request: ModelRequest) -> ModelAnswer:
        """Call the model once.

        Raises:
            ModelCallError: It did not answer, or not with a reply, or the provider has nothing for the request.
        """
        fields: dict[str, Any] = {
            **settings_of(request.settings, max_tokens="max_tokens", tools=bool(request.tools)),
            "messages": messages_of(request.items, instructions=request.instructions, reasoning="keep"),
        }
        if request.tools:
            fields["tools"] = tools_of(request.tools, strict=True)
        try:
            if request.on_delta is not None:
                return await self._streamed(request.model, fields, request.on_delta)
            completion = await self._client.acompletion(request.model, **fields)
            return read_completion(completion.model_dump(mode="json"))
        except ModelCallError:
            raise
        except Exception as error:
            raise _failure(error) from error

    async def _streamed(self, model: str, fields: dict[str, Any], on_delta: OnDelta) -> ModelAnswer:
        reply = StreamedCompletion(on_delta)
        chunks: Any = await self._client.acompletion(
            model, stream=True, stream_options={"include_usage": True}, **fields
        )
        async for chunk in _closed(chunks):
            reply.take_chunk(chunk.model_dump(mode="json"))
        if not reply.finished:
            raise broke_off("the stream ended")
        return reply.answer()


async def _closed(chunks: Any) -> AsyncIterator[Any]:
    """Yield *chunks*, and close their connection however the reading ends."""
    try:
        async for chunk in chunks:
            yield chunk
    finally:
        close = getattr(chunks, "aclose", None) or getattr(chunks, "close", None)
        if close is not None:
            await close()


def _failure(error: Exception) -> ModelCallError:
    from any_llm import AnyLLMError  # noqa: PLC0415 - an optional extra

    if not isinstance(error, AnyLLMError):
        return failure_of(error)
    status = error.status_code
    kind, retryable = _KINDS.get(type(error).__name__, ("ModelUnavailable", status is None or status >= 500))
    asked = getattr(error, "retry_after", None)
    wait = retry_after({"retry-after": str(asked)}) if asked is not None else None
    return ModelCallError(kind, f"the model failed: {text(str(error))}", retryable=retryable, retry_after=wait)
