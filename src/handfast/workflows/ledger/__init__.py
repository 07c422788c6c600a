"""Requests and the decisions that close them. Pure."""
