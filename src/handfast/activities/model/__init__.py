"""The activity that calls the model and plans the calls of its reply."""
