"""The activity that has requests reviewed."""
