"""Approvals, deadlines, guardrails and other gates in front of a call."""
