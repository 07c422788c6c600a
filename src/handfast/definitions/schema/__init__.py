"""JSON schemas from Python types, and values checked against them."""
