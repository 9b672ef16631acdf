"""Define what a task's data is, order it, read it, and pin the objects it was read from."""
