"""The search attributes by which runs are found in visibility: names of the wire, pinned by a test.

The types are written as the `temporal` command writes them. Visibility on SQL has room for three Int, three
Datetime and three KeywordList attributes in a namespace, so none is added lightly.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

STATUS: Final = "HandfastStatus"
AGENT: Final = "HandfastAgent"
PENDING: Final = "HandfastPending"
APPROVERS: Final = "HandfastApprovers"
LABELS: Final = "HandfastLabels"
DUE: Final = "HandfastDue"

SEARCH_ATTRIBUTES: Final[Mapping[str, str]] = {
    STATUS: "Keyword",
    AGENT: "Keyword",
    PENDING: "Int",
    APPROVERS: "KeywordList",  # groups only, never people
    LABELS: "KeywordList",  # key=value
    DUE: "Datetime",
}
