"""Check options of an agent that depend on each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from handfast.definitions.checks import check_function, check_mapping
from handfast.definitions.schema.output_type import OutputType
from handfast.definitions.tools.offered import Offered
from handfast.errors import DefinitionError
from handfast.payloads.json_profile import JsonObject
from handfast.payloads.model_settings import problem_of_settings

__all__ = ["check_offered", "check_words", "checked_settings"]


def check_words(subject: str, instructions: object, rejection_text: object) -> None:
    """Check the instructions of an agent and the function that words the rejections of its calls.

    Raises:
        DefinitionError: One of them is neither a text nor such a function.
    """
    if not isinstance(instructions, str):
        check_function(subject, "instructions", instructions, "the run context", also="a text or ")
    if rejection_text is not None:
        check_function(subject, "rejection_text", rejection_text, "the run context", "the rejection")


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


def checked_settings(subject: str, settings: object, output: OutputType | None) -> JsonObject:
    """Copy the further fields of its requests, and check them.

    Raises:
        DefinitionError: One belongs to Handfast, is no JSON, or contradicts the output type.
    """
    check_mapping(subject, "model_settings", settings)
    copied: JsonObject = dict(cast(Mapping[str, Any], settings))
    problem = problem_of_settings(copied)
    if problem is not None:
        raise DefinitionError(subject, problem)
    if output is not None:
        output.settings(copied, subject)
    return copied
