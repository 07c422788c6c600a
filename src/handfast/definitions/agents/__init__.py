"""Agents, handoffs, limits and hooks."""
