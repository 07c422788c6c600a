"""Publishes search attributes and memo: the part of a run that is seen without asking a worker."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from temporalio import workflow
from temporalio.common import SearchAttributeKey, SearchAttributeUpdate

from handfast.payloads.base import json_size
from handfast.payloads.json_profile import JsonObject
from handfast.payloads.people import groups_among
from handfast.payloads.requests import MEMO_FLOOD, MEMO_LOG, MEMO_REQUEST, Flood, Request
from handfast.payloads.runs import published_labels
from handfast.payloads.tool_call import INLINE_ARGUMENTS_BYTES
from handfast.temporal.search_attributes import AGENT, APPROVERS, DUE, LABELS, PENDING, STATUS
from handfast.workflows.ledger.ledger import Ledger
from handfast.workflows.state.deployment import Deployment
from handfast.workflows.tasks.marks import TaskMarks

MEMO_BYTES_PER_TASK: Final = 1_000_000
"""Most bytes of one upsert; above 2 MB it would stop the workflow for ever."""
MEMO_FULL: Final = 1_000_000
"""Bytes of open requests beyond which the memo, which a run may have 2 MB of, shows further ones shorter."""
MEMO_ARGUMENTS_BYTES_FULL: Final = 64
MEMO_ARGUMENTS_BYTES: Final = 2048
"""Arguments above this size are shown by their start in the memo; the query has them whole."""
LISTED_BYTES: Final = 1_500_000
"""Most bytes of open requests in the answer of one query: above 2 MB the server refuses it."""
ATTRIBUTE_BYTES: Final = 2000
"""The server takes 2 KB as the value of one search attribute."""
SHORTEST_BYTES: Final = 64
"""Bytes to which arguments are shortened for it at most."""


class Publisher:
    """Upserts what changed since the last time, at most one event of each kind per call.

    Attributes come into being only once an activity has reported which ones the namespace has: an upsert of a missing
    one stops a workflow for ever.
    """

    def __init__(self, shown: dict[str, int], deployment: Deployment, marks: TaskMarks) -> None:
        """Begin with what stands in the memo.

        Args:
            shown: Bytes of each open request in the memo. A workflow of the user's own need not pass its memo on to the
                next history: a request that is not there any more has to be shown again.
            deployment: Says which search attributes the namespace has.
            marks: Of the workflow.
        """
        self._shown = shown
        self._deployment = deployment
        self._marks = marks
        self._published: dict[str, Any] = {}
        self._flood: Flood | None = None
        for pair in workflow.info().typed_search_attributes:
            self._published[pair.key.name] = pair.value
        for request_id in [each for each in shown if MEMO_REQUEST + each not in workflow.info().raw_memo]:
            del shown[request_id]

    def shows(self, request_id: str) -> bool:
        """Return whether a request stands in the memo."""
        return request_id in self._shown

    def flooded(self, refused: Mapping[str, int], now: datetime) -> None:
        """Have it said how many signals of which names were refused unread."""
        self._flood = Flood(refused=dict(refused), at=now)

    def publish(self, ledger: Ledger, status: str, agent: str | None, labels: Mapping[str, str]) -> None:
        """Write the ledger's transitions to the memo and the run's state to the search attributes."""
        self._publish_memo(ledger)
        exist = self._deployment.attributes
        if not exist:
            return
        wanted: list[tuple[SearchAttributeKey[Any], Any]] = [
            (STATUS, status),
            (PENDING, len(ledger.book.open_requests())),
            (DUE, ledger.book.next_deadline()),
            (APPROVERS, published_groups(ledger.book.open_requests()) or None),
        ]
        if agent is not None:
            wanted.append((AGENT, agent))
        if labels:
            wanted.append((LABELS, published_labels(labels)))
        updates: list[SearchAttributeUpdate[Any]] = []
        for key, value in wanted:
            if key.name in exist and self._published.get(key.name, _UNSET.get(key.name)) != value:
                updates.append(key.value_unset() if value is None else key.value_set(value))
                self._published[key.name] = value
        if updates:
            self._marks.note_command()
            workflow.upsert_search_attributes(updates)

    def _publish_memo(self, ledger: Ledger) -> None:
        """Write as much as one task's commands can carry; the driver comes back for the rest."""
        memo: dict[str, Any] = {}
        if self._flood is not None:
            memo[MEMO_FLOOD], self._flood = self._flood.to_wire(), None
        room = MEMO_BYTES_PER_TASK
        for request_id, request in list(ledger.book.unpublished.items()):
            if room <= 0:
                break
            del ledger.book.unpublished[request_id]
            if request is not None:
                memo[MEMO_REQUEST + request_id] = shown = for_memo(request, full=sum(self._shown.values()) > MEMO_FULL)
                self._shown[request_id] = len(json.dumps(shown))
                room -= self._shown[request_id]
            elif request_id in self._shown:
                memo[MEMO_REQUEST + request_id] = None
                del self._shown[request_id]
        log: list[Any] = []
        while ledger.log.steps and room > 0:
            log.append(ledger.log.steps.pop(0).to_wire())
            room -= len(json.dumps(log[-1]))
        if log or memo:
            self._marks.note_command()
            workflow.upsert_memo({**memo, MEMO_LOG: log})


