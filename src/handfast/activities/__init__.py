"""Side effects: model calls, tools, and all other user code."""
