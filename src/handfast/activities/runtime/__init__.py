"""What every activity of a worker uses."""
