"""Looks up which of our search attributes a namespace has: an upsert of a missing one stops a workflow for ever."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from temporalio.client import Client
from temporalio.service import RPCError

from handfast.temporal.namespace import missing_search_attributes
from handfast.temporal.search_attributes import SEARCH_ATTRIBUTES

logger = logging.getLogger(__name__)

ASK_AGAIN_S: Final = 60.0


class AttributeProbe:
    """Asks the server once for all runs, and a minute later again for the attributes that are missing."""

    def __init__(self) -> None:
        self._known: list[str] | None = None
        self._asked_at = 0.0
        self._warned = False
        self._refused = False

    async def existing(self, client: Client) -> list[str] | None:
        """Return the attributes of ours that the namespace has; None where the server did not say."""
        now = asyncio.get_running_loop().time()
        if self._known is not None and (
            len(self._known) == len(SEARCH_ATTRIBUTES) or now - self._asked_at < ASK_AGAIN_S
        ):
            return self._known
        try:
            missing = set(await missing_search_attributes(client))
        except RPCError as error:
            log = logger.debug if self._refused else logger.warning
            self._refused = True
            log("the search attributes of namespace %s could not be listed: %s", client.namespace, error)
            return None
        self._known = [name for name in SEARCH_ATTRIBUTES if name not in missing]
        self._asked_at = now
        if len(self._known) < len(SEARCH_ATTRIBUTES) and not self._warned:
            self._warned = True
            logger.warning(
                "namespace %s lacks search attributes of Handfast; runs work, lists across runs do not: "
                "see `handfast setup --print`",
                client.namespace,
            )
        return self._known
