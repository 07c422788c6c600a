"""The form of requests that a server of Chat Completions takes: as its entry says, less what it has refused."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, replace
from typing import Final, Literal

from handfast.models.omissions import is_unknown
from handfast.models.port import ModelCallError
from handfast.models.provider_error import ProviderError

Reasoning = Literal["keep", "turn", "drop"]
"""Part of its own reasoning that a model is sent again: all, that since the last message to it, or none."""
MaxTokens = Literal["max_completion_tokens", "max_tokens"]

logger = logging.getLogger(__name__)

_IDS: Final = re.compile(r"tool_calls\W+\d+\W+id\b|tool_call_id\b|tool call id\b", re.I)
_ID_FORM: Final = re.compile(r"too long|maximum length|with a length|\bmatch\b|\bpattern\b", re.I)
_THOUGHTS: Final = re.compile(r"\b(reasoning|reasoning_content|reasoning_details|thinking_blocks)\b")
_OTHER_LIMIT: Final[dict[MaxTokens, MaxTokens]] = {
    "max_completion_tokens": "max_tokens",
    "max_tokens": "max_completion_tokens",
}


@dataclass(frozen=True, kw_only=True)
class Form:
    """The form of a request that a server takes.

    Attributes:
        reasoning: Which reasoning goes back.
        strict: It knows ``strict`` tools.
        max_tokens: Its name for the limit of a reply.
        usage_in_stream: It knows ``stream_options``.
        short_ids: Calls have ids of nine letters and digits.
        renamed: It has refused the other name for the limit.
        left_out: What its requests go without since it refused that.
    """

    reasoning: Reasoning = "keep"
    strict: bool = True
    max_tokens: MaxTokens = "max_completion_tokens"
    usage_in_stream: bool = True
    short_ids: bool = False
    renamed: bool = False
    left_out: tuple[str, ...] = ()


class LearnedForms:
    """The form for each model of an entry, as the entry says it, and as refusals taught it since.

    Args:
        said: As the entry says it.
    """

    def __init__(self, said: Form) -> None:
        self._said = said
        self._learned: dict[str, Form] = {}

    def of(self, model: str) -> Form:
        """The form that requests to *model* have now."""
        return self._learned.get(model, self._said)

    def learn(self, model: str, error: ModelCallError, sent: Form) -> bool:
        """Learn from a refusal; whether the same request may be taken in another form now.

        Args:
            model: The model that was asked.
            error: Why it refused.
            sent: The form that the request had: another one may have learned the same meanwhile.
        """
        if self.of(model) != sent:
            return error.kind == "ModelRefused"
        form = _after(error.said, sent) if error.kind == "ModelRefused" and error.said is not None else None
        if form is None:
            return False
        logger.warning("%s refused a part of its request (%s); it is sent otherwise", model, error.message)
        self._learned[model] = form
        return True


def _after(said: ProviderError, form: Form) -> Form | None:
    """The form without what a server refuses; None where that is nothing of the form."""
    words = f"{said.param or ''} {said.message}"
    if not form.short_ids and _ID_FORM.search(said.message) and _IDS.search(words):
        return replace(form, short_ids=True)
    if not is_unknown(said):
        return None
    if form.reasoning != "drop" and _THOUGHTS.search(words) and "message" in words:
        return replace(form, reasoning="drop", left_out=(*form.left_out, "messages.reasoning"))
    if form.strict and re.search(r"\bstrict\b", words):
        return replace(form, strict=False, left_out=(*form.left_out, "tools.strict"))
    if form.usage_in_stream and "stream_options" in words:
        return replace(form, usage_in_stream=False, left_out=(*form.left_out, "stream_options"))
    if not form.renamed and re.search(rf"\b{form.max_tokens}\b", words):
        return replace(form, max_tokens=_OTHER_LIMIT[form.max_tokens], renamed=True)
    return None
