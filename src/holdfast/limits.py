"""Turns and tokens that an agent may spend, and what follows when nothing is left."""

from __future__ import annotations

from typing import get_args

from holdfast.errors import DefinitionError
from holdfast.payloads.requests import LimitPolicy

__all__ = ["LimitPolicy", "check_limits"]


def check_limits(subject: str, max_turns: object, max_tokens: object, on_limit: object) -> None:
    """Check an agent's limits.

    Raises:
        DefinitionError: One of them cannot work.
    """
    for name, limit in (("max_turns", max_turns), ("max_tokens", max_tokens)):
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
            raise DefinitionError(subject, f"{name} must be an integer of at least 1, or None for no limit")
    if on_limit not in get_args(LimitPolicy):
        raise DefinitionError(subject, f"on_limit must be one of {', '.join(map(repr, get_args(LimitPolicy)))}")
