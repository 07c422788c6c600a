"""Errors of a provider, and their meaning: the same inside a 200 as with an HTTP status."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final

from handfast.payloads.json_profile import scrub

ERROR_TEXT_CHARS: Final = 4000
LONGEST_RETRY_AFTER: Final = timedelta(minutes=10)
RETRYABLE_STATUS: Final = frozenset({408, 409, 425, 429})
CONVERSATION_LOCKED: Final = "conversation_locked"
"""Code of the answer, a 400, while another response is being made on the conversation."""
FORGOTTEN: Final = frozenset({"previous_response_not_found", "conversation_not_found"})

# Codes and types of OpenAI, Azure, Anthropic and Google (through LiteLLM and OpenRouter), vLLM and Ollama, as the words
# of which they are made: each provider has spellings of its own.
_UNPAID: Final = ("insufficient_quota", "insufficient_credit", "billing", "payment", "credits_exhausted")
_LASTING: Final = (
    *("invalid", "not_found", "unsupported", "authentication", "permission", "forbidden", "too_large", "bad_request"),
    *("context_length", "policy", "content_filter", "moderation", "safety"),
)
_PASSING: Final[tuple[tuple[int, tuple[str, ...]], ...]] = (
    (429, ("rate_limit", "ratelimit", "too_many_requests", "slow_down", "throttl", "resource_exhausted")),
    (503, ("overload", "unavailable", "capacity", "busy", "not_ready")),
    (504, ("timeout", "timed_out", "deadline_exceeded")),
    (502, ("gateway", "upstream")),
    (
        500,
        (
            *("server_error", "model_error", "internal", "api_error", "connection_error", "stream_error"),
            *("stream_read", "unknown_error"),
        ),
    ),
)
_PASSING_WORDS: Final = re.compile(
    r"overloaded|temporarily|at capacity|(try|retry) again (later|in)\b|please retry", re.I
)

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_UNIT: Final = r"(ms|milliseconds?|seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h)"
_AGAIN_IN: Final = re.compile(
    rf"\b(?:again|retry|wait)\b[^.\d]{{0,24}}?((?:\d+(?:\.\d+)?\s*{_UNIT}\s*)+)(?![a-z])", re.I
)
_DURATION: Final = re.compile(rf"(\d+(?:\.\d+)?)\s*{_UNIT}", re.I)
_WAITS: Final = {"retry_after_ms": 0.001, "retry_after": 1.0, "retry_after_seconds": 1.0, "resets_in_seconds": 1.0}
"""Fields of an error that say how long to wait, and their unit in seconds."""


@dataclass(frozen=True, kw_only=True)
class ProviderError:
    """A failure in the provider's words.

    Attributes:
        status: The HTTP status; None inside a 200.
        code: What it calls the failure, as text.
        kind: The wider class of the failure: its ``type``.
        param: The parameter at fault.
        retry_after: How long it asks to wait.
        should_retry: What it says of another try, in so many words.
    """

    message: str
    status: int | None = None
    code: str | None = None
    kind: str | None = None
    param: str | None = None
    retry_after: timedelta | None = None
    should_retry: bool | None = None

    @property
    def is_unpaid(self) -> bool:
        """True if it says that nobody pays for the model any more."""
        return self.status == 402 or any(_holds(_words(name), _UNPAID) for name in (self.code, self.kind) if name)

    @property
    def meaning(self) -> int | None:
        """The HTTP status that says the same, where the failure passes; None where another try cannot help."""
        if self.should_retry is not None:
            return (self.status or 503) if self.should_retry else None
        said = [_words(name) for name in (self.code, self.kind) if name]
        if self.is_unpaid:
            return None
        lasts = False
        for each in said:
            number = each.rpartition("_")[2]
            if number.isdecimal() and len(number) == 3:
                if passes(int(number)):
                    return int(number)
                lasts = True
                continue
            if _holds(each, _LASTING):
                lasts = True
                break
            for status, parts in _PASSING:
                if _holds(each, parts):
                    return status
        if self.status is not None:
            return self.status if passes(self.status) else None
        if not said:
            return 500  # it did not say what failed: most likely nothing of ours
        return 503 if not lasts and _PASSING_WORDS.search(self.message) else None


def passes(status: int) -> bool:
    """Return whether the same request may be answered later, after *status*."""
    return status in RETRYABLE_STATUS or status >= 500


def error_of(said: object, *, status: int | None = None, headers: Mapping[str, str] | None = None) -> ProviderError:
    """Read an error, in whatever form it came.

    Args:
        said: The decoded body, the error within it, or an event of a stream.
        status: The HTTP status; None inside a 200, where it says nothing.
        headers: Of the answer.
    """
    if isinstance(said, list) and said:
        said = said[0]  # Google's form
    outer: Mapping[str, Any] = said if isinstance(said, Mapping) else {}
    inner = next((outer[name] for name in ("error", "detail") if isinstance(outer.get(name), str | Mapping)), said)
    fields: Mapping[str, Any] = _validation(outer.get("detail")) or (inner if isinstance(inner, Mapping) else {})
    shown = text(_message(inner, fields))
    given = headers or {}
    asked = given.get("x-should-retry")
    return ProviderError(
        message=shown,
        status=status,
        code=_name(fields.get("code")),
        kind=_name(fields.get("type") if fields.get("type") != "error" else None),
        param=_name(fields.get("param")),
        retry_after=retry_after(given) or _told(fields) or _told(outer) or _worded(shown),
        should_retry=asked == "true" if asked in ("true", "false") else None,
    )


def retry_after(headers: Mapping[str, str]) -> timedelta | None:
    """Read ``retry-after-ms`` or ``retry-after`` (seconds or an HTTP date); at most ten minutes count.

    A value that cannot be read is as good as none: the other one counts.
    """
    millis, plain = headers.get("retry-after-ms"), headers.get("retry-after")
    return _wait(millis, 0.001) or _wait(plain, 1.0) or _until(plain)


def text(message: str) -> str:
    """Bound and clean what a provider said, so that it may be recorded."""
    return scrub(message)[:ERROR_TEXT_CHARS]


# --- inside ---


def _message(inner: object, fields: Mapping[str, Any]) -> str:
    said = next((fields[name] for name in ("message", "detail") if fields.get(name)), None) or inner
    if isinstance(said, str):
        return said
    return json.dumps(said, default=str) if said else "no reason given"


def _validation(detail: object) -> Mapping[str, Any] | None:
    """The first problem that FastAPI found in a request, as an error of the API; None for any other *detail*."""
    first = detail[0] if isinstance(detail, list) and detail else None
    if not isinstance(first, Mapping) or not isinstance(first.get("loc"), list):
        return None
    path = "".join(f"[{each}]" if isinstance(each, int) else f".{each}" for each in first["loc"] if each != "body")
    return {"message": first.get("msg"), "code": first.get("type"), "param": path.removeprefix(".")}


def _name(value: object) -> str | None:
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return text(str(value)) or None


def _words(name: str) -> str:
    """Spell a name of any style with small letters and underscores."""
    split = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return re.sub(r"[^a-z0-9]+", "_", split.lower()).strip("_")


def _holds(name: str, parts: Sequence[str]) -> bool:
    return any(part in name for part in parts)


def _told(fields: Mapping[str, Any]) -> timedelta | None:
    """Return how long to wait, by the fields of an error or of its metadata."""
    for name, unit in _WAITS.items():
        if (wait := _wait(fields.get(name), unit)) is not None:
            return wait
    metadata = fields.get("metadata")
    if not isinstance(metadata, Mapping):
        return None
    headers = metadata.get("headers")
    named = {str(key).lower(): str(value) for key, value in headers.items()} if isinstance(headers, Mapping) else {}
    return retry_after(named) or _told({**metadata, "metadata": None})


def _worded(message: str) -> timedelta | None:
    """Return how long to wait, by a sentence such as "Please try again in 1m30.5s."."""
    found = _AGAIN_IN.search(message)
    if found is None:
        return None
    seconds = 0.0
    for number, unit in _DURATION.findall(found.group(1)):
        short = unit.lower()
        seconds += float(number) * _UNITS["ms" if short.startswith(("ms", "mil")) else short[0]]
    return _wait(seconds, 1.0)


def _wait(value: object, unit: float) -> timedelta | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        seconds = float(value) * unit
    except (ValueError, OverflowError):
        return None
    if not math.isfinite(seconds) or seconds <= 0:
        return None
    return timedelta(seconds=min(seconds, LONGEST_RETRY_AFTER.total_seconds()))


def _until(date: str | None) -> timedelta | None:
    try:
        wait = parsedate_to_datetime(date or "") - datetime.now(UTC)
    except (ValueError, TypeError, OverflowError):
        return None
    return min(wait, LONGEST_RETRY_AFTER) if wait > timedelta(0) else None
