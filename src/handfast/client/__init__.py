"""Starting, watching, deciding and steering runs."""
