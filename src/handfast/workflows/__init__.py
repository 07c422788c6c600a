"""Deterministic code only: frames, the ledger, and the workflows that interpret them."""
