"""Everything that a model may call."""
