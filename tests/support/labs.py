"""What the fixtures of labs give to a test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from handfast import Agent
from handfast.testing import Lab


class MakeLab(Protocol):
    """Opens a lab that is closed, and replayed, when the test ends."""

    async def __call__(self, agents: Sequence[Agent] | str, **options: Any) -> Lab: ...


Effects = list[str]
