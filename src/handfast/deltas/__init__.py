"""Token streams: what is written between two events of a run."""
