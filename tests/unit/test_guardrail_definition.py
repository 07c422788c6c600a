"""Guardrails, and what they may answer."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast import Allow, Fail, Replace
from holdfast.errors import DefinitionError


def test_a_verdict_may_carry_what_was_found() -> None:
    """Every verdict takes a piece of information of the user's own; it needs none."""
    assert Allow() == Allow(info=None)
    assert Replace("better", info={"score": 1}).value == "better"
    assert Fail("too rude", info=["a", "b"]).info == ["a", "b"]


def test_a_failure_says_why() -> None:
    """A reason that is no text is refused where it is made."""
    reason: Any = 7
    with pytest.raises(DefinitionError, match="Fail: reason must be a text, not a int"):
        Fail(reason)
