"""Signatures on decisions: making them, and checking them with trusted public keys."""
