"""Rules that say what a loop does next. Pure."""
