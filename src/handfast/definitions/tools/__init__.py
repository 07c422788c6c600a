"""Tools: functions, activities, questions, commands, and those that the provider runs."""
