"""Signals, updates and queries."""
