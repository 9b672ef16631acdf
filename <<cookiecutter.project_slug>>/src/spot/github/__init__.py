"""What the workflows call."""
