"""A run's typed events, computed from its Temporal history."""

from __future__ import annotations

from handfast.run_events.cut_off import fact_of
from handfast.run_events.projection import project

__all__ = ["fact_of", "project"]
