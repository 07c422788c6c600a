"""The search attributes by which runs are found, and their use in visibility.

Their names belong to the wire, and a test pins them. Visibility on SQL has room for three Int, three Datetime and three
KeywordList attributes in a namespace, so none is added lightly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from temporalio.common import SearchAttributeKey
from temporalio.service import RPCError, RPCStatusCode

STATUS: Final = SearchAttributeKey.for_keyword("HandfastStatus")
AGENT: Final = SearchAttributeKey.for_keyword("HandfastAgent")
PENDING: Final = SearchAttributeKey.for_int("HandfastPending")
APPROVERS: Final = SearchAttributeKey.for_keyword_list("HandfastApprovers")
"""Groups only, never people."""
LABELS: Final = SearchAttributeKey.for_keyword_list("HandfastLabels")
"""Each as ``key=value``."""
DUE: Final = SearchAttributeKey.for_datetime("HandfastDue")

KEYS: Final[Sequence[SearchAttributeKey[Any]]] = (STATUS, AGENT, PENDING, APPROVERS, LABELS, DUE)
SEARCH_ATTRIBUTES: Final[Mapping[str, str]] = {
    key.name: key.indexed_value_type.name.title().replace("_", "") for key in KEYS
}
"""Their types by name, as the `temporal` command writes them: Keyword, KeywordList, Int, Datetime."""


def about_attributes(error: RPCError) -> bool:
    """Return True where the server refused a request because the namespace lacks a search attribute."""
    text = error.message.lower()
    return error.status is RPCStatusCode.INVALID_ARGUMENT and ("search attribute" in text or "column name" in text)


def quoted(values: Sequence[str]) -> str:
    """Quote values for a visibility query, with commas between them."""
    return ", ".join("'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'" for value in values)
