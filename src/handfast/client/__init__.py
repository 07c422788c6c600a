"""Start, watch, decide and steer runs."""
