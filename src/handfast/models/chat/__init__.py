"""The Chat Completions API: items become messages, and replies become items again."""
