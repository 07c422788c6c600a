"""Calls to the Temporal server that the SDK has no method for."""
