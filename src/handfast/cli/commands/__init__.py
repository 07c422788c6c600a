"""The commands, each with its options and its help.

What a command does is imported when it runs: Temporal's client takes most of a second to load, and ``--help`` or a
mistyped option should not wait for it.
"""
