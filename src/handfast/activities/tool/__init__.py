"""The activity around every tool."""
