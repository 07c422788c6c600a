"""Sign decisions, and check signatures with trusted public keys."""
