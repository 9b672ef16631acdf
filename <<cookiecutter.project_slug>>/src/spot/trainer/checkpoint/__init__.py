"""Serialize, save and restore the training state."""
