"""The embedded Temporal server."""

from __future__ import annotations

from handfast.server.embedded import DEFAULT_PORT, RETENTION, EmbeddedServer, find_binary

__all__ = ["DEFAULT_PORT", "RETENTION", "EmbeddedServer", "find_binary"]
