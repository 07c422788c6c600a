"""Prompt templates that the provider keeps, and the filter over the input of each model call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from handfast.definitions.checks import a_kind, check_function, check_mapping, check_text
from handfast.definitions.context import RunContext
from handfast.errors import DefinitionError, JsonProfileError
from handfast.payloads.json_profile import JsonObject, check_json

__all__ = ["InputFilter", "ModelInput", "Prompt", "check_filter", "check_prompt", "checked_template"]

TEMPLATE_FIELDS: Final = ("id", "version", "variables")


@dataclass(frozen=True, slots=True)
class ModelInput:
    """Input of one model call, for ``Agent(input_filter=…)``, which returns the one that is sent.

    Attributes:
        items: The conversation, as the Responses API takes it; yours to change.
        instructions: The agent's, as they were made for this call.
    """

    items: Sequence[JsonObject]
    instructions: str


InputFilter: TypeAlias = Callable[[RunContext[Any], ModelInput], ModelInput | Awaitable[ModelInput]]
Prompt: TypeAlias = Mapping[str, Any] | Callable[[RunContext[Any]], Mapping[str, Any] | Awaitable[Mapping[str, Any]]]
"""``{"id": …, "version"?: …, "variables"?: {…}}``, or a function of the run context that returns it."""


def check_prompt(subject: str, prompt: object) -> None:
    """Check the prompt option.

    Raises:
        DefinitionError: It is no template, and no function of the run context.
    """
    if prompt is None:
        return
    if isinstance(prompt, Mapping):
        try:
            checked_template(prompt)
        except ValueError as error:
            raise DefinitionError(subject, f"prompt {error}") from None
    else:
        check_function(subject, "prompt", prompt, "the run context", also="a dict with an id, or ")


def checked_template(template: object) -> JsonObject:
    """Return a prompt template as the API takes it.

    Raises:
        ValueError: It is none; the text says what is wrong with it.
    """
    if not isinstance(template, Mapping):
        raise ValueError(f"must be a dict with an id, not {a_kind(template)}")
    copied: JsonObject = {key: value for key, value in template.items() if value is not None}
    unknown = [key for key in copied if key not in TEMPLATE_FIELDS]
    if unknown:
        raise ValueError(f"has {unknown[0]!r}; it may have {', '.join(TEMPLATE_FIELDS)}")
    try:
        check_text("prompt", "its id", copied.get("id"), filled=True)
        check_text("prompt", "its version", copied.get("version"), none=True)
        check_mapping("prompt", "its variables", copied.get("variables", {}))
        if "variables" in copied:
            copied["variables"] = dict(copied["variables"])
        check_json(copied)
    except DefinitionError as error:
        raise ValueError(error.problem) from None
    except JsonProfileError as error:
        raise ValueError(f"must be JSON: {error.problem}") from None
    return copied


def check_filter(subject: str, input_filter: object) -> None:
    """Check the input_filter option.

    Raises:
        DefinitionError: It is no function of run context and input.
    """
    if input_filter is not None:
        check_function(subject, "input_filter", input_filter, "the run context", "the model input")
