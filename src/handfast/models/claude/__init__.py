"""Anthropic's Messages API: items become content blocks, and blocks become items again."""
