"""What a provider's client raises, as failures of the model call: each says whether a retry can help."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

import openai

from handfast.models.port import ModelCallError
from handfast.models.reading import text

logger = logging.getLogger(__name__)

RETRYABLE_STATUS: Final = frozenset({408, 409, 429})
CONVERSATION_LOCKED: Final = "conversation_locked"
"""Code of the answer, a 400, while another response is being made on the conversation."""
LONGEST_RETRY_AFTER: Final = timedelta(minutes=10)


def failure_of(error: Exception) -> ModelCallError:
    """What an exception of the client means for the call."""
    if isinstance(error, ModelCallError):
        return error
    if isinstance(error, openai.APIStatusError):
        return _from_status(error)
    if isinstance(error, openai.APIConnectionError):
        return ModelCallError(
            "ModelUnavailable", f"the model could not be reached: {text(error.message)}", retryable=True
        )
    if isinstance(error, openai.OpenAIError):
        return ModelCallError("ModelRefused", text(str(error)), retryable=False)
    # Of the user's: a function that gives the key, a transport, a hook. What it says may hold a secret.
    logger.error("the model's client raised %s", type(error).__name__)
    return ModelCallError("ModelUnavailable", f"the model's client raised {type(error).__name__}", retryable=True)


def _from_status(error: openai.APIStatusError) -> ModelCallError:
    status = error.status_code
    if error.code == "previous_response_not_found" or (status == 404 and error.param == "conversation"):
        return ModelCallError("HistoryLost", f"the provider has forgotten it: {text(error.message)}", retryable=False)
    message = f"the model answered {status}: {text(error.message)}"
    retryable = status in RETRYABLE_STATUS or status >= 500
    if error.code == "insufficient_quota":
        retryable = False
    if error.code == CONVERSATION_LOCKED:
        return ModelCallError("ModelBusy", message, retryable=True)
    asked = error.response.headers.get("x-should-retry")
    if asked in ("true", "false"):
        retryable = asked == "true"
    if not retryable:
        if status == 401:
            message += " (check the key of the client in HandfastPlugin(models=…), or OPENAI_API_KEY)"
        return ModelCallError("ModelRefused", message, retryable=False)
    return ModelCallError(
        "ModelBusy" if status == 429 else "ModelUnavailable",
        message,
        retryable=True,
        retry_after=retry_after(error.response.headers),
    )


def retry_after(headers: Mapping[str, str]) -> timedelta | None:
    """Read ``retry-after-ms`` or ``retry-after`` (seconds or an HTTP date); at most ten minutes count."""
    millis, plain = headers.get("retry-after-ms"), headers.get("retry-after")
    wait: timedelta | None = None
    try:
        if millis is not None:
            wait = timedelta(milliseconds=float(millis))
        elif plain is not None and plain.replace(".", "", 1).isdigit():
            wait = timedelta(seconds=float(plain))
        elif plain is not None:
            wait = parsedate_to_datetime(plain) - datetime.now(UTC)
    except (ValueError, TypeError, OverflowError):
        return None
    if wait is None or wait <= timedelta(0):
        return None
    return min(wait, LONGEST_RETRY_AFTER)
