"""JSON schemas of Python types, and values read by them."""
