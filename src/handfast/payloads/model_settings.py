"""Settings of a model's requests: fields that Handfast fills itself, and those that are no field of the body."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from handfast.payloads.errors import JsonProfileError
from handfast.payloads.json_profile import check_json

__all__ = ["OWNED_SETTINGS", "TRANSPORT_SETTINGS", "merged_settings", "problem_of_settings"]

OWNED_SETTINGS: Final = frozenset(
    {
        *("background", "conversation", "input", "instructions"),
        *("model", "previous_response_id", "store", "stream", "tools"),
    }
)
"""Fields of a Responses request that Handfast fills itself."""

TRANSPORT_SETTINGS: Final = frozenset({"extra_headers", "extra_query", "extra_body", "timeout"})
"""Settings that say how a request is sent, or add to its body; no field of it."""


def problem_of_settings(settings: Mapping[str, Any]) -> str | None:
    """Return the problem of ``model_settings``, without its values; None where there is none."""
    owned = sorted(OWNED_SETTINGS & settings.keys())
    if owned:
        return f"model_settings must not hold {', '.join(owned)}: Handfast sets it"
    try:
        check_json(dict(settings))
    except JsonProfileError as error:
        return f"model_settings must be JSON: {error.problem}"
    include = settings.get("include", [])
    if not isinstance(include, list) or not all(isinstance(each, str) and each for each in include):
        return f"model_settings['include'] must be a list of texts{_not(include, list)}"
    for name in ("extra_headers", "extra_query", "extra_body"):
        if not isinstance(given := settings.get(name) or {}, dict):
            return f"model_settings[{name!r}] must be a dict{_not(given, dict)}"
    for name, value in (settings.get("extra_headers") or {}).items():
        if value is not None and not isinstance(value, str):
            return f"model_settings['extra_headers'][{name!r}] must be a text or None{_not(value, str)}"
    owned = sorted(OWNED_SETTINGS & (settings.get("extra_body") or {}).keys())
    if owned:
        return f"model_settings['extra_body'] must not hold {', '.join(owned)}: Handfast sets it"
    seconds = settings.get("timeout")
    if isinstance(seconds, bool) or not (seconds is None or (isinstance(seconds, int | float) and seconds > 0)):
        return f"model_settings['timeout'] must be a positive number of seconds{_not(seconds, int | float)}"
    return None


def merged_settings(settings: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return *settings* with those of *over* in their place; a null there takes a setting away."""
    merged = {**settings, **over}
    return {name: value for name, value in merged.items() if name not in over or value is not None}


def _not(value: object, wanted: Any) -> str:
    """Name the type of a value that is of the wrong one."""
    return "" if isinstance(value, wanted) and not isinstance(value, bool) else f", not a {type(value).__name__}"
