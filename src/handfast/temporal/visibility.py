"""Search attributes as a client uses them: their keys, and what a server says that lacks them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from temporalio.common import SearchAttributeKey
from temporalio.service import RPCError, RPCStatusCode

from handfast.payloads.search_attributes import AGENT, DUE, LABELS, PENDING, STATUS

STATUS_KEY: Final = SearchAttributeKey.for_keyword(STATUS)
AGENT_KEY: Final = SearchAttributeKey.for_keyword(AGENT)
PENDING_KEY: Final = SearchAttributeKey.for_int(PENDING)
LABELS_KEY: Final = SearchAttributeKey.for_keyword_list(LABELS)
DUE_KEY: Final = SearchAttributeKey.for_datetime(DUE)


def about_attributes(error: RPCError) -> bool:
    """Whether the server refused something because the namespace lacks a search attribute."""
    text = error.message.lower()
    return error.status is RPCStatusCode.INVALID_ARGUMENT and ("search attribute" in text or "column name" in text)


def quoted(values: Sequence[str]) -> str:
    """Values as a visibility query takes them, with commas between them."""
    return ", ".join("'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'" for value in values)
