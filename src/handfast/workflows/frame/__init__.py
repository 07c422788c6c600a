"""The data of one agent loop."""
