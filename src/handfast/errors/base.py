"""The root of the tree."""

from __future__ import annotations


class HandfastError(Exception):
    """Base of every error that Handfast raises on purpose. Never raised itself."""
