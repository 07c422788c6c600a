"""Words for arguments that do not validate: the place and the expectation, never the value."""

from __future__ import annotations

import json
import re
from typing import Any, Final, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_core.core_schema import ErrorType

__all__ = ["problems_of_arguments", "problems_of_values"]

_MOST_PROBLEMS: Final = 10
_MOST_PART_CHARS: Final = 64
_MOST_TEXT_CHARS: Final = 500

# pydantic's own sentences speak of the expectation, but for these; a validator's sentence may say anything.
_OWN_SENTENCES: Final = frozenset(get_args(ErrorType)) - {"value_error", "assertion_error"}
_REPLACED: Final = {"uuid_parsing": "Input should be a valid UUID"}


def problems_of_arguments(error: ValidationError) -> list[str]:
    """Return one sentence per problem, at most ten."""
    return problems_of_values(error, "arguments")


def problems_of_values(error: ValidationError, root: str) -> list[str]:
    """Return one sentence per problem, at most ten; *root* names the value as a whole."""
    details = error.errors(include_url=False)
    problems = [f"{_path(detail, root)}: {_sentence(detail)}" for detail in details[:_MOST_PROBLEMS]]
    if len(details) > _MOST_PROBLEMS:
        problems.append(f"and {len(details) - _MOST_PROBLEMS} more")
    return problems


def _path(detail: ErrorDetails, root: str) -> str:
    return ".".join(_part(part) for part in detail["loc"]) or root


def _part(part: int | str) -> str:
    text = str(part)[:_MOST_PART_CHARS]
    return text if text.isprintable() else json.dumps(text)


def _sentence(detail: ErrorDetails) -> str:
    kind = detail["type"]
    if kind == "union_tag_invalid":
        facts = detail["ctx"]
        return f"Input should have {facts['discriminator']} set to one of {facts['expected_tags']}"
    if kind in _OWN_SENTENCES:
        return _REPLACED.get(kind, detail["msg"])
    return _redacted(detail["msg"], detail["input"])[:_MOST_TEXT_CHARS]


def _redacted(sentence: str, value: Any) -> str:
    """Replace every scalar of *value* where it stands in *sentence* as a word of its own."""
    for scalar in sorted(_scalars(value), key=len, reverse=True):
        sentence = re.sub(rf"(?<!\w){re.escape(scalar)}(?!\w)", "…", sentence)
    return sentence


def _scalars(value: Any) -> set[str]:
    if isinstance(value, dict):
        return {scalar for item in value.values() for scalar in _scalars(item)}
    if isinstance(value, list | tuple | set | frozenset):
        return {scalar for item in value for scalar in _scalars(item)}
    return {text for text in (str(value), repr(value)) if text}
