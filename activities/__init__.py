"""The service desk's tools: each a function with a real effect, run as a Temporal activity."""
