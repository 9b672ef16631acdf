"""Run the steps of the workflows."""
