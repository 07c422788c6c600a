"""Passes the id of a background response from one attempt of a model call to the next."""

from __future__ import annotations

import logging
from typing import Final

from handfast.activities.model.in_turn import ModelsInTurn
from handfast.activities.runtime.keeping import Saying
from handfast.models.port import Background

logger = logging.getLogger(__name__)

PATIENCE_S: Final = 480.0
"""Time for which one call waits: less than its ten minutes."""


def background_of(turn: ModelsInTurn, saying: Saying) -> Background:
    """Return how to wait for a response; heartbeats hold its id, so that a further attempt picks it up."""

    async def remember(response: str | None) -> None:
        await turn.say(response=response)

    return Background(
        remember=remember,
        withdrawn=lambda: saying.is_withdrawn,
        patience_s=PATIENCE_S,
        resume=turn.response,
    )
