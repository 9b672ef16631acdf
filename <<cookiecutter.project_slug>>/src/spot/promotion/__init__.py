"""Decide whether a trained model replaces the model in use, and keep which model is in use."""
