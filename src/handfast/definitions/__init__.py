"""What a developer writes: agents, tools, and the gates around them."""