_UNSET: Final[dict[str, Any]] = {PENDING.name: 0}


def published_groups(requests: Sequence[Request]) -> list[str]:
    """The groups that are asked, never people: as many as one search attribute has room for."""
    groups = sorted({group for request in requests for group in groups_among(request.approvers or ())})
    while json_size(groups) > ATTRIBUTE_BYTES:
        groups.pop()
    return groups


def for_memo(request: Request, *, full: bool = False) -> dict[str, Any]:
    """Shape a request for the memo: large arguments by their start and size, hardly more than that once it is full."""
    if full:
        request = request.model_copy(update={"votes": None, "schedule": None, "review": None})
    return shortened(request, MEMO_ARGUMENTS_BYTES if not full else MEMO_ARGUMENTS_BYTES_FULL).to_wire()


def listed(requests: Sequence[Request]) -> list[JsonObject]:
    """Shape requests for the query; together too large, they show the longest arguments by their start."""
    wires = [request.to_wire() for request in requests]
    limit = INLINE_ARGUMENTS_BYTES
    while limit > SHORTEST_BYTES and json_size(wires) > LISTED_BYTES:
        limit //= 2
        wires = [shortened(request, limit).to_wire() for request in requests]
    return wires


def shortened(request: Request, limit: int) -> Request:
    """Replace what takes more than *limit* bytes on the wire: arguments by their start and size, a form by its size."""
    form = (request.facts or {}).get("schema")
    if form is not None and (bytes_of_form := json_size(form)) > limit:
        others = {name: fact for name, fact in (request.facts or {}).items() if name != "schema"}
        request = request.model_copy(update={"facts": {**others, "schema_bytes": bytes_of_form}})
    changed = (request.facts or {}).get("changed")
    if isinstance(changed, dict) and json_size(changed) > limit:
        kept = {key: _start(_text(value), limit // 4) for key, value in changed.items()}
        request = request.model_copy(update={"facts": {**(request.facts or {}), "changed": kept}})
    if request.arguments is None:
        if request.arguments_preview is None:
            return request
        return request.model_copy(update={"arguments_preview": _start(request.arguments_preview, limit)})
    if json_size(request.arguments) <= limit:
        return request
    text = json.dumps(request.arguments, ensure_ascii=False)
    size = len(text.encode("utf-8", "replace"))
    return request.model_copy(
        update={"arguments": None, "arguments_preview": _start(text, limit), "arguments_bytes": size}
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _start(text: str, limit: int) -> str:
    """As much of *text* as takes *limit* bytes on the wire, where a character may take twelve."""
    start = text[:limit]
    while (size := json_size(start)) > limit:
        start = start[: len(start) * limit // size]
    return start
