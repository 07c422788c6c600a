"""The Responses API as the local model server speaks it."""
