"""A run's typed events, computed from its Temporal history."""

from __future__ import annotations

from handfast.history.events.cut_off import fact_of
from handfast.history.events.projection import project

__all__ = ["fact_of", "project"]
