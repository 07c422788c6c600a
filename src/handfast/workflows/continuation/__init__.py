"""Continue-as-new, and the archive."""
