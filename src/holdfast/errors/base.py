"""The root of the tree."""

from __future__ import annotations


class HoldfastError(Exception):
    """Base of every error that Holdfast raises on purpose. Never raised itself."""
