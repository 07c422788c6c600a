"""Keeps the values of secrets out of outputs, errors and logs of a call."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextvars import ContextVar
from typing import Any, Final

MARKER: Final = "[secret]"
"""Stands in the place of a value."""
SHORTEST: Final = 4
"""Characters from which on a value is looked for: a shorter one is in every text."""

_HIDDEN: Final[ContextVar[tuple[str, ...]]] = ContextVar("handfast_hidden", default=())


def hide(values: Iterable[str]) -> None:
    """Hide *values* from now on, in the task or thread of this call and what it starts: as they are, and as JSON."""
    forms = {form for value in values if len(value) >= SHORTEST for form in _forms(value)}
    _HIDDEN.set(tuple(sorted(forms, key=len, reverse=True)))


def hidden(text: str) -> str:
    """Return the text with a marker in the place of each value."""
    for form in _HIDDEN.get():
        text = text.replace(form, MARKER)
    return text


def hidden_in(value: Any) -> Any:
    """Return a JSON value with a marker in the place of each value, in all texts and keys."""
    if not _HIDDEN.get():
        return value
    if isinstance(value, str):
        return hidden(value)
    if isinstance(value, list):
        return [hidden_in(each) for each in value]
    if isinstance(value, dict):
        return {hidden(key): hidden_in(each) for key, each in value.items()}
    return value


def _forms(value: str) -> set[str]:
    lines = value.strip()
    plain = {value, lines} if len(lines) >= SHORTEST else {value}
    as_json = {json.dumps(text, ensure_ascii=ascii)[1:-1] for text in plain for ascii in (True, False)}
    return plain | as_json
