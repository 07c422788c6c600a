"""Starts and awaits what the loop asks for."""
