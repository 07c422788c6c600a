"""What the world may see of a run without asking a worker: search attributes and memo."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from temporalio import workflow
from temporalio.common import SearchAttributeKey, SearchAttributeUpdate

from holdfast.payloads.requests import MEMO_LOG, MEMO_REQUEST, Request
from holdfast.payloads.runs import published_labels
from holdfast.workflows.ledger import Ledger

MEMO_ARGUMENTS_BYTES: Final = 2048
"""Arguments above this size are shown by their start in the memo; the query has them whole."""

STATUS: Final = SearchAttributeKey.for_keyword("HoldfastStatus")
AGENT: Final = SearchAttributeKey.for_keyword("HoldfastAgent")
PENDING: Final = SearchAttributeKey.for_int("HoldfastPending")
LABELS: Final = SearchAttributeKey.for_keyword_list("HoldfastLabels")
DUE: Final = SearchAttributeKey.for_datetime("HoldfastDue")


class Publisher:
    """Upserts what changed since the last time, at most one event of each kind per call.

    Attributes come into being only once an activity has reported which ones the namespace has: an upsert of a missing
    one stops a workflow for ever.
    """

    def __init__(self) -> None:
        self._known: frozenset[str] = frozenset()
        self._published: dict[str, Any] = {}
        self._shown: set[str] = set()
        for pair in workflow.info().typed_search_attributes:
            self._published[pair.key.name] = pair.value

    def attributes_exist(self, names: Sequence[str]) -> None:
        """Take over which attributes the namespace has."""
        self._known = frozenset(names)

    def publish(self, ledger: Ledger, status: str, agent: str | None, labels: Mapping[str, str]) -> None:
        """Write the ledger's transitions to the memo and the run's state to the search attributes."""
        self._publish_memo(ledger)
        if not self._known:
            return
        wanted: list[tuple[SearchAttributeKey[Any], Any]] = [
            (STATUS, status),
            (PENDING, len(ledger.open_requests())),
            (DUE, ledger.next_deadline()),
        ]
        if agent is not None:
            wanted.append((AGENT, agent))
        if labels:
            wanted.append((LABELS, published_labels(labels)))
        updates: list[SearchAttributeUpdate[Any]] = []
        for key, value in wanted:
            if key.name in self._known and self._published.get(key.name, _UNSET.get(key.name)) != value:
                updates.append(key.value_unset() if value is None else key.value_set(value))
                self._published[key.name] = value
        if updates:
            workflow.upsert_search_attributes(updates)

    def _publish_memo(self, ledger: Ledger) -> None:
        if not ledger.log:
            return
        memo: dict[str, Any] = {
            MEMO_REQUEST + request_id: for_memo(request) if request else None
            for request_id, request in ledger.unpublished.items()
            if request is not None or request_id in self._shown
        }
        self._shown |= {request_id for request_id, request in ledger.unpublished.items() if request}
        self._shown -= {request_id for request_id, request in ledger.unpublished.items() if not request}
        memo[MEMO_LOG] = [transition.to_wire() for transition in ledger.log]
        workflow.upsert_memo(memo)
        ledger.unpublished.clear()
        ledger.log.clear()


_UNSET: Final[dict[str, Any]] = {PENDING.name: 0}


def for_memo(request: Request) -> dict[str, Any]:
    """Shape a request for the memo: large arguments by their start and size."""
    return shortened(request, MEMO_ARGUMENTS_BYTES).to_wire()


def shortened(request: Request, limit: int) -> Request:
    """Replace arguments above *limit* bytes by their start and size."""
    if request.arguments is None:
        if request.arguments_preview is None or len(request.arguments_preview) <= limit:
            return request
        return request.model_copy(update={"arguments_preview": request.arguments_preview[:limit]})
    text = json.dumps(request.arguments, ensure_ascii=False)
    size = len(text.encode("utf-8", "replace"))
    if size <= limit:
        return request
    return request.model_copy(update={"arguments": None, "arguments_preview": text[:limit], "arguments_bytes": size})
