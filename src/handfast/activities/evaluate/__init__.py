"""The activity that runs user code other than tools."""
