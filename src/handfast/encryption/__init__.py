"""Payload encryption: key ring, codec, and Temporal's codec endpoint."""
