"""Translates what a provider's client raises into failures of the model call."""

from __future__ import annotations

import logging

import openai

from handfast.models.port import ModelCallError, ModelErrorKind
from handfast.models.provider_error import CONVERSATION_LOCKED, FORGOTTEN, ProviderError, error_of, text
from handfast.payloads.usage import Usage

logger = logging.getLogger(__name__)


def failure_of(error: Exception) -> ModelCallError:
    """Translate an exception of the client; each failure says whether another try can help."""
    if isinstance(error, ModelCallError):
        return error
    if isinstance(error, openai.APIStatusError):
        said = error.body if isinstance(error.body, dict | list | str) and error.body else error.message
        return failure(error_of(said, status=error.status_code, headers=error.response.headers))
    if isinstance(error, openai.APIConnectionError):
        return ModelCallError(
            "ModelUnavailable", f"the model could not be reached: {text(error.message)}", retryable=True
        )
    if isinstance(error, openai.OpenAIError):
        return ModelCallError("ModelRefused", text(str(error)), retryable=False)
    # Of the user's: a function that gives the key, a transport, a hook. What it says may hold a secret.
    logger.error("the model's client raised %s", type(error).__name__)
    return ModelCallError("ModelUnavailable", f"the model's client raised {type(error).__name__}", retryable=True)


def failure(said: ProviderError, usage: Usage | None = None, *, key: str = "OPENAI_API_KEY") -> ModelCallError:
    """Say what an error means for the call.

    Args:
        said: The error.
        usage: What was counted for it: what was paid is asked again a few times, and not for an hour.
        key: The variable that the provider's key is taken from where nobody gives it.
    """
    what = f"failed ({said.code or said.kind or 'no code'})" if said.status is None else f"answered {said.status}"
    message = text(f"the model {what}: {said.message}")
    if said.status == 401:
        message += f" (check the key of the client in HandfastPlugin(models=…), or {key})"
    if said.code in FORGOTTEN or (said.status == 404 and said.param == "conversation"):
        return ModelCallError(
            "HistoryLost", f"the provider has forgotten it: {said.message}", retryable=False, said=said
        )
    paid = usage if usage is not None and usage.total_tokens else None
    meaning = 409 if said.code == CONVERSATION_LOCKED else said.meaning
    if meaning is None:
        return ModelCallError("ModelRefused", message, retryable=False, usage=paid, said=said)
    kind: ModelErrorKind = "ModelBusy" if meaning in (409, 429) else "ModelUnavailable"
    if paid is not None and meaning == 500:  # a busy provider has made nothing that would be paid for again
        kind = "ModelReplyInvalid"
    return ModelCallError(kind, message, retryable=True, retry_after=said.retry_after, usage=paid, said=said)
