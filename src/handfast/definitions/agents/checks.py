"""What is checked when an agent is defined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeGuard

from pydantic import BaseModel

from handfast.definitions.schema.arguments import is_list, problem_of
from handfast.definitions.schema.output_type import OutputType
from handfast.definitions.schema.signature import require_positional
from handfast.definitions.tools.offered import Offered
from handfast.errors import DefinitionError, JsonProfileError
from handfast.payloads.json_profile import JsonObject, check_json

__all__ = [
    "check_lists",
    "check_model",
    "check_offered",
    "check_texts",
    "checked_bool",
    "checked_description",
    "checked_settings",
    "is_model",
]

OWNED_SETTINGS: Final = frozenset(
    {
        *("background", "conversation", "include", "input", "instructions"),
        *("model", "previous_response_id", "store", "stream", "tools"),
    }
)
"""Fields of a Responses request that Handfast fills itself."""


def is_model(candidate: object) -> TypeGuard[type[BaseModel]]:
    """Whether *candidate* is a pydantic model class."""
    return isinstance(candidate, type) and issubclass(candidate, BaseModel)


def check_lists(subject: str, **given: tuple[object, Any]) -> None:
    """Check that arguments are lists; what they hold is checked where it is read.

    Args:
        subject: Whose.
        given: Each argument with its annotation.

    Raises:
        DefinitionError: One is a single value, such as a name.
    """
    for name, (value, hint) in given.items():
        problem = None if is_list(value) else problem_of(name, value, hint)
        if problem is not None:
            raise DefinitionError(subject, problem)


def check_texts(subject: str, instructions: object, rejection_text: object) -> None:
    """Check what words an agent's instructions and the rejections of its calls.

    Raises:
        DefinitionError: One of them is neither a text nor such a function.
    """
    if not isinstance(instructions, str):
        if not callable(instructions):
            raise DefinitionError(subject, "instructions must be a string or a function of the run context")
        require_positional(instructions, 1, subject, "the instructions function, given the run context,")
    if rejection_text is not None:
        if not callable(rejection_text):
            raise DefinitionError(subject, "rejection_text must be a function of run context and rejection")
        require_positional(rejection_text, 2, subject, "rejection_text, given run context and rejection,")


def check_model(subject: str, model: object, client: object) -> None:
    """Check which model an agent asks, and through which client.

    Raises:
        DefinitionError: One of them is no name.
    """
    if model is not None and not (isinstance(model, str) and model):
        raise DefinitionError(subject, "model must be a model's name or None")
    if not (isinstance(client, str) and client):
        raise DefinitionError(subject, "client must name an entry of the plugin's models")


def checked_description(subject: str, description: object) -> str:
    """Check what an agent is said to be for.

    Raises:
        DefinitionError: It is no text.
    """
    if not isinstance(description, str):
        raise DefinitionError(subject, "description must be a string")
    return description


def check_offered(subject: str, offered: Sequence[Offered]) -> None:
    """Check that no two things that an agent offers share a name.

    Raises:
        DefinitionError: Two do.
    """
    seen: set[str] = set()
    for each in offered:
        if each.name in seen:
            raise DefinitionError(subject, f"two of its tools are named {each.name!r}; give one of them name=…")
        seen.add(each.name)


def checked_settings(subject: str, settings: Mapping[str, Any], output: OutputType | None) -> JsonObject:
    """Copy the further fields of its requests, and check them.

    Raises:
        DefinitionError: One belongs to Handfast, is no JSON, or contradicts the output type.
    """
    problem = problem_of("model_settings", settings, Mapping[str, Any])
    if problem is not None:
        raise DefinitionError(subject, problem)
    copied = dict(settings)
    owned = sorted(OWNED_SETTINGS & copied.keys())
    if owned:
        raise DefinitionError(subject, f"model_settings must not hold {', '.join(owned)}: Handfast sets it")
    try:
        check_json(copied)
    except JsonProfileError as error:
        raise DefinitionError(subject, f"model_settings must be JSON: {error.problem}") from None
    if output is not None:
        output.settings(copied, subject)
    return copied


def checked_bool(subject: str, name: str, value: object) -> bool:
    """Check an argument that is either true or false.

    Raises:
        DefinitionError: It is no bool.
    """
    if not isinstance(value, bool):
        raise DefinitionError(subject, f"{name} must be True or False")
    return value
