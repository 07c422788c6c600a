"""The Chat Completions API of the scripted model server."""
