"""A run's typed events, computed from its Temporal history."""

from __future__ import annotations

from handfast.history.events.projection import fact_of, project

__all__ = ["fact_of", "project"]
