"""Write the results of a run: model files, metrics and completion record."""
