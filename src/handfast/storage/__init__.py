"""Bytes kept outside Temporal: artifacts and the archive."""
