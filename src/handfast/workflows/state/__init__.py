"""The state that the loops of one workflow share."""
