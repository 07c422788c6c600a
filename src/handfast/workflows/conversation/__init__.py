"""A session: one loop that is opened again for each message."""
