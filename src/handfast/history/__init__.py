"""Read Temporal histories: the chain of a run, its segments, its events."""
