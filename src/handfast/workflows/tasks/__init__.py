"""Starting and awaiting activities within the limits of a workflow task."""
