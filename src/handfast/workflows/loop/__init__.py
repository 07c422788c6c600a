"""What a loop does next. Pure."""
