"""Search attributes for clients: typed keys, values in queries, and the error of a namespace that lacks them."""

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
    """Return True where the server refused a request because the namespace lacks a search attribute."""
    text = error.message.lower()
    return error.status is RPCStatusCode.INVALID_ARGUMENT and ("search attribute" in text or "column name" in text)


def quoted(values: Sequence[str]) -> str:
    """Quote values for a visibility query, with commas between them."""
    return ", ".join("'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'" for value in values)
