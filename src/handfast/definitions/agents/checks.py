"""Check options of an agent that depend on each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from handfast.definitions.checks import a_kind, check_function, check_mapping, check_text, listed
from handfast.definitions.schema.output_type import OutputType
from handfast.definitions.tools.offered import Offered
from handfast.errors import DefinitionError, JsonProfileError
from handfast.payloads.json_profile import JsonObject, check_json

__all__ = ["check_offered", "check_words", "checked_settings"]

OWNED_SETTINGS: Final = frozenset(
    {
        *("background", "conversation", "input", "instructions"),
        *("model", "previous_response_id", "store", "stream", "tools"),
    }
)
"""Fields of a Responses request that Handfast fills itself."""


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
    owned = sorted(OWNED_SETTINGS & copied.keys())
    if owned:
        raise DefinitionError(subject, f"model_settings must not hold {', '.join(owned)}: Handfast sets it")
    try:
        check_json(copied)
    except JsonProfileError as error:
        raise DefinitionError(subject, f"model_settings must be JSON: {error.problem}") from None
    _check_transport(subject, copied)
    if output is not None:
        output.settings(copied, subject)
    return copied


def _check_transport(subject: str, settings: JsonObject) -> None:
    """Check the settings that are no field of the request, or are added to one of ours."""
    option = "model_settings"
    for name in listed(subject, f"{option}['include']", settings.get("include", []), "texts"):
        check_text(subject, f"an entry of {option}['include']", name, filled=True)
    for name in ("extra_headers", "extra_query", "extra_body"):
        if settings.get(name) is not None:
            check_mapping(subject, f"{option}[{name!r}]", settings[name])
    for name, value in (settings.get("extra_headers") or {}).items():
        check_text(subject, f"{option}['extra_headers'][{name!r}]", value, none=True)
    owned = sorted(OWNED_SETTINGS & (settings.get("extra_body") or {}).keys())
    if owned:
        raise DefinitionError(subject, f"{option}['extra_body'] must not hold {', '.join(owned)}: Handfast sets it")
    seconds = settings.get("timeout")
    if seconds is not None and not (isinstance(seconds, int | float) and not isinstance(seconds, bool) and seconds > 0):
        raise DefinitionError(
            subject, f"{option}['timeout'] must be a positive number of seconds, not {a_kind(seconds)}"
        )
