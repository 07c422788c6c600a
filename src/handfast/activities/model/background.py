"""Passes the id of a background response from one attempt of a model call to the next."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final

from temporalio import activity

from handfast.activities.runtime.keeping import Saying
from handfast.models.port import Background
from handfast.payloads.model_call import ModelCall, Underway

logger = logging.getLogger(__name__)

PATIENCE_S: Final = 480.0
"""Time for which one call waits: less than its ten minutes."""


def background_of(call: ModelCall, saying: Saying) -> Background:
    """Return how to wait for the response of *call*; heartbeats hold its id, so that a further attempt picks it up."""

    async def remember(response: str | None) -> None:
        await saying.say([{"response": response}])

    return Background(
        remember=remember,
        withdrawn=lambda: saying.is_withdrawn,
        patience_s=PATIENCE_S,
        resume=_begun(call),
    )


def waited_for(call: ModelCall, response: str) -> Underway:
    """Tell the workflow of a response that the provider is still making."""
    before = call.underway
    return Underway(response=response, calls=1 + (before.calls if before and before.response == response else 0))


def _begun(call: ModelCall) -> str | None:
    """Return the response that an earlier attempt began, or else an earlier call."""
    details = activity.info().heartbeat_details
    if details and isinstance(details[0], Mapping) and "response" in details[0]:
        said = details[0]["response"]
        return said if isinstance(said, str) else None
    return None if call.underway is None else call.underway.response
