"""The parts that all activities of a worker use."""
