"""Agents, tools and gates: the objects that a developer writes."""
