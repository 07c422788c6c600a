"""Logs and counts decisions that did not count, in production mode."""

from __future__ import annotations

import json
import logging
from threading import Lock
from typing import Final

from temporalio.common import MetricMeter

from handfast.payloads.json_profile import JsonObject
from handfast.payloads.signed import RefusedDecision

logger = logging.getLogger(__name__)

METRIC: Final = "handfast_refused_decisions"
SHOWN: Final = 128
"""Characters of a value that are logged: whoever forges a decision chooses them."""


class RefusedDecisions:
    """Logs and counts refusals, for the validators and handlers of one worker.

    A refused update leaves no trace in a run's history, so nobody else would ever hear of an attempt.
    """

    def __init__(self, meter: MetricMeter) -> None:
        """Count in *meter* too, which Temporal's exporters read."""
        self._counter = meter.create_counter(METRIC, "Decisions that did not count, by the class of their refusal.")
        self._lock = Lock()
        self._count = 0

    def __call__(self, told: JsonObject) -> None:
        """Take a `RefusedDecision` as plain JSON: it crosses the border of a sandbox."""
        refused = RefusedDecision.from_wire(told)
        with self._lock:  # workflows run in several threads
            self._count += 1
            number = self._count
        self._counter.add(1, {"class": refused.type})
        logger.warning(
            "refused a decision (%s): run %s, request %s, key %s, claimed name %s, by %s; %s so far",
            refused.type,
            _shown(refused.run),
            _shown(refused.request),
            _shown(refused.key),
            _shown(refused.by),
            refused.way,
            number,
        )


def _shown(value: str | None) -> str:
    """Quote a value, so that it cannot begin a line of its own."""
    return "none" if value is None else json.dumps(value if len(value) <= SHOWN else f"{value[:SHOWN]}…")
