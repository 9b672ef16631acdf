"""The trainer: runs in the container, survives everything, gives the same model as if nothing had happened."""
