"""What Holdfast asks of a model provider, whatever its API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal, Protocol

from holdfast.payloads.json_profile import JsonObject
from holdfast.payloads.usage import Usage


@dataclass(frozen=True, kw_only=True)
class ModelRequest:
    """One request: everything the model sees.

    Attributes:
        items: The conversation, as the Responses API takes it.
        tools: Tool definitions, as the Responses API takes them.
        settings: Further fields of the request.
    """

    model: str
    instructions: str
    items: Sequence[JsonObject]
    tools: Sequence[JsonObject] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ModelAnswer:
    """One reply as it came.

    Attributes:
        incomplete: Why the reply stops in the middle, None for a whole one.
    """

    items: list[JsonObject]
    usage: Usage
    response_id: str | None = None
    incomplete: str | None = None


ModelErrorKind = Literal["ModelBusy", "ModelUnavailable", "ModelRefused", "ModelReplyInvalid"]


class ModelCallError(Exception):
    """A model call failed; says whether a retry can help.

    Retries are bounded by time, except that a run asks three times at most for a reply that can be read
    (``ModelReplyInvalid``).

    Attributes:
        retry_after: What the provider asked for.
        usage: What it counted, where it gave a reply that cannot be used.
    """

    def __init__(
        self,
        kind: ModelErrorKind,
        message: str,
        *,
        retryable: bool,
        retry_after: timedelta | None = None,
        usage: Usage | None = None,
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.retryable = retryable
        self.retry_after = retry_after
        self.usage = usage


class ModelPort(Protocol):
    """A provider. Cancelling the task that awaits `answer` closes its connection."""

    async def answer(self, request: ModelRequest) -> ModelAnswer:
        """Call the model once.

        Raises:
            ModelCallError: It did not answer, or not with a reply.
        """
        ...
