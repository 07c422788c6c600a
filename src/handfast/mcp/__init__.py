"""MCP servers as tools: connections that a worker shares, listings, calls and their results."""
